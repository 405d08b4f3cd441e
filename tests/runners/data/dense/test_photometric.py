"""Photometric distortion: each of the four against `colorsys` or plain arithmetic, with the recipe's ranges."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch

from runners.data.dense.photometric import PhotometricDistortion, saturated
from runners.data.random_streams import global_streams

IMAGE = torch.from_numpy(np.random.RandomState(0).rand(3, 5, 7).astype(np.float32))
NONE = {"brightness": 0.0, "contrast": (1.0, 1.0), "saturation": (1.0, 1.0), "hue": 0.0}
ALWAYS = {**NONE, "probability": 1.0}


def by_pixel(function) -> torch.Tensor:
    """`function` of (hue, saturation, value) for every pixel, back in RGB."""
    pixels = [
        colorsys.hsv_to_rgb(*function(*colorsys.rgb_to_hsv(*map(float, rgb)))) for rgb in IMAGE.flatten(1).T.tolist()
    ]
    return torch.tensor(pixels).T.reshape(IMAGE.shape)


def distorted(seed: int = 0, image: torch.Tensor = IMAGE, **options) -> torch.Tensor:
    with global_streams(seed):
        return PhotometricDistortion(**options)(image)


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.5, 100.0])
def test_saturation_is_that_of_hsv(factor):
    expected = by_pixel(lambda h, s, v: (h, min(1.0, factor * s), v))
    assert torch.allclose(saturated(IMAGE, factor), expected, atol=1e-6)


def test_saturation_leaves_grey_and_black_as_they_are():
    for value in (0.0, 0.4):
        assert torch.equal(saturated(torch.full((3, 2, 2), value), 1.5), torch.full((3, 2, 2), value))


def test_contrast_multiplies_and_is_clipped():
    assert torch.allclose(distorted(**{**ALWAYS, "contrast": (1.5, 1.5)}), (1.5 * IMAGE).clamp(0, 1), atol=1e-6)


def test_brightness_shifts_by_up_to_32_of_255():
    """The shift is uniform: of 400 draws the largest is within 2 % of the end with a probability of 99.97 %."""
    grey = torch.full((1, 2, 2), 0.5)
    shifts = [float(distorted(seed, grey, **{**ALWAYS, "brightness": 32 / 255})[0, 0, 0]) - 0.5 for seed in range(400)]
    assert -32 / 255 - 1e-6 <= min(shifts) < -0.98 * 32 / 255 + 0.005
    assert 32 / 255 + 1e-6 >= max(shifts) > 0.98 * 32 / 255 - 0.005


def test_hue_turns_by_up_to_a_tenth_of_the_circle_and_leaves_saturation_and_value():
    red = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    turns = []
    for seed in range(400):
        hue, saturation, value = colorsys.rgb_to_hsv(*distorted(seed, red, **{**ALWAYS, "hue": 0.1}).flatten().tolist())
        assert (saturation, value) == pytest.approx((1, 1), abs=1e-5)
        turns.append(hue - round(hue))
    assert -0.1 - 1e-5 <= min(turns) < -0.095
    assert 0.1 + 1e-5 >= max(turns) > 0.095


def test_each_step_has_a_probability_of_one_half():
    """Of 1,000 images 1/16 is left as it is: 62.5, with a standard deviation of 7.7."""
    unchanged = sum(torch.equal(distorted(seed), IMAGE) for seed in range(1000))
    assert abs(unchanged - 62.5) < 4 * 7.7


def test_contrast_comes_before_or_after_the_saturation():
    """Clipped contrast and saturation do not commute: two results, each as computed here."""
    options = {**ALWAYS, "contrast": (1.5, 1.5), "saturation": (0.5, 0.5)}
    expected = [
        saturated((1.5 * IMAGE).clamp(0, 1), 0.5),
        (1.5 * saturated(IMAGE, 0.5)).clamp(0, 1),
    ]
    which = [[torch.allclose(distorted(seed, **options), each, atol=1e-5) for each in expected] for seed in range(40)]
    assert sorted(set(map(tuple, which))) == [(False, True), (True, False)]


def test_results_are_in_range_with_the_defaults():
    for seed in range(100):
        found = distorted(seed)
        assert 0 <= float(found.min()) <= float(found.max()) <= 1
