"""Tiny image folder of PNGs in a user's layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def png_folder(tmp_path: Path) -> Path:
    """`toy/{train,validation}/{cat,dog}/`: 6 + 2 images per class, 12x10 pixels (high x wide); cats dark."""
    random = np.random.RandomState(0)
    for split, count in (("train", 6), ("validation", 2)):
        for label, value in (("cat", 40), ("dog", 200)):
            folder = tmp_path / "toy" / split / label
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = random.randint(value - 20, value + 20, (12, 10, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    return tmp_path
