"""Random numbers of the views of one image: where each is cut out, and what is done to its pixels.

Paper:   DINO, Caron et al. 2021, arXiv:2104.14294, with the multi-crop of SwAV, Caron et al. 2020, arXiv:2006.09882;
         values of the released training (main_dino.py).
Boxes:   those of torchvision's RandomResizedCrop: an area uniform in `scale`, as a part of the image, and an aspect
         log-uniform in `aspect`; where the rounded sides do not fit, they are drawn again, up to 10 times, and then the
         largest box with a legal aspect is taken from the middle.
Pixels:  flip; with probability `color_jitter`, in random order, brightness and contrast times 0.6..1.4, saturation
         times 0.8..1.2, hue turned by up to 0.1 of the circle; grey; blur by a sigma of 0.1..2 pixels; solarised.
Differs: `channel_jitter` and then `channel_shift`, which are no part of DINO, come after the flip.

Every image has a stream of its own, named by the trial's seed, the epoch and the image. Every view takes as many
numbers from it, whatever becomes of them: another probability, or further local views, changes nothing else. The
numbers of `channel_shift` come from a second stream, so that those of the first are what they were without it.

Shapes: V views of an image, global ones first; C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from runners.data.random_streams import Seed, stream_seed
from runners.data.views.crops import NUM_GLOBAL

__all__ = ["BRIGHTNESS", "CONTRAST", "HUE", "SATURATION", "MultiCrop", "ViewDraws", "draw_views", "joined"]

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
_JITTER = ((0.6, 1.4), (0.6, 1.4), (0.8, 1.2), (-0.1, 0.1))
_SIGMA = (0.1, 2.0)
_MEANS = (0.25, 0.75)
_TRIES = 10
_NUM_DRAWN = 4 * _TRIES + 21  # of every view, also what it has no use for


@dataclass(frozen=True)
class MultiCrop:
    """Distribution of the views of an image.

    Attributes:
        global_size, local_size: (height, width) of the views.
        num_local: number of local views.
        global_scale, local_scale: smallest and largest part of the image's area.
        aspect: smallest and largest width / height of a box.
        hflip, color_jitter, grayscale, channel_jitter, channel_shift: probabilities, per view.
        blur: probability of the first global, the second global and a local view.
        solarize: probability of the second global view.
    """

    global_size: tuple[int, int]
    local_size: tuple[int, int]
    num_local: int = 8
    global_scale: tuple[float, float] = (0.4, 1.0)
    local_scale: tuple[float, float] = (0.05, 0.4)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    hflip: float = 0.5
    color_jitter: float = 0.8
    grayscale: float = 0.2
    blur: tuple[float, float, float] = (1.0, 0.1, 0.5)
    solarize: float = 0.2
    channel_jitter: float = 0.0
    channel_shift: float = 0.0

    def per_view(self, global_value: float, local_value: float) -> np.ndarray:
        """(V, 1): one value for the global views, one for the local ones."""
        return np.repeat([global_value, local_value], [NUM_GLOBAL, self.num_local])[:, None]


@dataclass(frozen=True)
class ViewDraws:
    """What was drawn for V views.

    Attributes:
        boxes: top, left, height, width in pixels of the image, (V, 4) int64.
        flipped, jittered, grey, solarized, channels_jittered, channels_shifted: (V,) bool.
        order: which of the four adjustments comes first, second, ..., (V, 4) int64.
        factors: brightness, contrast, saturation (factors), hue (turn, as part of the circle), (V, 4) float32.
        sigma: of the blur in pixels, 0: none, (V,) float64.
        channels: factor of every channel around its mean; negative: then inverted, (V, 3) float32.
        means: to which the channels are shifted, (V, 3) float32.
    """

    boxes: np.ndarray
    flipped: np.ndarray
    jittered: np.ndarray
    order: np.ndarray
    factors: np.ndarray
    grey: np.ndarray
    sigma: np.ndarray
    solarized: np.ndarray
    channels_jittered: np.ndarray
    channels: np.ndarray
    channels_shifted: np.ndarray
    means: np.ndarray

    def part(self, views: slice) -> ViewDraws:
        return ViewDraws(*(getattr(self, field.name)[views] for field in fields(self)))


def draw_views(crop: MultiCrop, size: tuple[int, int], seed: Seed, epoch: int, *image: int) -> ViewDraws:
    """What is drawn for the views of one image.

    Args:
        size: (height, width) of the image.
        image: its position in the training split; of a stream its shard and its position there.
    """
    num_views = NUM_GLOBAL + crop.num_local
    drawn = _stream(seed, "views", epoch, *image).random_sample((num_views, _NUM_DRAWN))
    shift, *means = _stream(seed, "channel shifts", epoch, *image).random_sample((num_views, 4)).T
    (flip, jitter, grey, blur, sigma, solarize, channels), rest = drawn[:, :7].T, drawn[:, 7:]
    factors, order, scales, signs, tries = np.split(rest, [4, 8, 11, 14], axis=1)
    low, high = np.transpose(_JITTER)
    blur_odds = np.repeat(crop.blur, [1, 1, crop.num_local])
    return ViewDraws(
        boxes=_boxes(crop, size, tries.reshape(len(drawn), 4, _TRIES)),
        flipped=flip < crop.hflip,
        jittered=jitter < crop.color_jitter,
        order=np.argsort(order, axis=1),
        factors=(low + (high - low) * factors).astype(np.float32),
        grey=grey < crop.grayscale,
        sigma=np.where(blur < blur_odds, _SIGMA[0] + (_SIGMA[1] - _SIGMA[0]) * sigma, 0),
        solarized=(solarize < crop.solarize) & (np.arange(len(drawn)) == 1),
        channels_jittered=channels < crop.channel_jitter,
        channels=(np.where(signs < 0.5, -1, 1) * (0.5 + scales)).astype(np.float32),
        channels_shifted=shift < crop.channel_shift,
        means=(_MEANS[0] + (_MEANS[1] - _MEANS[0]) * np.stack(means, axis=1)).astype(np.float32),
    )


def joined(draws: Sequence[ViewDraws]) -> ViewDraws:
    """The draws of several images as one, in their order."""
    return ViewDraws(*(np.concatenate([getattr(each, field.name) for each in draws]) for field in fields(ViewDraws)))


def _stream(seed: Seed, *names: str | int) -> np.random.RandomState:
    # Philox, because generators are made for every image: it starts ten times as fast as Mersenne Twister.
    return np.random.RandomState(np.random.Philox(key=stream_seed(seed, *names)))


def _boxes(crop: MultiCrop, size: tuple[int, int], drawn_V4T: np.ndarray) -> np.ndarray:
    height, width = size
    smallest, largest = (
        crop.per_view(of_global, of_local)
        for of_global, of_local in zip(crop.global_scale, crop.local_scale, strict=True)
    )
    area, aspect, down, right = np.moveaxis(drawn_V4T, 1, 0)
    area = height * width * (smallest + (largest - smallest) * area)
    low, high = np.log(crop.aspect)
    aspect = np.exp(low + (high - low) * aspect)
    heights, widths = np.rint(np.sqrt(area / aspect)), np.rint(np.sqrt(area * aspect))
    fits = (heights > 0) & (heights <= height) & (widths > 0) & (widths <= width)
    tops, lefts = np.floor(down * (height - heights + 1)), np.floor(right * (width - widths + 1))
    chosen = np.argmax(fits, axis=1)[:, None]
    boxes = [np.take_along_axis(each, chosen, axis=1)[:, 0] for each in (tops, lefts, heights, widths)]
    return np.where(fits.any(1)[:, None], np.stack(boxes, axis=1), _centred(crop.aspect, size)).astype(np.int64)


def _centred(aspect: tuple[float, float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The largest box with a legal aspect, in the middle."""
    height, width = size
    if width / height < aspect[0]:
        height = max(1, round(width / aspect[0]))
    elif width / height > aspect[1]:
        width = max(1, round(height * aspect[1]))
    return (size[0] - height) // 2, (size[1] - width) // 2, height, width
