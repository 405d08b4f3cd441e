"""Layouts of folders in the format of COCO: where the annotations and the images of a split are.

    COCO     annotations/instances_SPLIT2017.json     SPLIT2017/NAME.jpg      also without a year, and with 2014
    plain    instances_SPLIT.json                     SPLIT/NAME.png

`plain` is what `archsweep export-dataset` writes. Names of splits stand for one another as everywhere
(`readers/split_folders.py`): `train` and `training`, `val` and `validation`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runners.data.readers.split_folders import EVAL_NAMES, TRAIN_NAMES, SplitNotFound
from search_space.parsing.errors import first_of

__all__ = ["CocoPlace", "find_split"]

_YEARS = ("2017", "2014", "")
_MOST_NAMED = 8


@dataclass(frozen=True)
class CocoPlace:
    """Files of a split: the JSON of its annotations, and the folder of its images."""

    annotations: Path
    images: Path


def find_split(root: Path, split: str) -> CocoPlace:
    """Files of a split below the root of a dataset.

    Raises:
        SplitNotFound: there are none, or several.
    """
    names = dict.fromkeys([split, *next((names for names in (TRAIN_NAMES, EVAL_NAMES) if split in names), ())])
    places = [
        place
        for name in names
        for place in (
            *(
                CocoPlace(root / "annotations" / f"instances_{name}{year}.json", root / f"{name}{year}")
                for year in _YEARS
            ),
            CocoPlace(root / f"instances_{name}.json", root / name),
        )
    ]
    found = [place for place in places if place.annotations.is_file()]
    if len(found) == 1 and found[0].images.is_dir():
        return found[0]
    if len(found) > 1:
        several = " and ".join(str(place.annotations) for place in found)
        raise SplitNotFound(f"the split {split!r} could be {several}", "keep one of them below this folder")
    if found:
        message = f"there is no folder {found[0].images}, of the images of {found[0].annotations}"
        raise SplitNotFound(message, "put the images there")
    here = sorted(
        str(path.relative_to(root)) for path in (*root.glob("*.json"), *root.glob("annotations/instances_*.json"))
    )
    shown = first_of(here, _MOST_NAMED) or "no JSON"
    raise SplitNotFound(
        f"there are no annotations of the split {split!r} below {root}, only {shown}",
        f"known are annotations/instances_{split}2017.json beside {split}2017/, and instances_{split}.json beside "
        f"{split}/; train_split and test_split name the splits",
    )
