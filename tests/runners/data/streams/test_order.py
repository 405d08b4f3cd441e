"""Order of a stream: every sample once, mixed within the reach of the buffer, and counted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from runners.data.streams import order
from runners.data.streams.order import EpochOrder, FileOrder, FirstSamples, shuffled
from runners.data.streams.sample_stream import Sample, SampleStream, WrongCount


class Numbers(SampleStream):
    """Samples that are numbers: shard s holds 10 s, 10 s + 1, ..."""

    def __init__(self, *lengths: int, promised: int | None = None) -> None:
        self.name = "numbers train"
        self.num_shards = len(lengths)
        self.num_samples = sum(lengths) if promised is None else promised
        self.class_to_idx = {}
        self.read = 0
        self._lengths = lengths

    def shard(self, number: int) -> Iterator[Sample]:
        for index in range(self._lengths[number]):
            self.read += 1
            yield Sample(number, index, f"{10 * number + index}", b"", 0)


def numbers(samples) -> list[int]:
    return [int(sample.name) for sample in samples]


def test_file_order_is_shard_by_shard():
    assert numbers(FileOrder(Numbers(3, 0, 2))) == [0, 1, 2, 20, 21]


@pytest.mark.parametrize("buffer", [1, 2, 5, 4096])
def test_an_epoch_is_a_permutation_whatever_the_buffer(monkeypatch, buffer):
    monkeypatch.setattr(order, "SHUFFLE_BUFFER", buffer)
    epochs = EpochOrder(Numbers(7, 0, 1, 6), seed=3)
    found = []
    for epochs.epoch in range(1, 4):
        found.append(numbers(epochs))
        assert sorted(found[-1]) == [*range(7), 20, *range(30, 36)]
    assert len(set(map(tuple, found))) == 3


def test_a_buffer_of_one_keeps_the_order_within_a_shard_and_permutes_shards(monkeypatch):
    monkeypatch.setattr(order, "SHUFFLE_BUFFER", 1)
    seen = set()
    for seed in range(100):
        found = numbers(EpochOrder(Numbers(3, 3, 3), seed=seed))
        blocks = [found[start : start + 3] for start in (0, 3, 6)]
        assert all(block == [block[0], block[0] + 1, block[0] + 2] for block in blocks)
        seen.add(tuple(block[0] for block in blocks))
    assert len(seen) == 6  # all permutations of three shards


def test_a_sample_comes_from_the_buffer_at_most():
    """Before sample k is given out, at most k and the buffer have been read."""
    stream = Numbers(order.SHUFFLE_BUFFER + 50)
    samples = shuffled(stream, torch.Generator().manual_seed(0))
    for count in range(1, 20):
        next(samples)
        assert stream.read == order.SHUFFLE_BUFFER + count


def test_places_of_one_shard_are_uniform():
    """First sample of 40 in 4,000 epochs: each is first 100 times, give or take 5 standard deviations of about 10."""
    epochs = EpochOrder(Numbers(40), seed=0)
    counts = torch.zeros(40)
    for epochs.epoch in range(4000):
        counts[next(iter(epochs)).index] += 1
    assert counts.min() > 50
    assert counts.max() < 150


@pytest.mark.parametrize("make", [FileOrder, lambda stream: EpochOrder(stream, 0)])
def test_fewer_or_more_samples_than_promised_are_an_error(make):
    with pytest.raises(WrongCount, match="numbers train: 6 images are promised, and 5 were read"):
        list(make(Numbers(3, 2, promised=6)))
    with pytest.raises(WrongCount, match="numbers train: 4 images are promised, and more were read"):
        list(make(Numbers(3, 2, promised=4)))


def test_first_samples_are_read_once_and_are_the_same_every_time():
    stream = Numbers(9, 9)
    first = FirstSamples(stream, 5)
    found = numbers(FileOrder(first))
    assert (len(first), len(set(found)), stream.read) == (5, 5, 18)
    assert numbers(FileOrder(first)) == found == numbers(FileOrder(FirstSamples(Numbers(9, 9), 5)))
    assert stream.read == 18
    assert len(FirstSamples(stream, 100)) == 18
