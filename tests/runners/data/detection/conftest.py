"""A small dataset in COCO's format, of images and objects that are given."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

# Of 20 x 30 pixels (high x wide). The first square is a polygon, the second the same pixels as run lengths.
CONTENT: dict[str, Any] = {
    "images": [
        {"id": 7, "file_name": "a.png", "height": 20, "width": 30},
        {"id": 3, "file_name": "b.png", "height": 20, "width": 30},
        {"id": 9, "file_name": "c.png", "height": 20, "width": 30},
    ],
    "annotations": [
        {
            "id": 0,
            "image_id": 7,
            "category_id": 90,
            "bbox": [2, 4, 10, 8],
            "area": 80,
            "iscrowd": 0,
            "segmentation": [[2, 4, 12, 4, 12, 12, 2, 12]],
        },
        {
            "id": 5,
            "image_id": 7,
            "category_id": 3,
            "bbox": [0, 0, 3, 20],
            "iscrowd": 1,
            "segmentation": {"size": [20, 30], "counts": [0, 60, 540]},
        },
        {
            "id": 6,
            "image_id": 9,
            "category_id": 3,
            "bbox": [1.5, 2.5, 4, 6],
            "segmentation": {"size": [20, 30], "counts": [42, 6, 14, 6, 14, 6, 14, 6, 492]},
        },
    ],
    "categories": [{"id": 90, "name": "cup"}, {"id": 3, "name": "cat"}],
}


@pytest.fixture
def content() -> dict[str, Any]:
    """What a JSON file says; to be changed by a test."""
    return copy.deepcopy(CONTENT)


@pytest.fixture
def write(tmp_path: Path, monkeypatch) -> Callable[..., Path]:
    """Write the dataset; returns its root, `<data_dir>/set`."""
    monkeypatch.setenv("ARCHSWEEP_CACHE", "off")

    def written(train: dict[str, Any], val: dict[str, Any] | None = None, *, layout: str = "plain") -> Path:
        root = tmp_path / "set"
        for at, (split, given) in enumerate((("train", train), ("val", CONTENT if val is None else val))):
            year = "2017" if layout == "COCO" else ""
            images = root / f"{split}{year}"
            images.mkdir(parents=True)
            below = root / "annotations" if layout == "COCO" else root
            below.mkdir(exist_ok=True)
            (below / f"instances_{split}{year}.json").write_text(json.dumps(given))
            for index, name in enumerate(("a.png", "b.png", "c.png")):
                pixels = np.random.RandomState(10 * at + index).randint(0, 256, (20, 30, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(images / name)
        return root

    return written
