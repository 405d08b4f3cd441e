"""Switches of torch that decide what float32 means and which kernels run, for the time of a trial.

They are global and their defaults differ by operation: on a GPU, convolutions round the factors of a float32 product to
10 bits (TF32) and matrix products do not, so that a mechanism that convolves its maps would be less precise than the
baseline. A trial sets those of a GPU and restores what was there. They are of the process: trials in threads of one
process would meet in them. Inside, torch's older switches (`allow_tf32`) may refuse to be read.
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
    if device.type == "cuda":
        # For every trial: torch asks once in a process, at its first product, whether cuBLAS may be deterministic.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with ExitStack() as stack:
        stack.enter_context(float32_products("tf32" if train.amp == "tf32" else "ieee"))
        if train.deterministic:
            stack.enter_context(_deterministic())
        yield


@contextmanager
def _deterministic() -> Iterator[None]:
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
