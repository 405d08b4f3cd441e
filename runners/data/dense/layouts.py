"""Layouts of folders of images and label maps: where each half of a split is, found by what is on disk.

    ADE20K       images/SPLIT/NAME.jpg                                annotations/SPLIT/NAME.png
    Cityscapes   leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png          gtFine/SPLIT/CITY/NAME_gtFine_labelTrainIds.png
    plain        SPLIT/NAME.png                                       labels_SPLIT/NAME.png

`plain` is what `archsweep export-dataset` writes. Names of splits stand for one another as everywhere
(`readers/split_folders.py`): `train` and `training`, `val` and `validation`; any other spelling is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runners.data.readers.split_folders import EVAL_NAMES, TRAIN_NAMES, SplitNotFound, split_folder
from search_space.parsing.errors import first_of

__all__ = ["LAYOUTS", "Layout", "LayoutNotFound", "find_layout"]

_MOST_NAMED = 8


@dataclass(frozen=True)
class Layout:
    """Layout of a dataset.

    Attributes:
        images, maps: the folder of each half below the root; `{split}` is the name of the split.
        image_end, map_end: what follows NAME in the name of a file, before its extension.
        in_cities: the files of a split are in folders of cities, one level down.
    """

    name: str
    images: str
    maps: str
    image_end: str = ""
    map_end: str = ""
    in_cities: bool = False

    def folders(self, root: Path, split: str) -> tuple[Path, Path]:
        """Folders of the images and of the label maps of a split.

        Raises:
            SplitNotFound: one of them is missing.
        """
        images = split_folder(_above(root, self.images), split)
        names = [images.name, *next((names for names in (TRAIN_NAMES, EVAL_NAMES) if images.name in names), ())]
        for name in names:
            maps = root / self.maps.format(split=name)
            if maps.is_dir() and images.is_dir():
                return images, maps
        wanted = root / self.maps.format(split=images.name)
        raise SplitNotFound(
            f"there is no {wanted}, the folder of the label maps of the split {split!r}",
            f"put the label maps there, one for every image of {images}",
        )


LAYOUTS = (
    Layout("ADE20K", "images/{split}", "annotations/{split}"),
    Layout(
        "Cityscapes",
        "leftImg8bit/{split}",
        "gtFine/{split}",
        image_end="_leftImg8bit",
        map_end="_gtFine_labelTrainIds",
        in_cities=True,
    ),
    Layout("plain", "{split}", "labels_{split}"),
)


class LayoutNotFound(Exception):
    """A folder has none of the layouts, or several. `hint` says what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def find_layout(root: Path) -> Layout:
    """The layout of the dataset below `root`.

    Raises:
        LayoutNotFound: it has none, or several.
    """
    here = sorted(path.name for path in root.iterdir() if path.is_dir() and path.name[0] != ".")
    found = [layout for layout in LAYOUTS if all(_has(here, half) for half in (layout.images, layout.maps))]
    if len(found) == 1:
        return found[0]
    if found:
        names = " and of ".join(f"{layout.name} ({_shown(layout)})" for layout in found)
        raise LayoutNotFound(f"{root} has the folders of {names}", "keep one dataset in each folder")
    known = "; ".join(f"{layout.name}: {_shown(layout)}" for layout in LAYOUTS)
    raise LayoutNotFound(
        f"{root} has no folders of images and label maps, only {first_of(here, _MOST_NAMED) or 'files'}",
        f"known layouts are {known}; what another tool wrote can be arranged as the last of them",
    )


def _above(root: Path, pattern: str) -> Path:
    return root / pattern.removesuffix("{split}").rstrip("/")


def _has(here: list[str], pattern: str) -> bool:
    """Whether the first folder of a pattern is among the names."""
    first = pattern.split("/")[0]
    if first == "{split}":
        return True  # any folder may be a split
    start = first.removesuffix("{split}")
    return any(name == first or (start != first and name.startswith(start)) for name in here)


def _shown(layout: Layout) -> str:
    return " and ".join(pattern.format(split="SPLIT") for pattern in (layout.images, layout.maps))
