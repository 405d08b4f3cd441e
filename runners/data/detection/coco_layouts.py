"""Layouts of folders in the format of COCO: where the annotations and the images of a split are.

    COCO        annotations/instances_SPLIT2017.json     SPLIT2017/NAME.jpg      also without a year, and with 2014
    Datumaro    annotations/instances_SPLIT.json         images/SPLIT/NAME.jpg
    Roboflow    SPLIT/_annotations.coco.json             SPLIT/NAME.jpg
    plain       instances_SPLIT.json                     SPLIT/NAME.png

`plain` is what `archsweep export-dataset` writes. Images of COCO and of `plain` may be below `images`, too. Names of
splits stand for one another as everywhere (`readers/split_folders.py`): `train` and `training`, `val` and `validation`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runners.data.readers.split_folders import EVAL_NAMES, TRAIN_NAMES, SplitNotFound
from search_space.parsing.errors import first_of

__all__ = ["CocoPlace", "find_split"]

_YEARS = ("2017", "2014", "")
_MOST_NAMED = 8


@dataclass(frozen=True)
class CocoPlace:
    """Files of a split below the root of a dataset: the JSON of its annotations, and the folder of its images."""

    root: Path
    annotations: Path
    images: Path

    @property
    def name(self) -> str:
        """Of the JSON, for messages: with its folder where both splits have the same name."""
        is_beside = self.annotations.parent == self.images
        return f"{self.images.name}/{self.annotations.name}" if is_beside else self.annotations.name


def find_split(root: Path, split: str) -> CocoPlace:
    """Files of a split below the root of a dataset.

    Raises:
        SplitNotFound: there are none, or several.
    """
    names = dict.fromkeys([split, *next((names for names in (TRAIN_NAMES, EVAL_NAMES) if split in names), ())])
    found = [place for name in names for place in _places(root, name) if place.annotations.is_file()]
    files = dict.fromkeys(place.annotations for place in found)
    whole = [place for place in found if place.images.is_dir()]
    if len(whole) == 1 and len(files) == 1:
        return whole[0]
    if len(files) > 1:
        several = " and ".join(map(str, files))
        raise SplitNotFound(f"the split {split!r} could be {several}", "keep one of them below this folder")
    if whole:
        several = " and ".join(str(place.images) for place in whole)
        message = f"the images of {found[0].annotations} could be in {several}"
        raise SplitNotFound(message, "keep one of these folders")
    if found:
        folders = " and no folder ".join(str(place.images) for place in found)
        message = f"there is no folder {folders}, of the images of {found[0].annotations}"
        raise SplitNotFound(message, f"put the images into {found[0].images}")
    here = sorted(str(path.relative_to(root)) for at in ("", "*/") for path in root.glob(f"{at}*.json"))
    shown = f"only {first_of(here, _MOST_NAMED)}" if here else "and no JSON file at all"
    raise SplitNotFound(
        f"there are no annotations of the split {split!r} below {root}, {shown}",
        f"known are annotations/instances_{split}2017.json beside {split}2017/, annotations/instances_{split}.json "
        f"beside images/{split}/, instances_{split}.json beside {split}/, and _annotations.coco.json in {split}/; "
        "train_split and test_split name the splits",
    )


def _places(root: Path, name: str) -> Iterator[CocoPlace]:
    """Where the files of a split of this very name may be."""
    with_years = {root / "annotations" / f"instances_{name}{year}.json": f"{name}{year}" for year in _YEARS}
    for path, folder in {**with_years, root / f"instances_{name}.json": name}.items():
        yield CocoPlace(root, path, root / folder)
        yield CocoPlace(root, path, root / "images" / folder)
    yield CocoPlace(root, root / name / "_annotations.coco.json", root / name)
