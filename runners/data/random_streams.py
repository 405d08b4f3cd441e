"""Independent random number streams, named by their purpose.

A trial has one seed. Data order, augmentation and mixup each get a stream derived from it by name and epoch, so that
none of them depends on how many numbers the initialisation or the dropout of an architecture drew: variants of one
seed get the same images in the same order.

timm's augmentations draw from the global generators of `random`, `numpy` and `torch`; `global_streams` seeds these and
restores their states afterwards, `lent_streams` seeds them many times in between.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

__all__ = ["generator", "generator_states", "global_streams", "lent_streams", "restore_generators", "stream_seed"]


def stream_seed(seed: int, *names: str | int) -> int:
    """63-bit seed for the stream `names` of the trial with this `seed`."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> torch.Generator:
    """CPU generator for the stream `names`; on the CPU even for data on a GPU, for equal numbers on all devices."""
    return torch.Generator().manual_seed(stream_seed(seed, *names))


@contextmanager
def global_streams(seed: int) -> Iterator[None]:
    """Seed the global CPU generators of `random`, `numpy` and `torch`; restore their states afterwards."""
    with lent_streams() as seed_them:
        seed_them(seed)
        yield


@contextmanager
def lent_streams() -> Iterator[Callable[[int], None]]:
    """Function that seeds the global CPU generators of `random`, `numpy` and `torch`, as often as it is called; their
    states are restored afterwards."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield _seed_generators
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


def _seed_generators(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPU generators as well


def generator_states(device: torch.device) -> dict[str, Any]:
    """States of the global generators, as tensors and plain values, which a checkpoint may hold."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    states: dict[str, Any] = {
        "random": [version, list(words), gauss],
        "numpy": [name, torch.from_numpy(np.asarray(keys, dtype=np.int64)), int(position), int(has_gauss), cached],
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type != "cpu":
        states[device.type] = torch.get_device_module(device).get_rng_state()
    return states


def restore_generators(states: dict[str, Any], device: torch.device) -> None:
    """Restore the states of the global generators; a GPU's only if they were saved on a GPU, too."""
    version, words, gauss = states["random"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(states["torch"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
    elif device.type != "cpu" and device.type in states:
        torch.get_device_module(device).set_rng_state(states[device.type])
