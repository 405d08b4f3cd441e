"""Small datasets of images and label maps in each layout, of pixels that are given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@dataclass(frozen=True)
class Written:
    """A dataset on disk: training pairs 0, 1, 2 and test pairs 3, 4, of 6 x 8 pixels and labels 0 to 4."""

    root: Path
    layout: str

    def image(self, split: str, name: str | int) -> Path:
        if self.layout == "ADE20K":
            return self.root / "images" / _ADE20K[split] / f"{name}.png"
        if self.layout == "Cityscapes":
            return self.root / "leftImg8bit" / split / "ulm" / f"ulm_{name}_leftImg8bit.png"
        return self.root / split / f"{name}.png"

    def map(self, split: str, name: str | int) -> Path:
        if self.layout == "ADE20K":
            return self.root / "annotations" / _ADE20K[split] / f"{name}.png"
        if self.layout == "Cityscapes":
            return self.root / "gtFine" / split / "ulm" / f"ulm_{name}_gtFine_labelTrainIds.png"
        return self.root / f"labels_{split}" / f"{name}.png"

    @staticmethod
    def pixels(seed: int) -> np.ndarray:
        return np.random.RandomState(seed).randint(0, 256, (6, 8, 3)).astype(np.uint8)

    @staticmethod
    def labels(seed: int) -> np.ndarray:
        return np.random.RandomState(1000 + seed).randint(0, 5, (6, 8)).astype(np.uint8)

    @staticmethod
    def save(path: Path, pixels: np.ndarray) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        return path


_ADE20K = {"train": "training", "val": "validation"}


@pytest.fixture
def write(tmp_path: Path, monkeypatch) -> Callable[[str], Written]:
    """Write the dataset in a layout: `ADE20K`, `Cityscapes` or `plain`."""
    monkeypatch.setenv("ARCHSWEEP_CACHE", "off")

    def written(layout: str) -> Written:
        data = Written(tmp_path / layout, layout)
        for split, seeds in (("train", (0, 1, 2)), ("val", (3, 4))):
            for seed in seeds:
                data.save(data.image(split, seed), data.pixels(seed))
                data.save(data.map(split, seed), data.labels(seed))
        return data

    return written


@pytest.fixture
def plain(write):
    return write("plain")
