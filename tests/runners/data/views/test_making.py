"""Views made of images: torchvision's and PIL's crops, the order of the adjustments, normalisation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional

from runners.data.views.drawing import MultiCrop, draw_views
from runners.data.views.making import adjusted, cut_out, make_views

ZERO, ONE = torch.zeros(3), torch.ones(3)


def pixels(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.RandomState(seed).randint(0, 256, (3, height, width)).astype(np.uint8))


@pytest.mark.parametrize(("box", "size"), [((2, 3, 20, 11), (8, 8)), ((0, 0, 7, 9), (16, 24)), ((5, 5, 8, 8), (8, 8))])
def test_crops_are_torchvisions(box, size):
    image = pixels(30, 25)
    options = {"interpolation": functional.InterpolationMode.BICUBIC, "antialias": True}
    expected = functional.resized_crop(image.float() / 255, *box, list(size), **options).clamp(0, 1)
    torch.testing.assert_close(cut_out(image, box, size)[0], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("box", "size"), [((2, 3, 20, 11), (8, 8)), ((0, 0, 7, 9), (16, 24))])
def test_crops_are_pils_but_for_rounding(box, size):
    """PIL rounds to 8 bits after the rows and after the columns, and clips: here nothing leaves the range."""
    image = 100 + pixels(30, 25) // 8
    top, left, height, width = box
    whole = Image.fromarray(image.permute(1, 2, 0).numpy()).crop((left, top, left + width, top + height))
    theirs = np.asarray(whole.resize((size[1], size[0]), Image.Resampling.BICUBIC)) / 255
    found = cut_out(image, box, size)[0].permute(1, 2, 0).numpy()
    assert np.abs(found - theirs).max() < 2.1 / 255


def test_overshoot_is_clipped():
    """A bicubic kernel is negative in places: an edge enlarged leaves the range of the pixels."""
    edge = torch.zeros(3, 8, 8, dtype=torch.uint8)
    edge[:, :, 4:] = 255
    found = cut_out(edge, (0, 0, 8, 8), (32, 32))
    assert (float(found.min()), float(found.max())) == (0.0, 1.0)
    assert float((found == 1).float().mean()) > 0.2


def test_floating_point_images_are_taken_as_they_are():
    image = pixels(12, 12)
    assert torch.equal(cut_out(image, (1, 2, 9, 9), (6, 6)), cut_out(image.float() / 255, (1, 2, 9, 9), (6, 6)))


def reference(image, draws, view, size, mean, std):
    """One view, step by step, with torchvision's functions (blur and channels off)."""
    options = {"interpolation": functional.InterpolationMode.BICUBIC, "antialias": True}
    x = functional.resized_crop(image.float() / 255, *draws.boxes[view].tolist(), list(size), **options).clamp(0, 1)
    if draws.flipped[view]:
        x = functional.horizontal_flip(x)
    steps = (
        functional.adjust_brightness,
        functional.adjust_contrast,
        functional.adjust_saturation,
        functional.adjust_hue,
    )
    if draws.jittered[view]:
        for kind in draws.order[view].tolist():
            x = steps[kind](x, float(draws.factors[view, kind]))
    if draws.grey[view]:
        x = functional.rgb_to_grayscale(x, 3)
    if draws.solarized[view]:
        x = functional.solarize(x, 0.5)
    return functional.normalize(x, mean.tolist(), std.tolist())


