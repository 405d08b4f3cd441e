"""Samples: some images of the test split with their ground truth and what a trained model predicted on them.

Plain arrays of every task that can be drawn. They have a room of their own because runners write them and figures draw
them; `samples_file.py` is how they are on disk.

Shapes:  H x W pixels of an image, N objects of one image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

__all__ = ["MOST_OBJECTS", "MOST_PIXELS", "MOST_SAMPLES", "Drawable", "Kind", "LabelMap", "Objects", "OneClass"]
__all__ += ["Sample", "Samples"]

Kind = Literal["one_class", "label_map", "objects"]

MOST_SAMPLES = 64
MOST_OBJECTS = 50
"""Of one image: of the truth the first ones, of predictions those with the highest scores."""
MOST_PIXELS: Mapping[Kind, int] = {"one_class": 1 << 21, "label_map": 1 << 21, "objects": 1 << 19}
"""Of all images together: 6 MiB before compression; fewer where every image may have fifty masks. An image has at most
an equal share, and is scaled down to it."""


@dataclass(frozen=True)
class OneClass:
    """One class for the image. `probability`: of a prediction; NaN of the truth."""

    label: int
    probability: float = float("nan")


@dataclass(frozen=True)
class LabelMap:
    """One class for every pixel, (H, W) uint8."""

    labels: np.ndarray


@dataclass(frozen=True)
class Objects:
    """Boxes with their classes, by falling score.

    Attributes:
        boxes: left, top, right, bottom in pixels, (N, 4) float32.
        labels: (N,) int32.
        scores: of predictions, (N,) float32; NaN of the truth.
        masks: (N, H, W) bool; None where there are boxes only.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    masks: np.ndarray | None = None


Drawable = OneClass | LabelMap | Objects


@dataclass(frozen=True)
class Sample:
    """One image.

    Attributes:
        position: in the test split.
        image: (H, W, 3) uint8.
    """

    position: int
    image: np.ndarray
    truth: Drawable
    prediction: Drawable


@dataclass(frozen=True)
class Samples:
    """What one trial keeps.

    Attributes:
        samples: by rising position; all of one kind.
        names: of the labels that occur, where the dataset names its classes.
        ignored: label of pixels that are not counted; -1 where there are none.
        least_score: score below which objects were not kept; 0 where there are no objects.
    """

    kind: Kind
    samples: tuple[Sample, ...]
    names: Mapping[int, str] = field(default_factory=dict)
    ignored: int = -1
    least_score: float = 0.0
