"""Label maps as files and as classes: which numbers of a PNG are legal, and which class each of them means.

    stored    what the file holds: numbers up to 255, grey or the indices of a palette (whose colours say nothing)
    classes   0 to `num_classes` - 1, and `ignore_label` for pixels that neither the loss nor a metric counts

They are equal but for `reduce_zero_label`, the convention of ADE20K, whose files store 0 for everything that has no
class: 0 becomes `ignore_label`, every other number is lowered by one, and a stored `ignore_label` stays.

Pillow enlarges grey PNGs of 2 or 4 bits to the full range (a stored 1 of 4 bits is read as 17). That is right for
brightness and wrong for labels, so it is undone here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image

__all__ = ["LabelRules", "read_label_map"]

_KINDS = {
    "RGB": "it has colours: labels are the numbers of one channel",
    "RGBA": "it has colours: labels are the numbers of one channel",
    "LA": "it has an alpha channel beside the labels",
    "PA": "it has an alpha channel beside the labels",
}
_LARGEST = 255
_GREY = 0  # colour type of the header of a PNG
_ENLARGED = {2: 85, 4: 17}  # bits -> what Pillow multiplies a grey value by


@dataclass(frozen=True)
class LabelRules:
    """Meaning of the stored numbers of a dataset.

    Attributes:
        num_classes: without the ignored one.
        ignore_label: 0 to 255.
        reduce_zero_label: 0 is no class; see above.
    """

    num_classes: int
    ignore_label: int = 255
    reduce_zero_label: bool = False

    def __post_init__(self) -> None:
        assert 1 <= self.num_classes <= 255, f"{self.num_classes} classes"
        assert 0 <= self.ignore_label <= 255, f"ignore_label {self.ignore_label}"

    @property
    def legal(self) -> str:
        """The stored numbers that mean something, as text: `0 to 18 and 255`."""
        last = self.num_classes - (not self.reduce_zero_label)
        return f"0 to {last}" + (f" and {self.ignore_label}" if self.ignore_label > last else "")

    def illegal(self, stored: Iterable[int]) -> list[int]:
        """Those of the stored numbers that mean nothing."""
        last = self.num_classes - (not self.reduce_zero_label)
        return sorted({int(value) for value in stored if value > last and value != self.ignore_label})

    def classes(self, stored: np.ndarray) -> np.ndarray:
        """Classes (H, W) uint8 of stored numbers (H, W) uint8."""
        return self._classes[stored]

    def count(self, pixels: Mapping[int, int]) -> tuple[np.ndarray, int]:
        """Pixels of every class (num_classes,) int64, and ignored ones, from the pixels of every stored number."""
        counts, ignored = np.zeros(self.num_classes, dtype=np.int64), 0
        for stored, number in pixels.items():
            label = int(self._classes[stored])
            if label == self.ignore_label:
                ignored += number
            else:
                counts[label] += number
        return counts, ignored

    @property
    def _classes(self) -> np.ndarray:
        """Class of each of the 256 numbers."""
        table = np.arange(256)
        if self.reduce_zero_label:
            table = np.where((table == 0) | (table == self.ignore_label), self.ignore_label, table - 1)
        return table.astype(np.uint8)


def read_label_map(stream: BinaryIO) -> np.ndarray:
    """The stored numbers of a label map, (H, W) uint8.

    Raises:
        ValueError: it is an image, but no label map; the message says why.
        OSError: it cannot be decoded.
    """
    with Image.open(stream) as image:
        if image.format != "PNG":
            raise ValueError(f"it is a {image.format} file: label maps are PNG, which keeps every number as it is")
        if image.mode not in ("1", "L", "P") and not image.mode.startswith("I"):
            raise ValueError(_refused(image))
        wide = np.array(image)
    if wide.max() > _LARGEST:
        raise ValueError(f"it has 16 bits a pixel and numbers up to {wide.max()}: labels are up to {_LARGEST}")
    stored = wide.astype(np.uint8)
    if image.mode == "L":
        stream.seek(24)  # signature, length and name of the first chunk, width, height; then bits and colour type
        bits, color_type = stream.read(2)
        assert color_type == _GREY, f"colour type {color_type} of a grey image"
        stored //= _ENLARGED.get(bits, 1)
    return stored


def _refused(image: Image.Image) -> str:
    """Why pixels of more than one number are no labels."""
    if image.mode == "RGB":
        pixels = np.array(image)
        if (pixels == pixels[..., :1]).all():
            return "it has three channels, which are equal: store one of them"
    return _KINDS.get(image.mode, f"its pixels are {image.mode}")
