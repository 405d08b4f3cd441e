"""`builtin/shapes`: procedural images of any size, whose class combines a local and a global property.

Label = 2 * texture + relation, so there are 8 classes:

    texture   LOCAL, 4 values: the orientation (0, 45, 90, 135 degrees) of stripes with a period of 4 pixels that
              fill the image, whatever its size. Any patch of 4x4 pixels determines it.
    relation  GLOBAL, 2 values: two round marks near opposite sides of the image (left and right, or above and below),
              at random positions. Each is bright or dark with equal odds. 0: both alike, 1: one of each.

A patch of up to a quarter of the side contains at most one mark, and a single mark carries no information about the
relation: given either relation, each position is bright or dark with equal odds. So the mean of any local feature is
the same for both relations, and a linear readout of local features, wherever they are measured, stays at chance; the
two marks must be combined first. A model that uses only texture reaches 50 %, one that uses only the relation 25 %,
guessing gives 12.5 %.

Nuisance factors, independent of the class: phase of the stripes, contrast and (3 channels) tint of the stripes,
positions of the marks, pixel noise. Pixels are quantised to 8 bits.

Image i of a split is drawn from its own stream (data_seed, split, i): it does not depend on `num_train`, and is never
shared between train and test. Labels cycle through the classes, so that every prefix is balanced. The streams are
`RandomState`s, frozen by NumPy's compatibility policy.

Shapes: N images, C channels, S side of an image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from runners.data.dataset_info import DataInfo, Images, SourceInfo
from runners.data.readers.labels import counts_of

__all__ = ["describe", "draw_shapes", "load", "open_splits"]

NUM_TEXTURES = 4
NUM_CLASSES = 2 * NUM_TEXTURES
PERIOD = 4.0
TRAIN, TEST = 0, 1
_DRAWN_AT_ONCE = 256
_SAMPLE = 2 * NUM_CLASSES


def describe(dataset: Any, resources: Any, in_memory_bytes: int) -> SourceInfo:
    # Constants instead of measured values: normalisation then does not depend on num_train, and `plan` draws nothing.
    return SourceInfo(
        img_size=(dataset.img_size, dataset.img_size),
        in_chans=dataset.in_chans,
        num_classes=NUM_CLASSES,
        num_train=dataset.num_train,
        num_test=dataset.num_test,
        mean=(0.5,) * dataset.in_chans,
        std=(0.25,) * dataset.in_chans,
        train_counts=counts_of(_labels(dataset.num_train), NUM_CLASSES),
        test_counts=counts_of(_labels(dataset.num_test), NUM_CLASSES),
    )


def open_splits(dataset: Any, resources: Any) -> tuple[Images, Images]:
    """The first images of each split: whatever changes them changes the later ones, too."""
    sample = dataset.model_copy(
        update={"num_train": min(_SAMPLE, dataset.num_train), "num_test": min(_SAMPLE, dataset.num_test)}
    )
    return load(sample, resources, describe(sample, resources, 0), (dataset.img_size, dataset.img_size))


def load(
    dataset: Any, resources: Any, found: DataInfo | SourceInfo, img_size: tuple[int, int]
) -> tuple[Images, Images]:
    options = {
        "side": dataset.img_size,
        "in_chans": dataset.in_chans,
        "noise": dataset.noise,
        "seed": dataset.data_seed,
    }
    return draw_shapes(dataset.num_train, split=TRAIN, **options), draw_shapes(dataset.num_test, split=TEST, **options)


def draw_shapes(num_images: int, *, split: int, side: int, in_chans: int, noise: float, seed: int) -> Images:
    """First `num_images` images of a split (0: train, 1: test)."""
    labels = _labels(num_images)
    pixels = np.empty((num_images, in_chans, side, side), dtype=np.uint8)
    for start in range(0, num_images, _DRAWN_AT_ONCE):
        part = slice(start, min(start + _DRAWN_AT_ONCE, num_images))
        streams = [_stream(seed, split, index) for index in range(part.start, part.stop)]
        pixels[part] = _draw(labels[part], streams, side=side, in_chans=in_chans, noise=noise)
    return Images(torch.from_numpy(pixels), torch.from_numpy(labels))


def _labels(num_images: int) -> np.ndarray:
    return np.arange(num_images) % NUM_CLASSES


def _stream(seed: int, split: int, index: int) -> np.random.RandomState:
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence((seed, split, index))))


def _draw(labels: np.ndarray, streams: list, *, side: int, in_chans: int, noise: float) -> np.ndarray:
    uniform = np.stack([stream.random_sample(12) for stream in streams])  # every image draws the same numbers
    y_S1, x_1S = np.arange(side)[:, None], np.arange(side)[None, :]

    angle = (labels // 2) * np.pi / NUM_TEXTURES
    along_NSS = np.cos(angle)[:, None, None] * x_1S + np.sin(angle)[:, None, None] * y_S1
    wave_NSS = np.sin(2 * np.pi * (along_NSS / PERIOD + uniform[:, 0, None, None]))
    contrast_NC = 0.1 + 0.15 * uniform[:, 1 : 1 + in_chans]
    image = 0.5 + contrast_NC[:, :, None, None] * wave_NSS[:, None]

    is_bright = np.empty((len(labels), 2), dtype=bool)
    is_bright[:, 0] = uniform[:, 4] < 0.5
    is_bright[:, 1] = is_bright[:, 0] ^ (labels % 2 == 1)
    for mark, center_N2 in enumerate(_centers(uniform, side)):
        distance2_NSS = (y_S1 - center_N2[:, 0, None, None]) ** 2 + (x_1S - center_N2[:, 1, None, None]) ** 2
        inside = (distance2_NSS <= (side / 8) ** 2)[:, None]
        image = np.where(inside, np.where(is_bright[:, mark], 0.95, 0.05)[:, None, None, None], image)

    image = image + noise * np.stack([stream.standard_normal(image.shape[1:]) for stream in streams])
    return np.rint(255 * image.clip(0, 1)).astype(np.uint8)


def _centers(uniform: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres (N, 2) of the two marks: along a random axis one in the first eighth of its range, one in the last."""
    margin = side / 8
    span = side - 1 - 2 * margin
    first = margin + span * np.stack([uniform[:, 5] / 8, uniform[:, 6]], axis=1)
    second = margin + span * np.stack([1 - uniform[:, 7] / 8, uniform[:, 8]], axis=1)
    flip = (uniform[:, 9] < 0.5)[:, None]
    return np.where(flip, first[:, ::-1], first), np.where(flip, second[:, ::-1], second)
