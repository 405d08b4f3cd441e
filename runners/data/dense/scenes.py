"""`builtin/scenes`: drawn scenes of a few shapes, with a class for every pixel and the visible mask of every object.

    background   a colour in 0.25..0.75 per channel, shaded by a sine along x and one along y: amplitude 0.08, up to two
                 periods over the image
    objects      one to four, each wholly inside the image, later ones in front. Class (disk, square, triangle), size
                 r = S (0.08 + 0.12 u) and colour are random; one channel of the colour is 0.5 away (modulo 1) from the
                 background at the object's centre, so that no object is invisible. With (dy, dx) from the centre:
                     disk       dy^2 + dx^2 <= r^2
                     square     |dy| <= 0.9 r and |dx| <= 0.9 r
                     triangle   |dy| <= 0.9 r and |dx| <= 0.55 (dy + 0.9 r), the apex above
    noise        normal, 0.08 of full scale per pixel and channel; then 8 bits

Label maps have 0 for the background and 1, 2, 3 for the classes; at 64 x 64 the background has 87.0 % of the pixels,
what a constant answer reaches. Of an object with fewer than 12 visible pixels there is no instance; its pixels keep
their class in the label map.

With `context` the class of a triangle depends on a far place: the square of S / 8 pixels in the top left corner, in
front of everything and labelled background, is bright (0.95) or dark (0.05) with equal odds, and in an image where it
is bright triangles have class 4. Everything outside the square is bit for bit what it is without `context`, so no
patch that does not touch the square carries any information about 3 or 4: a model whose receptive field at a triangle
does not reach the corner is right on half of the triangles.

Image i of a split is drawn from its own stream (seed, split, i): it depends neither on the number of images nor on
those before it. The streams are `RandomState`s, frozen by NumPy's compatibility policy.

Shapes: N images, S side of an image, K instances of one image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "FEWEST_VISIBLE",
    "SMALLEST_SIDE",
    "TEST",
    "TRAIN",
    "Instances",
    "Scenes",
    "class_names",
    "draw_scenes",
    "shape_masks",
]

TRAIN, TEST = 0, 1
SMALLEST_SIDE = 32
FEWEST_VISIBLE = 12
"""Visible pixels below which an object is no instance."""

_CLASSES = ("background", "disk", "square", "triangle")
_MARKED = "triangle in a marked image"
_DISK, _SQUARE, _TRIANGLE, _MARKED_TRIANGLE = 1, 2, 3, 4
_MOST_OBJECTS = 4
_BRIGHT, _DARK = 0.95, 0.05
_NUM_SCENE, _NUM_OBJECT = 9, 8  # numbers drawn for a scene and for each of its objects, also for those it lacks
_PIXELS_AT_ONCE = 1 << 19  # 32 bytes each while they are drawn: 16 MiB


@dataclass(frozen=True)
class Instances:
    """Objects of one image in the order in which they were drawn.

    Attributes:
        labels: class, (K,) int64.
        masks: visible pixels, (K, S, S) bool.
        boxes: [xmin, ymin, xmax + 1, ymax + 1] of the visible pixels, (K, 4) float32.
    """

    labels: Tensor
    masks: Tensor
    boxes: Tensor


@dataclass(frozen=True)
class Scenes:
    """Drawn scenes.

    Attributes:
        pixels: (N, 3, S, S) uint8.
        label_maps: class of every pixel, (N, S, S) uint8.
        object_maps: which object is seen at a pixel, (N, S, S) uint8: 0 none, k the k-th that was drawn.
    """

    pixels: Tensor
    label_maps: Tensor
    object_maps: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def instances(self, index: int) -> Instances:
        """Instances of one image; of an image without any, tensors with K = 0."""
        label_map, object_map = self.label_maps[index], self.object_maps[index]
        masks = [object_map == number for number in range(1, _MOST_OBJECTS + 1)]
        masks = [mask for mask in masks if int(mask.sum()) >= FEWEST_VISIBLE]
        side = object_map.shape[-1]
        return Instances(
            labels=torch.tensor([int(label_map[mask][0]) for mask in masks], dtype=torch.int64),
            masks=torch.stack(masks) if masks else torch.zeros((0, side, side), dtype=torch.bool),
            boxes=torch.tensor([_box(mask) for mask in masks], dtype=torch.float32).reshape(-1, 4),
        )


def class_names(*, context: bool) -> tuple[str, ...]:
    """Names of the classes, in the order of their labels."""
    return (*_CLASSES, _MARKED) if context else _CLASSES


def draw_scenes(num_images: int, *, split: int, side: int, seed: int, context: bool, first: int = 0) -> Scenes:
    """Images `first` to `first + num_images - 1` of a split (0: train, 1: test).

    Args:
        side: height and width, at least 32.
        context: the class of triangles depends on the mark in the corner.
    """
    assert side >= SMALLEST_SIDE, f"scenes of {side} pixels"
    pixels = np.empty((num_images, 3, side, side), dtype=np.uint8)
    label_maps = np.empty((num_images, side, side), dtype=np.uint8)
    object_maps = np.empty((num_images, side, side), dtype=np.uint8)
    at_once = max(1, _PIXELS_AT_ONCE // side**2)
    for start in range(0, num_images, at_once):
        part = slice(start, min(start + at_once, num_images))
        streams = [_stream(seed, split, first + index) for index in range(part.start, part.stop)]
        pixels[part], label_maps[part], object_maps[part] = _draw(streams, side, context)
    return Scenes(*(torch.from_numpy(array) for array in (pixels, label_maps, object_maps)))


def shape_masks(labels: np.ndarray, centers: np.ndarray, radii: np.ndarray, *, side: int) -> np.ndarray:
    """Pixels of one object in each of N images, (N, S, S) bool.

    Args:
        labels: 1 disk, 2 square, 3 triangle, (N,).
        centers: (y, x) in pixels, (N, 2); pixel (0, 0) has its centre at 0, 0.
        radii: (N,) in pixels.
    """
    r = radii[:, None, None]
    dy = np.arange(side)[None, :, None] - centers[:, 0, None, None]
    dx = np.arange(side)[None, None, :] - centers[:, 1, None, None]
    shapes = {
        _DISK: dy**2 + dx**2 <= r**2,
        _SQUARE: (np.abs(dy) <= 0.9 * r) & (np.abs(dx) <= 0.9 * r),
        _TRIANGLE: (np.abs(dy) <= 0.9 * r) & (np.abs(dx) <= 0.55 * (dy + 0.9 * r)),
    }
    return np.select([labels[:, None, None] == label for label in shapes], list(shapes.values()))


def _stream(seed: int, split: int, index: int) -> np.random.RandomState:
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence((seed, split, index))))


def _draw(streams: list[np.random.RandomState], side: int, context: bool) -> tuple[np.ndarray, ...]:
    """Pixels, label maps and object maps; every image draws the same numbers, whatever is seen of them."""
    uniform = np.stack([stream.random_sample(_NUM_SCENE + _MOST_OBJECTS * _NUM_OBJECT) for stream in streams])
    image, label_map = _background(uniform, side), np.zeros((len(streams), side, side), dtype=np.uint8)
    object_map = np.zeros_like(label_map)
    background = image.copy()
    num_objects = 1 + np.floor(_MOST_OBJECTS * uniform[:, 7]).astype(int)
    for index in range(_MOST_OBJECTS):
        drawn = uniform[:, _NUM_SCENE + index * _NUM_OBJECT :][:, :_NUM_OBJECT]
        label, inside, color = _object(drawn, background)
        inside &= (index < num_objects)[:, None, None]
        image = np.where(inside[:, None], color[:, :, None, None], image)
        label_map = np.where(inside, label[:, None, None], label_map)
        object_map = np.where(inside, np.uint8(index + 1), object_map)
    if context:
        is_bright, corner = uniform[:, 8] < 0.5, slice(0, side // 8)
        image[:, :, corner, corner] = np.where(is_bright, _BRIGHT, _DARK)[:, None, None, None]
        label_map[:, corner, corner] = object_map[:, corner, corner] = 0
        label_map[is_bright[:, None, None] & (label_map == _TRIANGLE)] = _MARKED_TRIANGLE
    for each, stream in zip(image, streams, strict=True):
        each += 0.08 * stream.standard_normal(each.shape)
    return np.rint(255 * image.clip(0, 1)).astype(np.uint8), label_map, object_map


def _background(uniform: np.ndarray, side: int) -> np.ndarray:
    """(N, 3, S, S) float64 from the first seven numbers of a scene: colour, periods and phase along x, along y."""
    place = np.arange(side) / side
    along_x, along_y = (
        0.08 * np.sin(2 * np.pi * (2 * uniform[:, at, None] * place + uniform[:, at + 1, None])) for at in (3, 5)
    )
    color = 0.25 + 0.5 * uniform[:, :3]
    return color[:, :, None, None] + (along_y[:, :, None] + along_x[:, None, :])[:, None]


def _object(drawn: np.ndarray, background: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class (N,), pixels (N, S, S) and colour (N, 3) of one object of every image."""
    side, each = background.shape[-1], np.arange(len(drawn))
    label = (1 + np.floor(3 * drawn[:, 0])).astype(np.uint8)
    radius = side * (0.08 + 0.12 * drawn[:, 1])
    center_y, center_x = (radius + (side - 1 - 2 * radius) * drawn[:, at] for at in (2, 3))
    channel = np.floor(3 * drawn[:, 7]).astype(int)
    behind = background[each, channel, np.rint(center_y).astype(int), np.rint(center_x).astype(int)]
    color = drawn[:, 4:7].copy()
    color[each, channel] = (behind + 0.5) % 1
    return label, shape_masks(label, np.stack([center_y, center_x], axis=1), radius, side=side), color


def _box(mask: Tensor) -> list[float]:
    rows, columns = (torch.nonzero(mask.any(dim=axis)).flatten() for axis in (1, 0))
    return [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]
