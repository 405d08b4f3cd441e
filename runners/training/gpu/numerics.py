"""Switches of torch that decide what float32 means and which kernels run, for the time of a trial.

They are global and their defaults differ by operation: on a GPU, convolutions round the factors of a float32 product to
10 bits (TF32) and matrix products do not, so that a mechanism that convolves its maps would be less precise than the
baseline. A trial sets all of them and restores what was there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from modelzoo.attention.map_precision import float32_products
from search_space.schema.trial import TrainSpec

__all__ = ["numerics"]


@contextmanager
def numerics(train: TrainSpec, device: torch.device) -> Iterator[None]:
    """Numerics of a trial: `train.amp` and `train.deterministic`."""
    with ExitStack() as stack:
        stack.enter_context(float32_products("tf32" if train.amp == "tf32" else "ieee"))
        if train.deterministic:
            stack.enter_context(_deterministic(device))
        yield


@contextmanager
def _deterministic(device: torch.device) -> Iterator[None]:
    if device.type == "cuda":
        # cuBLAS reads it when it starts in this process, so it stays.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    was, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn: Any = torch.backends.cudnn
    filling: Any = torch.utils.deterministic
    before = cudnn.deterministic, cudnn.benchmark, filling.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    # Nothing here reads memory that nothing has written, and filling it costs a pass over every tensor.
    cudnn.deterministic, cudnn.benchmark, filling.fill_uninitialized_memory = True, False, False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(was, warn_only=warned)
        cudnn.deterministic, cudnn.benchmark, filling.fill_uninitialized_memory = before
