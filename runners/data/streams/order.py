"""Order of a stream: what every epoch reads, in which order, and that it was all.

An epoch permutes the shards and draws from a buffer of samples, both by the stream of random numbers of the trial's
seed and the epoch; so it is the same in every process and after every interruption. The size of the buffer is a
constant and not an option, because it decides the order. A shard is shuffled within the reach of the buffer only:
samples that are stored class by class stay more or less so.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from torch.utils.data import Sampler

from runners.data.random_streams import Seed, generator
from runners.data.streams.sample_stream import Sample, SampleStream, WrongCount, in_file_order

__all__ = ["SHUFFLE_BUFFER", "EpochOrder", "FileOrder", "FirstSamples", "counted", "shuffled"]

SHUFFLE_BUFFER = 4096
"""Samples among which the next one is drawn; they are held encoded."""


def shuffled(stream: SampleStream, dice: torch.Generator) -> Iterator[Sample]:
    """All samples of a stream, in an order that `dice` decides."""
    buffer: list[Sample] = []
    for number in torch.randperm(stream.num_shards, generator=dice).tolist():
        for sample in stream.shard(number):
            if len(buffer) < SHUFFLE_BUFFER:
                buffer.append(sample)
                continue
            at = int(torch.randint(SHUFFLE_BUFFER, (), generator=dice))
            yield buffer[at]
            buffer[at] = sample
    for at in torch.randperm(len(buffer), generator=dice).tolist():
        yield buffer[at]


def counted(stream: SampleStream, samples: Iterator[Sample]) -> Iterator[Sample]:
    """The samples of a whole pass.

    Raises:
        WrongCount: they are more or fewer than the stream says; more are not given out.
    """
    count = 0
    for sample in samples:
        count += 1
        if count > len(stream):
            raise WrongCount(f"{stream.name}: {len(stream)} images are promised, and more were read")
        yield sample
    if count < len(stream):
        raise WrongCount(f"{stream.name}: {len(stream)} images are promised, and {count} were read")


class FileOrder(Sampler[Sample]):
    """Every sample once, in the order of the files."""

    def __init__(self, stream: SampleStream) -> None:
        self._stream = stream

    def __len__(self) -> int:
        return len(self._stream)

    def __iter__(self) -> Iterator[Sample]:
        return counted(self._stream, in_file_order(self._stream))


class EpochOrder(Sampler[Sample]):
    """Every sample once, in the order of `epoch`, which follows from the seed and its number."""

    def __init__(self, stream: SampleStream, seed: Seed) -> None:
        self._stream = stream
        self._seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self._stream)

    def __iter__(self) -> Iterator[Sample]:
        return counted(self._stream, shuffled(self._stream, generator(self._seed, "order", self.epoch)))


class FirstSamples(SampleStream):
    """First samples of one shuffled order, the same for all seeds; held encoded once they have been read."""

    def __init__(self, stream: SampleStream, num_samples: int) -> None:
        self.name = stream.name
        self.num_shards = 1
        self.num_samples = min(num_samples, len(stream))
        self.class_to_idx = stream.class_to_idx
        self._stream = stream
        self._held: list[Sample] | None = None

    def shard(self, number: int) -> Iterator[Sample]:
        if self._held is None:
            self._held = list(islice(shuffled(self._stream, generator(0, "calibration")), self.num_samples))
        return iter(self._held)
