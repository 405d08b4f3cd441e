"""Independent streams of random numbers, named after what they are for.

A trial has one seed. Data order, augmentation and mixup each get a stream derived from it by name and epoch, so that
none of them depends on how many numbers the initialisation or the dropout of some architecture drew: variants of one
seed see the same images in the same order.

timm's augmentations draw from the global generators of `random`, `numpy` and `torch`; `global_streams` lends them a
stream and puts the generators back as they were.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

__all__ = ["generator", "generator_states", "global_streams", "restore_generators", "stream_seed"]


def stream_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the stream called `names` of the trial seeded with `seed`."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> torch.Generator:
    """A CPU generator for the stream called `names`; on a CPU even where the data lies on a GPU, for equal numbers."""
    return torch.Generator().manual_seed(stream_seed(seed, *names))


@contextmanager
def global_streams(seed: int) -> Iterator[None]:
    """Inside, the global CPU generators of `random`, `numpy` and `torch` are seeded; after it they are as before."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPU generators as well
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


def generator_states(device: torch.device) -> dict[str, Any]:
    """Where the global generators stand, as tensors and plain values: what a checkpoint may hold."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    states: dict[str, Any] = {
        "random": [version, list(words), gauss],
        "numpy": [name, torch.from_numpy(np.asarray(keys, dtype=np.int64)), int(position), int(has_gauss), cached],
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_generators(states: dict[str, Any], device: torch.device) -> None:
    """Puts the global generators where `generator_states` found them; a GPU's only if it was on a GPU, too."""
    version, words, gauss = states["random"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(states["torch"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
