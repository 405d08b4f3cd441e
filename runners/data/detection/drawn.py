"""`builtin/scenes` as images with objects: the visible part of every shape, its box and its class without background.

Shapes:  S side of an image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from runners.data.dense.rle import compressed_rle
from runners.data.dense.scenes import TEST, TRAIN, Scenes, class_names, draw_scenes
from runners.data.detection.objects import Objects

__all__ = ["DrawnScenes", "draw_objects", "names_of_scenes"]


class DrawnScenes:
    """Split of drawn scenes with random access."""

    def __init__(self, scenes: Scenes) -> None:
        self._pixels = scenes.pixels
        self.objects = [_objects(scenes, index) for index in range(len(scenes))]

    def __len__(self) -> int:
        return len(self.objects)

    def image(self, index: int) -> Tensor:
        """Pixels (3, S, S) uint8."""
        return self._pixels[index]


def names_of_scenes(dataset: Any) -> tuple[str, ...]:
    """Names of the classes of objects, in the order of their labels."""
    return class_names(context=dataset.context)[1:]


def draw_objects(dataset: Any) -> tuple[DrawnScenes, DrawnScenes]:
    """The training and the test split of a `ScenesSpec`."""
    options = {"side": dataset.img_size, "seed": dataset.data_seed, "context": dataset.context}
    train = draw_scenes(dataset.num_train, split=TRAIN, **options)
    return DrawnScenes(train), DrawnScenes(draw_scenes(dataset.num_test, split=TEST, **options))


def _objects(scenes: Scenes, index: int) -> Objects:
    found = scenes.instances(index)
    corners = found.boxes.double().numpy()
    masks = found.masks.numpy()
    side = int(scenes.pixels.shape[-1])
    return Objects(
        size=(side, side),
        boxes=np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1),
        labels=torch.sub(found.labels, 1).numpy(),  # without background
        areas=masks.sum(axis=(1, 2)).astype(np.float64),
        masks=tuple(compressed_rle(mask) for mask in masks),
    )
