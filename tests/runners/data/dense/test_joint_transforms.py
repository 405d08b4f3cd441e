"""Transforms of an image with its label map: they move together, labels are never blended, padding is ignored."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from runners.data.dense.joint_transforms import EvaluationTransform, TrainingTransform
from runners.data.dense.photometric import PhotometricDistortion
from runners.data.random_streams import global_streams

PLAIN = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
LABELS = np.random.RandomState(0).randint(0, 6, (12, 16)).astype(np.uint8)


def coded(label_map: np.ndarray) -> Image.Image:
    """An image whose every pixel is 40 times its label."""
    return Image.fromarray(np.repeat(label_map[:, :, None] * np.uint8(40), 3, axis=2))


def decoded(image: torch.Tensor) -> torch.Tensor:
    """The labels of a coded image that was not normalised."""
    return (image[0] * 255 / 40).round().long()


def transformed(transform, label_map: np.ndarray, seed: int):
    with global_streams(seed):
        return transform(coded(label_map), label_map)


def training(crop=(8, 8), **options) -> TrainingTransform:
    return TrainingTransform(crop, **{**PLAIN, "scale": (1.0, 1.0), "distortion": None, **options})


@pytest.mark.parametrize("crop", [(8, 8), (12, 16), (5, 11), (20, 10), (24, 30)])
def test_image_and_label_map_move_together(crop):
    transform = training(crop)
    for seed in range(30):
        image, labels = transformed(transform, LABELS, seed)
        assert (image.shape, labels.shape) == ((3, *crop), crop)
        assert (image.dtype, labels.dtype) == (torch.float32, torch.int64)
        valid = labels != 255
        assert torch.equal(decoded(image)[valid], labels[valid])
        assert int(valid.sum()) == min(crop[0], 12) * min(crop[1], 16)


def test_a_crop_is_a_part_of_the_map_or_of_its_mirror_image():
    """Every corner occurs, and both directions; looked up in a map whose 4 x 4 parts are all different."""
    parts = {}
    for mirrored, label_map in ((False, LABELS), (True, LABELS[:, ::-1])):
        for top in range(9):
            for left in range(13):
                parts[label_map[top : top + 4, left : left + 4].tobytes()] = (mirrored, top, left)
    transform = training((4, 4), most_of_one_class=1)
    found = {parts[transformed(transform, LABELS, seed)[1].numpy().astype(np.uint8).tobytes()] for seed in range(600)}
    assert {mirrored for mirrored, _, _ in found} == {False, True}
    assert {top for _, top, _ in found} == set(range(9))
    assert {left for _, _, left in found} == set(range(13))


def test_flips_are_as_frequent_as_asked_for():
    """Of 1,000 with a probability of 0.3 the standard deviation is 14.5."""
    transform = training((12, 16), hflip=0.3)
    flipped = sum(bool((transformed(transform, LABELS, seed)[1].numpy() != LABELS).any()) for seed in range(1000))
    assert abs(flipped - 300) < 60
    for hflip, expected in ((0.0, LABELS), (1.0, LABELS[:, ::-1])):
        assert np.array_equal(transformed(training((12, 16), hflip=hflip), LABELS, 1)[1].numpy(), expected)


def test_padding_is_the_mean_colour_and_ignored_below_and_to_the_right():
    transform = training((14, 20), mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3), hflip=0.0, ignore_label=9)
    image, labels = transformed(transform, LABELS, 0)
    assert bool((image[:, 12:] == 0).all())
    assert bool((image[:, :, 16:] == 0).all())
    assert bool((labels[12:] == 9).all())
    assert bool((labels[:, 16:] == 9).all())
    assert np.array_equal(labels[:12, :16].numpy(), LABELS)
    expected = (LABELS * 40 / 255 - 0.5) / 0.25
    assert np.allclose(image[1, :12, :16].numpy(), expected, atol=1e-6)


def test_scales_cover_the_range_and_labels_are_never_blended():
    """A square of 16 pixels labelled 5 on 0: blended labels would be 1 to 4; its side is the factor times 16."""
    label_map = np.zeros((48, 48), np.uint8)
    label_map[16:32, 16:32] = 5
    transform = training((96, 96), scale=(0.5, 2.0), hflip=0.0)
    sides = []
    for seed in range(200):
        image, labels = transformed(transform, label_map, seed)
        assert set(labels.unique().tolist()) <= {0, 5, 255}
        side = int((labels == 5).any(0).sum())
        assert int((labels == 5).sum()) == side * int((labels == 5).any(1).sum())
        size = int((labels != 255).any(0).sum())
        assert abs(side - size / 3) <= 1
        # Where the image is not a mixture of both, it agrees with the labels.
        clear = (image[0] < 0.02) | (image[0] > 200 / 255 - 0.02)
        clear &= labels != 255
        assert torch.equal(decoded(image)[clear], labels[clear])
        sides.append(size / 48)
    assert min(sides) == pytest.approx(0.5, abs=0.05)
    assert max(sides) == pytest.approx(2.0, abs=0.05)
    assert np.mean(sides) == pytest.approx(1.25, abs=0.1)


@pytest.mark.parametrize("factor", [0.7, 1.3, 1.7])
def test_scaled_labels_are_not_shifted_against_the_scaled_image(factor):
    """Centre of gravity of a bar, over 20 places; `nearest` is off by 0.26 to 0.64 pixels of the original."""
    shifts = []
    transform = training((80, 80), scale=(factor, factor), hflip=0.0)
    for left in range(5, 25):
        label_map = np.zeros((40, 40), np.uint8)
        label_map[:, left : left + 9] = 5
        image, labels = transformed(transform, label_map, 0)
        place = torch.arange(80, dtype=torch.float64)
        weights = image[0, 5].double(), (labels[5] == 5).double()
        by_image, by_labels = (float((each * place).sum() / each.sum()) for each in weights)
        shifts.append((by_labels - by_image) / factor)
    assert abs(np.mean(shifts)) < 0.1


def test_factors_are_relative_to_the_short_side_and_the_long_side_limits_them():
    """As in the recipes for ADE20K: 100 x 1000 with 512 and 2048 is scaled by 2.048, 100 x 200 by 5.12."""
    for shape, expected in (((100, 1000), (205, 2048)), ((100, 200), (512, 1024))):
        transform = training((2100, 2100), short_side=512, long_side=2048)
        _, labels = transformed(transform, np.zeros(shape, np.uint8), 0)
        assert (int((labels == 0).any(1).sum()), int((labels == 0).any(0).sum())) == expected


def test_no_class_has_more_than_three_quarters_of_a_crop():
    """Two halves of 8 x 8 and crops 4 wide: the border is at 1, 2 or 3 of their columns, unless 11 draws all failed."""
    label_map = np.zeros((8, 8), np.uint8)
    label_map[:, 4:] = 1
    shares = [float((transformed(training((4, 4)), label_map, seed)[1] == 0).double().mean()) for seed in range(200)]
    assert set(shares) == {0.25, 0.5, 0.75}
    free = training((4, 4), most_of_one_class=1)
    shares = [float((transformed(free, label_map, seed)[1] == 0).double().mean()) for seed in range(200)]
    assert set(shares) == {0.0, 0.25, 0.5, 0.75, 1.0}


def test_ignored_pixels_do_not_count_in_the_share_of_a_class():
    """Left half 0, then one column of 1, then ignored: a crop is taken only where 1 has a quarter of what is valid."""
    label_map = np.full((8, 9), 255, np.uint8)
    label_map[:, :4] = 0
    label_map[:, 4] = 1
    for seed in range(100):
        _, labels = transformed(training((4, 4)), label_map, seed)
        valid = labels[labels != 255]
        assert len(valid)
        assert 0.25 <= float((valid == 1).double().mean()) <= 0.75


def test_an_image_of_one_class_is_cropped_all_the_same():
    for value in (3, 255):
        assert set(transformed(training(), np.full((12, 16), value, np.uint8), 0)[1].unique().tolist()) == {value}


def test_equal_streams_give_equal_bits():
    transform = TrainingTransform((8, 8), **PLAIN)
    first, again, other = (transformed(transform, LABELS, seed) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_colours_are_distorted_before_the_normalisation_and_labels_never():
    half = PhotometricDistortion(0.0, (0.5, 0.5), (1.0, 1.0), 0.0, probability=1.0)
    transform = training((12, 16), hflip=0.0, distortion=half, mean=(0.5,) * 3, std=(0.25,) * 3)
    image, labels = transformed(transform, LABELS, 0)
    assert np.allclose(image[0].numpy(), (0.5 * LABELS * 40 / 255 - 0.5) / 0.25, atol=1e-5)
    assert np.array_equal(labels.numpy(), LABELS)


def test_grey_images_have_one_channel():
    transform = TrainingTransform((8, 8), mean=(0.0,), std=(1.0,))
    with global_streams(0):
        image, labels = transform(coded(LABELS).convert("L"), LABELS)
    assert (image.shape, labels.shape) == ((1, 8, 8), (8, 8))


def test_evaluation_takes_the_whole_image_as_it_is():
    image, labels = EvaluationTransform(mean=(0.5,) * 3, std=(0.25,) * 3)(coded(LABELS), LABELS)
    assert np.array_equal(labels.numpy(), LABELS)
    assert np.allclose(image[2].numpy(), (LABELS * 40 / 255 - 0.5) / 0.25, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "options", "expected"),
    [
        ((30, 40), {"short_side": 15}, (15, 20)),
        ((40, 30), {"short_side": 60}, (80, 60)),
        ((100, 1000), {"short_side": 512, "long_side": 2048}, (205, 2048)),
        ((100, 200), {"short_side": 51, "long_side": 204}, (51, 102)),
        ((30, 40), {"long_side": 20}, (15, 20)),
        ((30, 40), {"long_side": 90}, (30, 40)),
    ],
)
def test_evaluation_scales_the_image_and_never_the_labels(shape, options, expected):
    label_map = np.random.RandomState(0).randint(0, 6, shape).astype(np.uint8)
    image, labels = EvaluationTransform(**PLAIN, **options)(coded(label_map), label_map)
    assert tuple(image.shape) == (3, *expected)
    assert np.array_equal(labels.numpy(), label_map)
