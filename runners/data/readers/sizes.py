"""Common size of the images of a dataset: the medians of their heights and of their widths.

It decides to what both splits are cut, so it must not depend on which file is the first: one thumbnail or one strip
among photographs leaves the medians where they are. Only headers are read: those of all files, and of tables and
archives those of 2,000 images at equal distances.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from runners.data.readers.image_facts import known_sizes
from runners.data.readers.labelled_images import DECODING_ERRORS

__all__ = ["common_size", "have_one_size", "median_size"]

_MOST_ROWS = 2000


def common_size(split: Any) -> tuple[int, int]:
    """(height, width): lower medians over the images of a split with random access.

    Images that cannot be opened are left to the survey, which refuses them.
    """
    if (size := _size_of_array(split)) is not None:
        return size
    reader = split.reader
    if (paths := _paths(reader)) is not None:
        return median_size([size for size in known_sizes(paths, reader.root) if size is not None])
    rows = np.unique(np.linspace(0, len(reader) - 1, min(len(reader), _MOST_ROWS)).round().astype(int)).tolist()
    return median_size([size for index in rows if (size := _size(reader, index)) is not None])


def have_one_size(split: Any) -> bool:
    """Whether all images of a split with random access are known to have the same size.

    Of tables and archives, of which only some headers are read, it is not known.
    """
    if _size_of_array(split) is not None:
        return True
    if (known := getattr(split, "sizes", None)) is not None:
        return len(set(known)) == 1
    paths = _paths(split.reader)
    return paths is not None and len(set(known_sizes(paths, split.reader.root))) == 1


def _size_of_array(split: Any) -> tuple[int, int] | None:
    data = getattr(split, "data", None)
    if data is not None and hasattr(data, "shape") and len(data.shape) >= 3:
        return int(data.shape[1]), int(data.shape[2])
    return None


def _paths(reader: Any) -> list[str] | None:
    samples = getattr(reader, "samples", None)
    if samples is None or not len(samples) or not isinstance(samples[0][0], str):
        return None
    return [path for path, _ in samples]


def _size(reader: Any, index: int) -> tuple[int, int] | None:
    try:
        stream, _ = reader[index]
        with stream, Image.open(stream) as image:
            return image.height, image.width
    except DECODING_ERRORS:
        return None


def median_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """(height, width): lower medians; of no sizes 1 x 1."""
    if not sizes:
        return 1, 1  # no image can be opened, which the survey refuses
    heights, widths = np.sort(np.asarray(sizes), axis=0)[(len(sizes) - 1) // 2]
    return int(heights), int(widths)
