"""Pairs in memory: image and label map move together, what comes in from outside is ignored."""

from __future__ import annotations

import pytest
import torch

from runners.data.dense.tensor_pairs import (
    TensorPairBatches,
    TensorPairTrainBatches,
    random_crop_pairs,
    random_hflip_pairs,
)
from runners.data.random_streams import generator
from runners.data.tensor_loader import random_crop

CPU = torch.device("cpu")
LABELS = torch.randint(0, 6, (10, 6, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
PIXELS = (40 * LABELS)[:, None].expand(-1, 3, -1, -1).contiguous()
OPTIONS = {"img_size": (6, 8), "mean": (0.0,) * 3, "std": (1.0,) * 3, "batch_size": 4, "device": CPU}


def decoded(images: torch.Tensor) -> torch.Tensor:
    return (images[:, 0] * 255 / 40).round().long()


def train(**options) -> TensorPairTrainBatches:
    return TensorPairTrainBatches(PIXELS, LABELS, **{**OPTIONS, "seed": 0, "crop_padding": 2, "hflip": 0.5, **options})


def test_image_and_label_map_move_together_and_what_comes_in_is_ignored():
    """Nothing but a shift and a flip: of every pair the valid part is a part of its map or of the mirrored one."""
    for images, labels in train().epoch(0):
        valid = labels != 255
        assert torch.equal(decoded(images)[valid], labels[valid])
        assert bool((decoded(images)[~valid] == 0).all())
        for each in labels:
            rows, columns = (torch.nonzero((each != 255).any(axis)).flatten() for axis in (1, 0))
            part = each[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            height, width = part.shape
            assert (height, width) >= (4, 6)
            candidates = [
                label_map[top : top + height, left : left + width].long()
                for whole in LABELS
                for label_map in (whole, whole.flip(-1))
                for top in range(6 - height + 1)
                for left in range(8 - width + 1)
            ]
            assert any(torch.equal(part, candidate) for candidate in candidates)


def test_the_shift_is_that_of_classification():
    """The same stream shifts the images of both tasks alike."""
    images = PIXELS.float() / 255
    expected = random_crop(images, 2, generator(0, "x"))
    found, labels = random_crop_pairs(images, LABELS.long(), 2, generator(0, "x"), ignore_label=9)
    assert torch.equal(found, expected)
    assert set(labels.unique().tolist()) == {*range(6), 9}


def test_a_shift_by_hand():
    """Offsets (0, 1) with a padding of 1: everything moves one down, and stays in its column."""
    labels = torch.tensor([[[1, 2], [3, 4]]])
    for seed in range(200):
        stream = torch.Generator().manual_seed(seed)
        offsets = torch.randint(0, 3, (2, 1), generator=torch.Generator().manual_seed(seed)).flatten().tolist()
        images, moved = random_crop_pairs(labels[:, None] / 4, labels, 1, stream, ignore_label=7)
        if offsets == [0, 1]:
            assert moved.tolist() == [[[7, 7], [1, 2]]]
            assert images.tolist() == [[[[0, 0], [0.25, 0.5]]]]
            return
    pytest.fail("no seed drew the offsets")


def test_flips_of_none_and_of_all():
    images, labels = PIXELS.float(), LABELS.long()
    assert torch.equal(random_hflip_pairs(images, labels, 0.0, generator(0))[1], labels)
    flipped = random_hflip_pairs(images, labels, 1.0, generator(0))
    assert torch.equal(flipped[0], images.flip(3))
    assert torch.equal(flipped[1], labels.flip(2))


def test_an_epoch_depends_on_its_number_and_the_seed_only():
    first, again, other = (list(train().epoch(number)) for number in (1, 1, 2))
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0][1], other[0][1])
    assert not torch.equal(first[0][1], next(iter(train(seed=1).epoch(1)))[1])


def test_an_epoch_has_whole_batches_of_different_pairs():
    batches = train(crop_padding=0, hflip=0.0)
    found = torch.cat([labels for _, labels in batches.epoch(0)])
    assert len(batches) == 2
    at = [int(torch.nonzero((LABELS.long() == each).flatten(1).all(1))) for each in found]
    assert len(set(at)) == 8
    assert at != sorted(at)


def test_evaluation_has_every_pair_in_order_normalised():
    batches = TensorPairBatches(PIXELS, LABELS, **{**OPTIONS, "mean": (0.5,) * 3, "std": (0.25,) * 3})
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    assert torch.equal(torch.cat([labels for _, labels in batches]), LABELS.long())
    images = torch.cat([images for images, _ in batches])
    assert torch.allclose(images, (PIXELS / 255 - 0.5) / 0.25, atol=1e-6)
    assert len(TensorPairBatches(PIXELS, LABELS, **OPTIONS, drop_last=True)) == 2


def test_images_have_the_size_of_the_model_and_label_maps_their_own():
    images, labels = next(iter(TensorPairBatches(PIXELS, LABELS, **{**OPTIONS, "img_size": (12, 16)})))
    assert (tuple(images.shape), tuple(labels.shape)) == ((4, 3, 12, 16), (4, 6, 8))
