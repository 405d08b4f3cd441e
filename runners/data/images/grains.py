"""`builtin/grains`: drawn textures of random colour whose class is an orientation only; for learning without labels.

    class      one of 8 orientations: label k is the angle k * 22.5 degrees, clockwise from the x axis, of the normal of
               the grain (the direction across its stripes)
    field      normal white noise, a number per pixel, times exp(-|f - f_k|^2 / (2 sigma^2)) and the same around -f_k in
               the frequency domain; f_k has the length 0.2 cycles per pixel and the angle of the class, sigma is 0.045
               cycles per pixel. Scaled to a variance of 1 in expectation. The field is periodic over the image
    colour     the mean of every channel, uniform in 0.3..0.7
    contrast   a factor of every channel with either sign: standard deviation of the field in this channel, uniform in
               0.5..1 times one of the image that is uniform in 0.06..0.16

Pixel = colour + contrast * field, clipped to 0..1 and rounded to 8 bits.

Colour, contrast and the phases of the field are independent of the class. The nearest neighbours of an image in
pixels (cosine, 20 neighbours, 1,600 and 400 images) have its colours, and so its class little more often than chance,
1 of 8: 17 % of the votes are right. In pixels without the mean of their channel it is 98 %, because fields of one band
resemble each other more often than those of two; so a representation gains by dropping the colours alone.

A flip exchanges classes (k and 8 - k): a training on it needs `hflip: 0`. A crop that changes the ratio of the sides
turns the orientation a little.

Image i of a split is drawn from its own stream (data_seed, split, i): first the 7 uniform numbers (3 colours, 1
contrast of the image, 3 of the channels), then the S x S normal ones, row by row. It depends neither on the number of
images nor on those before it. Labels cycle through the classes, so that every prefix is balanced. The streams are
`RandomState`s, frozen by NumPy's compatibility policy.

Shapes: N images, S side of an image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from runners.data.dataset_info import DataInfo, Images, SourceInfo
from runners.data.readers.labels import counts_of

__all__ = ["describe", "draw_grains", "load", "open_splits"]

NUM_CLASSES = 8
FREQUENCY, BANDWIDTH = 0.2, 0.045
TRAIN, TEST = 0, 1
_DRAWN_AT_ONCE = 256
_SAMPLE = 2 * NUM_CLASSES


def describe(dataset: Any, resources: Any, in_memory_bytes: int) -> SourceInfo:
    # Constants instead of measured values: normalisation then does not depend on num_train, and `plan` draws nothing.
    return SourceInfo(
        img_size=(dataset.img_size, dataset.img_size),
        in_chans=3,
        num_classes=NUM_CLASSES,
        num_train=dataset.num_train,
        num_test=dataset.num_test,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        train_counts=counts_of(_labels(dataset.num_train), NUM_CLASSES),
        test_counts=counts_of(_labels(dataset.num_test), NUM_CLASSES),
    )


def open_splits(dataset: Any, resources: Any) -> tuple[Images, Images]:
    """The first images of each split: whatever changes them changes the later ones, too."""
    few = {"num_train": min(_SAMPLE, dataset.num_train), "num_test": min(_SAMPLE, dataset.num_test)}
    return _splits(dataset.model_copy(update=few))


def load(
    dataset: Any, resources: Any, found: DataInfo | SourceInfo, img_size: tuple[int, int]
) -> tuple[Images, Images]:
    return _splits(dataset)


def draw_grains(num_images: int, *, split: int, side: int, seed: int) -> Images:
    """First `num_images` images of a split (0: train, 1: test)."""
    labels = _labels(num_images)
    pixels = np.empty((num_images, 3, side, side), dtype=np.uint8)
    bands_8SS = np.stack([_band(label, side) for label in range(NUM_CLASSES)])
    for start in range(0, num_images, _DRAWN_AT_ONCE):
        part = slice(start, min(start + _DRAWN_AT_ONCE, num_images))
        streams = [_stream(seed, split, index) for index in range(part.start, part.stop)]
        pixels[part] = _draw(bands_8SS[labels[part]], streams)
    return Images(torch.from_numpy(pixels), torch.from_numpy(labels))


def _splits(dataset: Any) -> tuple[Images, Images]:
    options = {"side": dataset.img_size, "seed": dataset.data_seed}
    return draw_grains(dataset.num_train, split=TRAIN, **options), draw_grains(dataset.num_test, split=TEST, **options)


def _labels(num_images: int) -> np.ndarray:
    return np.arange(num_images) % NUM_CLASSES


def _stream(seed: int, split: int, index: int) -> np.random.RandomState:
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence((seed, split, index))))


def _band(label: int, side: int) -> np.ndarray:
    """Factors (S, S) of the frequencies of white noise with variance 1; the sum of their squares is S^2."""
    angle = label * np.pi / NUM_CLASSES
    fy_S1, fx_1S = np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None, :]
    band = np.zeros((side, side))
    for sign in (-1, 1):
        distance2 = (fx_1S - sign * FREQUENCY * np.cos(angle)) ** 2 + (fy_S1 - sign * FREQUENCY * np.sin(angle)) ** 2
        band += np.exp(-distance2 / (2 * BANDWIDTH**2))
    return band / np.sqrt((band**2).mean())


def _draw(bands_NSS: np.ndarray, streams: list[np.random.RandomState]) -> np.ndarray:
    uniform_N7 = np.stack([stream.random_sample(7) for stream in streams])
    noise_NSS = np.stack([stream.standard_normal(bands_NSS.shape[1:]) for stream in streams])
    # The band is the same at f and -f, so the imaginary part is nothing but rounding.
    field_NSS = np.fft.ifft2(np.fft.fft2(noise_NSS) * bands_NSS).real
    color_N3 = 0.3 + 0.4 * uniform_N7[:, :3]
    of_the_image_N1, of_channels_N3 = 0.06 + 0.1 * uniform_N7[:, 3:4], 2 * uniform_N7[:, 4:] - 1
    contrast_N3 = of_the_image_N1 * np.where(of_channels_N3 < 0, -1, 1) * (0.5 + 0.5 * np.abs(of_channels_N3))
    image = color_N3[:, :, None, None] + contrast_N3[:, :, None, None] * field_NSS[:, None]
    return np.rint(255 * image.clip(0, 1)).astype(np.uint8)
