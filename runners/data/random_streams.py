"""Independent random number streams, named by their purpose.

A trial has one seed. Data order, augmentation and mixup each get a stream derived from it by name and epoch, so that
none of them depends on how many numbers the initialisation or the dropout of an architecture drew: variants of one
seed get the same images in the same order. Where a sweep says which of these sources a seed decides, the others have
the stream of another seed, the same for all trials: `SourceSeeds`.

timm's augmentations draw from the global generators of `random`, `numpy` and `torch`; `global_streams` seeds these and
restores their states afterwards, `lent_streams` seeds them many times in between.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch

from search_space.schema.training.seeding import Seeding, Source
from search_space.schema.trial import TrialSpec

__all__ = [
    "Seed",
    "SourceSeeds",
    "generator",
    "generator_states",
    "global_streams",
    "lent_streams",
    "of_source",
    "restore_generators",
    "seed_of",
    "stream_seed",
]

_SOURCES: dict[str, Source] = {
    "order": "order",
    "augmentation": "augmentation",
    "views": "augmentation",
    "channel shifts": "augmentation",
    "mixing": "augmentation",
    "workers": "augmentation",
    "training": "dropout",
    "continued": "dropout",
    "split": "split",
}
"""First name of a stream -> the source that it belongs to; `init` has no stream by name, models take its seed."""


@dataclass(frozen=True)
class SourceSeeds:
    """A trial's seed where it does not decide all that it does by default."""

    seeding: Seeding
    seed: int

    def of(self, source: Source) -> int:
        """The seed whose stream the source has."""
        return self.seeding.of_source(source, self.seed)

    @property
    def has_own_splits(self) -> bool:
        """Whether the splits of the data are not those of all trials."""
        return "split" in self.seeding.varied


Seed: TypeAlias = int | SourceSeeds


def seed_of(spec: TrialSpec) -> Seed:
    """The seed of a trial, with what it decides where that is not the default."""
    seeding = spec.train.seeding
    return spec.seed if seeding == Seeding() else SourceSeeds(seeding, spec.seed)


def of_source(seed: Seed, source: Source) -> int:
    """The seed whose stream a source has in a trial."""
    return seed if isinstance(seed, int) else seed.of(source)


def stream_seed(seed: Seed, *names: str | int) -> int:
    """63-bit seed for the stream `names` of the trial with this `seed`; the first name says of which source it is."""
    own = seed if isinstance(seed, int) else seed.of(_SOURCES[str(names[0])])
    text = "/".join(str(part) for part in (own, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: Seed, *names: str | int) -> torch.Generator:
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
