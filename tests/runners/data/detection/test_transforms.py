"""Images and objects are changed together: by hand, and as torchvision's detectors scale."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from runners.data.detection.objects import Objects, Truth
from runners.data.detection.transforms import EvaluationTransform, TrainingTransform
from runners.data.random_streams import global_streams

PLAIN = {"mean": (0.0,) * 3, "std": (1.0,) * 3}


def rle(pixels: np.ndarray) -> dict:
    from faster_coco_eval.core import mask

    return mask.encode(np.asfortranarray(pixels.astype(np.uint8)))


def example(boxes=((4, 2, 6, 8),), size=(20, 40)) -> tuple[torch.Tensor, Truth]:
    pixels = torch.randint(0, 256, (3, *size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    masks = np.zeros((len(boxes), *size))
    for mask, (x, y, width, height) in zip(masks, boxes, strict=True):
        mask[int(y) : int(y + height), int(x) : int(x + width)] = 1
    labels = np.arange(len(boxes))
    found = Objects(size, np.array(boxes, dtype=float), labels, masks=tuple(rle(mask) for mask in masks))
    return pixels, Truth(0, found)


def training(low: int, high: int, long: int = 1000, **options) -> TrainingTransform:
    return TrainingTransform(**PLAIN, short_sides=(low, high), long_side=long, **{"hflip": 0.0, **options})


def test_a_flip_moves_image_boxes_and_masks():
    pixels, truth = example()
    image, target = training(20, 20, hflip=1.0)(pixels, truth)
    assert torch.equal(image, pixels.flip(-1) / 255)
    assert target["boxes"].tolist() == [[30, 2, 36, 10]]  # 40 - 10, 40 - 4
    expected = torch.zeros(20, 40)
    expected[2:10, 30:36] = 1
    assert torch.equal(target["masks"][0].float(), expected)


def test_scaling_is_that_of_torchvisions_detectors():
    """Images in training are scaled by the data, in evaluation by the detector: they must be of one kind."""
    pixels, truth = example(size=(50, 70))
    image, target = training(33, 33)(pixels, truth)
    theirs = GeneralizedRCNNTransform(33, 1000, [0.0] * 3, [1.0] * 3).train()
    given = {"boxes": torch.tensor([[4.0, 2, 10, 10]]), "labels": torch.tensor([0])}
    expected, box = theirs.resize(pixels / 255, given)
    torch.testing.assert_close(image, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(target["boxes"], box["boxes"], atol=1e-4, rtol=0)


def test_masks_cover_their_boxes_after_scaling():
    pixels, truth = example(boxes=((4, 2, 12, 16),), size=(40, 40))
    _, target = training(60, 60)(pixels, truth)
    rows, columns = torch.nonzero(target["masks"][0], as_tuple=True)
    assert (
        [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == target["boxes"][0].tolist() == [6, 3, 24, 27]
    )


def test_the_short_side_is_from_its_range_and_the_long_side_is_a_limit():
    pixels, truth = example()
    with global_streams(0):
        sides = {min(training(10, 14)(pixels, truth)[0].shape[-2:]) for _ in range(60)}
    assert sides == {10, 11, 12, 13, 14}
    assert tuple(training(20, 20, long=30)(pixels, truth)[0].shape[-2:]) == (15, 30)


def test_objects_that_vanish_are_dropped_with_label_and_mask():
    pixels, truth = example(boxes=((1, 1, 2, 2), (10, 4, 16, 12)))
    _, target = training(5, 5)(pixels, truth)  # a quarter: half a pixel, and 4 x 3
    assert target["labels"].tolist() == [1]
    assert target["boxes"].tolist() == [[2.5, 1, 6.5, 4]]
    assert target["masks"].shape == (1, 5, 10)


def test_boxes_keep_their_fractions():
    """Whole boxes would be cut: 9.75 / 2 = 4.875."""
    pixels, truth = example(boxes=((4.5, 2.25, 5.25, 7.5),))
    _, target = training(10, 10)(pixels, truth)
    assert target["boxes"].tolist() == [[2.25, 1.125, 4.875, 4.875]]
    assert {each.dtype for each in (target["boxes"],)} == {torch.float32}


def test_images_without_objects_are_transformed():
    pixels, truth = example(boxes=())
    image, target = training(10, 30, hflip=0.5)(pixels, truth)
    assert target["boxes"].shape == (0, 4)
    assert target["masks"].shape == (0, *image.shape[-2:])


@pytest.mark.parametrize("masks", [True, False])
def test_targets_are_plain_tensors(masks):
    """A detector would otherwise carry torchvision's kinds of tensors through its losses."""
    pixels, truth = example()
    image, target = training(30, 30, masks=masks)(pixels, truth)
    assert {type(each) for each in (image, *target.values())} == {torch.Tensor}
    assert ("masks" in target) is masks


def test_evaluation_leaves_size_and_objects():
    pixels, truth = example()
    image, same = EvaluationTransform((0.5,) * 3, (0.25,) * 3)(pixels, truth)
    torch.testing.assert_close(image, (pixels / 255 - 0.5) / 0.25)
    assert same is truth
