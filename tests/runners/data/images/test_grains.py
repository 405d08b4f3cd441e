"""`builtin/grains`: deterministic, its class is the orientation of the spectrum, and its colours say nothing of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import f_oneway, kstest
from sklearn.neighbors import KNeighborsClassifier

from runners.data import describe_dataset
from runners.data.images.grains import draw_grains
from search_space.schema.datasets import GrainsSpec
from search_space.schema.resources import Resources
from search_space.schema.trial import ClassificationSpec

OPTIONS = {"side": 32, "seed": 0}


def test_same_seed_gives_the_same_images_and_another_seed_others():
    first, again = (draw_grains(40, split=0, **OPTIONS) for _ in range(2))
    other = draw_grains(40, split=0, **{**OPTIONS, "seed": 1})
    assert torch.equal(first.pixels, again.pixels)
    assert not (first.pixels == other.pixels).flatten(1).all(1).any()


def test_a_larger_set_begins_with_the_smaller_one():
    # 300 images are drawn in two chunks, 40 in one.
    few, many = (draw_grains(number, split=0, **OPTIONS) for number in (40, 300))
    assert torch.equal(few.pixels, many.pixels[:40])
    assert torch.equal(few.labels, many.labels[:40])


def test_every_class_is_equally_frequent():
    assert torch.bincount(draw_grains(80, split=1, **OPTIONS).labels).tolist() == [10] * 8


def test_train_and_test_share_no_image():
    train, test = (draw_grains(400, split=split, side=16, seed=0) for split in (0, 1))
    rows = lambda images: {image.numpy().tobytes() for image in images.pixels}  # noqa: E731
    assert len(rows(train)) == len(rows(test)) == 400
    assert not rows(train) & rows(test)


def test_facts_follow_the_spec():
    info = describe_dataset(ClassificationSpec(dataset=GrainsSpec(img_size=24, num_train=80, num_test=16)), Resources())
    assert (info.img_size, info.in_chans, info.num_classes, info.storage) == ((24, 24), 3, 8, "memory")
    assert (info.num_train, info.num_test, info.train_counts) == (80, 16, (10,) * 8)


@pytest.mark.default_run("32")
@pytest.mark.parametrize("side", [32, 64])
def test_the_mean_spectrum_of_a_class_is_a_band_at_its_orientation(side):
    """Power of frequency f is exp(-|f - f_k|^2 / sigma^2) and the same around -f_k: centre and width are measured.

    The mean frequency of the half plane around f_k is f_k, and the variance along each axis is sigma^2 / 2.
    """
    images = draw_grains(800, split=0, side=side, seed=0)
    pixels = images.pixels.double().numpy()
    power = (np.abs(np.fft.fft2(pixels - pixels.mean((2, 3), keepdims=True))) ** 2).sum(1)
    fy, fx = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij")
    for label in range(8):
        mean_power = power[images.labels.numpy() == label].mean(0)
        along = np.array([np.cos(np.pi * label / 8), np.sin(np.pi * label / 8)])
        inside = fx * along[0] + fy * along[1] > 0
        inside &= np.hypot(fx - 0.2 * along[0], fy - 0.2 * along[1]) < 0.15  # the rest is rounding and clipping
        weights = mean_power[inside] / mean_power[inside].sum()
        center = np.array([(weights * fx[inside]).sum(), (weights * fy[inside]).sum()])
        spread = (weights * ((fx[inside] - center[0]) ** 2 + (fy[inside] - center[1]) ** 2)).sum() / 2
        # About 100 images of 13 or more independent frequencies each: standard error of the centre below 0.001.
        assert center == pytest.approx(0.2 * along, abs=0.004)
        assert np.sqrt(spread) == pytest.approx(0.045 / np.sqrt(2), abs=0.004)


def test_the_class_of_one_image_can_be_read_from_its_spectrum():
    images = draw_grains(400, split=1, **OPTIONS)
    pixels = images.pixels.double().numpy()
    power = (np.abs(np.fft.fft2(pixels - pixels.mean((2, 3), keepdims=True))) ** 2).sum(1)
    fy, fx = np.meshgrid(np.fft.fftfreq(32), np.fft.fftfreq(32), indexing="ij")
    angle = np.arctan2(fy, fx)
    # Mean of twice the angle, weighted by the power: frequencies f and -f are one orientation.
    turn = np.angle((power * np.exp(2j * angle)).sum((1, 2))) / 2
    found = np.rint(turn / (np.pi / 8)).astype(int) % 8
    assert (found == images.labels.numpy()).mean() > 0.9


def test_colours_and_contrasts_are_uniform_and_independent_of_the_class():
    """Means over pixels are the colours to within rounding, because the field has no constant part."""
    images = draw_grains(1600, split=0, **OPTIONS)
    pixels, labels = images.pixels.double() / 255, images.labels.numpy()
    means, spreads = pixels.mean((2, 3)).numpy(), pixels.std((2, 3)).numpy()
    for channel in range(3):
        assert kstest(means[:, channel], "uniform", args=(0.3, 0.4)).pvalue > 1e-3
        for values in (means[:, channel], spreads[:, channel]):
            assert f_oneway(*(values[labels == label] for label in range(8))).pvalue > 1e-3
    # The field of every channel has either sign: channels are as often opposed as alike.
    centred = pixels - pixels.mean((2, 3), keepdim=True)
    alike = ((centred[:, 0] * centred[:, 1]).sum((1, 2)) > 0).double().mean()
    assert abs(float(alike) - 0.5) < 0.05  # four standard errors


def test_nearest_neighbours_in_pixels_have_the_class_little_more_often_than_chance():
    train, test = (draw_grains(number, split=split, **OPTIONS) for number, split in ((1600, 0), (400, 1)))

    def accuracy(remove_colour: bool) -> float:
        pixels, others = (images.pixels.double() for images in (train, test))
        if remove_colour:
            pixels, others = (each - each.mean((2, 3), keepdim=True) for each in (pixels, others))
        neighbours = KNeighborsClassifier(20, metric="cosine").fit(pixels.flatten(1), train.labels)
        return float(neighbours.score(others.flatten(1), test.labels))

    assert accuracy(remove_colour=False) < 0.22  # chance is 0.125
    assert accuracy(remove_colour=True) > 0.9
