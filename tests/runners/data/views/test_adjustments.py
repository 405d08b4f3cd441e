"""Adjustments of many views at once: torchvision's, SciPy's and PIL's view by view are second implementations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter1d
from torchvision.transforms.v2 import functional

from runners.data.views.adjustments import (
    blurred,
    brightened,
    contrasted,
    gray,
    hue_turned,
    saturated,
    solarized,
    with_jittered_channels,
    with_shifted_channels,
)

ADJUSTMENTS = {
    "brightness": (brightened, functional.adjust_brightness, torch.tensor([0.6, 1.0, 1.4, 0.9, 1.2])),
    "contrast": (contrasted, functional.adjust_contrast, torch.tensor([0.6, 1.0, 1.4, 0.9, 1.2])),
    "saturation": (saturated, functional.adjust_saturation, torch.tensor([0.8, 1.0, 1.2, 0.9, 1.1])),
    "hue": (hue_turned, functional.adjust_hue, torch.tensor([-0.1, 0.0, 0.1, -0.5, 0.03])),
}


@pytest.fixture(params=[1, 3], ids=["grey", "colour"])
def views(request) -> torch.Tensor:
    """Five views of 9 x 7 pixels; some pixels have equal channels, and some are black and white."""
    views = torch.rand(5, request.param, 9, 7, generator=torch.Generator().manual_seed(0))
    views[0, :, :2] = views[0, :1, :2]
    views[1, :, 0, 0], views[1, :, 0, 1] = 0, 1
    return views


@pytest.mark.parametrize("name", sorted(ADJUSTMENTS))
def test_adjustments_are_torchvisions_view_by_view(name, views):
    ours, theirs, amounts = ADJUSTMENTS[name]
    expected = torch.stack([theirs(view, float(amount)) for view, amount in zip(views, amounts, strict=True)])
    # Pixels in 0..1, a few operations in float32; the others in another order.
    torch.testing.assert_close(ours(views, amounts), expected, atol=3e-6, rtol=0)


def test_hue_of_grey_pixels_stays():
    assert torch.equal(hue_turned(torch.full((1, 3, 2, 2), 0.3), torch.tensor([0.1])), torch.full((1, 3, 2, 2), 0.3))


def test_hue_turns_red_to_green_by_a_third():
    red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
    assert hue_turned(red, torch.tensor([1 / 3])).flatten().tolist() == pytest.approx([0, 1, 0], abs=1e-6)


def test_grey_and_solarised_are_torchvisions(views):
    torch.testing.assert_close(gray(views), functional.rgb_to_grayscale(views), atol=1e-6, rtol=0)
    assert torch.equal(solarized(views), functional.solarize(views, 0.5))
    assert solarized(torch.tensor([0.25, 0.5, 0.75, 1.0])).tolist() == [0.25, 0.5, 0.25, 0.0]


@pytest.mark.parametrize("shape", [(9, 7), (24, 40)])
def test_blur_is_scipys_with_the_border_repeated(shape):
    views = torch.rand(4, 3, *shape, generator=torch.Generator().manual_seed(1))
    sigma = np.array([0.1, 0.7, 1.3, 2.0])
    for ours, view, one in zip(blurred(views, sigma), views.double().numpy(), sigma, strict=True):
        expected = view
        for axis in (1, 2):
            expected = gaussian_filter1d(expected, one, axis=axis, mode="nearest", radius=8)
        np.testing.assert_allclose(ours.numpy(), expected, atol=2e-6)


def test_blur_inside_is_torchvisions():
    views = torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(2))
    sigma = np.array([0.4, 1.0, 2.0])
    for ours, view, one in zip(blurred(views, sigma), views, sigma.tolist(), strict=True):
        theirs = functional.gaussian_blur(view, [17, 17], [one, one])
        torch.testing.assert_close(ours[:, 8:-8, 8:-8], theirs[:, 8:-8, 8:-8], atol=2e-6, rtol=0)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_blur_is_nearly_pils_whose_radius_is_the_sigma(sigma):
    """PIL approximates the Gaussian by three boxes and rounds to 8 bits after each."""
    random = np.random.RandomState(3)
    array = random.randint(0, 256, (32, 32, 3)).astype(np.uint8)
    theirs = np.asarray(Image.fromarray(array).filter(ImageFilter.GaussianBlur(sigma))) / 255
    ours = blurred(torch.from_numpy(array).permute(2, 0, 1)[None].float() / 255, np.array([sigma]))
    difference = ours[0].permute(1, 2, 0).numpy() - theirs
    # The noise has a standard deviation of 0.29; what is left of it after the blur is 0.04 and more.
    assert np.abs(difference).mean() < 0.015
    assert abs(difference.mean()) < 0.003


def test_channels_are_scaled_around_their_means_and_inverted():
    view = torch.tensor([[0.2, 0.4], [0.5, 0.7], [0.1, 0.9]]).reshape(1, 3, 1, 2)
    found = with_jittered_channels(view, torch.tensor([[1.5, -0.5, 1.5]]))
    # Means 0.3, 0.6, 0.5. Second channel: 0.55, 0.65, inverted. Third: -0.1 and 1.1, clipped.
    assert found.flatten().tolist() == pytest.approx([0.15, 0.45, 0.45, 0.35, 0.0, 1.0], abs=1e-6)


def test_channels_are_shifted_to_other_means_and_clipped():
    view = torch.tensor([[0.2, 0.4], [0.5, 0.7], [0.1, 0.9]]).reshape(1, 3, 1, 2)
    found = with_shifted_channels(view, torch.tensor([[0.5, 0.25, 0.75]]))
    # Means 0.3, 0.6, 0.5. Third: 0.35 and 1.15, clipped.
    assert found.flatten().tolist() == pytest.approx([0.4, 0.6, 0.15, 0.35, 0.35, 1.0], abs=1e-6)


def test_nothing_is_left_of_the_channels_means():
    view = 0.1 * torch.rand(1, 3, 9, 7, generator=torch.Generator().manual_seed(0)) + 0.4  # nothing is clipped
    moved = view + torch.tensor([0.1, -0.2, 0.3])[:, None, None]
    mean = torch.tensor([[0.3, 0.6, 0.5]])
    torch.testing.assert_close(with_shifted_channels(moved, mean), with_shifted_channels(view, mean))


@pytest.mark.parametrize("side", [7, 16, 33])
def test_a_view_has_the_same_bits_alone_and_in_a_batch(side):
    """Of every number of views; 257 of them are more than a block of any loop that computes several numbers at once."""
    views = torch.rand(257, 3, side, side, generator=torch.Generator().manual_seed(4))
    amounts = torch.linspace(-0.1, 0.1, 257)
    for adjust, amount in (
        (contrasted, 1 + 4 * amounts),
        (saturated, 1 + 2 * amounts),
        (hue_turned, amounts),
        (with_jittered_channels, (1 + amounts)[:, None] * torch.tensor([1, -1, 1])),
        (with_shifted_channels, 0.5 + amounts[:, None] * torch.tensor([1, -1, 2])),
        (blurred, 1.05 + 9 * amounts.double().numpy()),
    ):
        whole = adjust(views, amount)
        for part in (slice(0, 1), slice(100, 103), slice(256, 257)):
            assert torch.equal(adjust(views[part], amount[part]), whole[part])
