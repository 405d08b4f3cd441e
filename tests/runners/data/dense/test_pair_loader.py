"""Batches of pairs that are read one by one: a stream per pair, whatever reads it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from runners.data.dense.joint_transforms import EvaluationTransform, TrainingTransform
from runners.data.dense.pair_loader import PairBatches, PairTrainBatches, SeededPairs
from runners.data.random_streams import generator

PLAIN = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
CPU = torch.device("cpu")


class Pairs:
    """Seven pairs of growing size; the image is 20 times the label, which is the number of the pair or 10."""

    def __len__(self) -> int:
        return 7

    def pair(self, index: int):
        labels = np.full((10 + index, 12), index, np.uint8)
        labels[:, 5:7] = 10
        return Image.fromarray(np.repeat(labels[:, :, None] * np.uint8(20), 3, axis=2)), labels


def train(num_workers: int = 0, **options) -> PairTrainBatches:
    transform = TrainingTransform((8, 8), **PLAIN)
    options = {"batch_size": 2, "device": CPU, "seed": 3, **options}
    return PairTrainBatches(Pairs(), transform, num_workers=num_workers, **options)


def equal(one, other) -> bool:
    pairs = list(zip(one, other, strict=True))
    return all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in pairs)


@pytest.mark.thorough
def test_the_number_of_workers_changes_no_bit():
    epochs = [list(train(num_workers).epoch(2)) for num_workers in (0, 1, 2)]
    assert len(epochs[0]) == 3
    assert equal(epochs[0], epochs[1])
    assert equal(epochs[0], epochs[2])


def test_an_epoch_depends_on_its_number_and_the_seed_only():
    batches = train()
    first = list(batches.epoch(0))
    list(batches.epoch(1))
    torch.rand(5)  # what dropout would draw
    assert equal(first, list(batches.epoch(0)))
    assert not equal(first, list(batches.epoch(1)))
    assert not equal(first, list(train(seed=4).epoch(0)))


def test_the_order_is_that_of_images_in_memory():
    """A permutation by the stream "order" of seed and epoch; the label that is not 10 is the number of the pair."""
    for seed, epoch in ((3, 0), (3, 1), (4, 0)):
        found = [int(each[each != 255].min()) for _, labels in train(seed=seed).epoch(epoch) for each in labels]
        assert found == torch.randperm(7, generator=generator(seed, "order", epoch)).tolist()[:6]


def test_a_pair_is_transformed_otherwise_in_another_epoch_and_by_another_seed():
    def pairs(seed: int, epoch: int) -> SeededPairs:
        found = SeededPairs(Pairs(), TrainingTransform((8, 8), **PLAIN), seed)
        found.epoch = epoch
        return found

    first = pairs(3, 0)[1]
    assert torch.equal(first[0], pairs(3, 0)[1][0])
    assert not torch.equal(first[0], pairs(3, 1)[1][0])
    assert not torch.equal(first[0], pairs(4, 0)[1][0])


def test_the_epoch_reaches_the_pairs():
    """Batches of all pairs in two epochs, in the order of the pairs: the pictures differ."""
    batches = train(batch_size=7)
    epochs = []
    for number in (0, 1):
        ((images, _),) = batches.epoch(number)
        order = torch.randperm(7, generator=generator(3, "order", number))
        epochs.append(images[torch.argsort(order)])
    assert not (epochs[0] == epochs[1]).flatten(1).all(1).any()


def test_reading_leaves_the_global_generator_where_it_was():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    list(train().epoch(0))
    list(PairBatches(Pairs(), EvaluationTransform(**PLAIN), device=CPU, num_workers=0))
    assert torch.equal(torch.rand(3), expected)


def test_whole_batches_only_with_every_pair_at_most_once():
    batches = train()
    found = list(batches.epoch(0))
    assert len(batches) == len(found) == 3
    assert [tuple(images.shape) for images, _ in found] == [(2, 3, 8, 8)] * 3
    assert [(tuple(labels.shape), labels.dtype) for _, labels in found] == [((2, 8, 8), torch.int64)] * 3


def test_shares_of_two_processes_make_the_batch():
    whole = list(train().epoch(1))
    halves = [list(train(share=lambda size, mine=rank: torch.arange(size)[mine::2]).epoch(1)) for rank in (0, 1)]
    for (images, labels), first, second in zip(whole, *halves, strict=True):
        assert torch.equal(images, torch.cat([first[0], second[0]]))
        assert torch.equal(labels, torch.cat([first[1], second[1]]))


def test_evaluation_has_every_pair_once_in_order_and_whole():
    batches = PairBatches(Pairs(), EvaluationTransform(**PLAIN), device=CPU, num_workers=0)
    assert len(batches) == 7
    for index, (images, labels) in enumerate(batches):
        assert tuple(images.shape) == (1, 3, 10 + index, 12)
        assert torch.equal((images[0, 0] * 255 / 20).round().long(), labels[0])
        assert set(labels.unique().tolist()) == {index, 10}