def test_views_are_those_of_torchvision_step_by_step():
    crop = MultiCrop((12, 16), (6, 6), num_local=3, blur=(0.0, 0.0, 0.0), solarize=0.5, grayscale=0.3)
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.3])
    images = [pixels(20 + index, 31 - index, index) for index in range(12)]
    draws = [draw_views(crop, tuple(image.shape[-2:]), 3, 1, index) for index, image in enumerate(images)]
    crops = make_views(images, draws, crop, mean=mean, std=std)
    assert tuple(crops.global_views.shape) == (12, 2, 3, 12, 16)
    assert tuple(crops.local_views.shape) == (12, 3, 3, 6, 6)
    differences = []
    for index, (image, drawn) in enumerate(zip(images, draws, strict=True)):
        for view, found in enumerate([*crops.global_views[index], *crops.local_views[index]]):
            expected = reference(image, drawn, view, found.shape[-2:], mean, std)
            differences.append((found - expected).abs())
    largest = torch.cat([each.flatten() for each in differences])
    # Solarising is not continuous: a pixel that rounding moves over 0.5 stays what it was or is inverted, 0 either way
    # at 0.5 exactly. So all pixels agree to rounding (divided by a standard deviation of 0.2).
    assert float(largest.max()) < 5e-5


def test_steps_come_in_the_drawn_order():
    """Brightness 2 then contrast 0 leave the mean of the clipped image; in the other order the clipped double mean."""
    crop = MultiCrop((2, 2), (1, 1), num_local=0, hflip=0, color_jitter=1, grayscale=0, blur=(0, 0, 0), solarize=0)
    draws = draw_views(crop, (2, 2), 0, 1, 0)
    draws.factors[:] = (2, 0, 1, 0)
    draws.order[:] = ((0, 1, 2, 3), (1, 0, 2, 3))
    view = torch.tensor([0.0, 0.0, 0.2, 1.0]).reshape(1, 1, 2, 2).expand(2, 3, 2, 2).contiguous()
    found = adjusted(view, draws)
    # Weights of grey sum to 0.9999.
    assert found[0].flatten().tolist() == pytest.approx([(0.4 + 1.0) / 4] * 12, abs=1e-3)
    assert found[1].flatten().tolist() == pytest.approx([2 * 1.2 / 4] * 12, abs=1e-3)


def test_channels_get_the_means_that_were_drawn_for_their_view():
    """After the channel jitter, whose inversion would move them; bands narrow enough that nothing is clipped."""
    crop = MultiCrop(
        (16, 16), (9, 9), num_local=2, color_jitter=0, grayscale=0, blur=(0, 0, 0), solarize=0,
        channel_jitter=1.0, channel_shift=1.0,
    )  # fmt: skip
    image = 110 + pixels(20, 31) // 8
    draws = draw_views(crop, (20, 31), 3, 1, 0)
    crops = make_views([image], [draws], crop, mean=ZERO, std=ONE)
    means = torch.cat([crops.global_views[0].mean((2, 3)), crops.local_views[0].mean((2, 3))])
    torch.testing.assert_close(means, torch.from_numpy(draws.means), atol=1e-5, rtol=0)


@pytest.mark.parametrize("num_local", [0, 3])
def test_an_image_has_the_same_bits_alone_and_in_a_batch(num_local):
    crop = MultiCrop((16, 16), (9, 9), num_local=num_local, channel_jitter=0.5, channel_shift=0.5)
    images = [pixels(20 + index, 31 - index, index) for index in range(20)]
    draws = [draw_views(crop, tuple(image.shape[-2:]), 3, 1, index) for index, image in enumerate(images)]
    whole = make_views(images, draws, crop, mean=ZERO, std=ONE)
    for index in (0, 7, 19):
        alone = make_views([images[index]], [draws[index]], crop, mean=ZERO, std=ONE)
        assert torch.equal(alone.global_views[0], whole.global_views[index])
        assert torch.equal(alone.local_views[0], whole.local_views[index])


def test_grey_images_have_one_channel():
    crop = MultiCrop((8, 8), (4, 4), num_local=1, channel_jitter=1.0, channel_shift=1.0)
    images = [torch.rand(1, 10, 10)]
    crops = make_views(images, [draw_views(crop, (10, 10), 0, 1, 0)], crop, mean=torch.zeros(1), std=torch.ones(1))
    assert tuple(crops.global_views.shape) == (1, 2, 1, 8, 8)
