"""Folders of the splits of a dataset on disk: found by their names, different, and none inside the other.

timm looks for a folder of the split's name, then for its synonyms, and takes the root where there is none: the test
split then holds the training images as well. Here a folder that is not found is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from search_space.parsing.errors import did_you_mean, first_of

__all__ = ["EVAL_NAMES", "TRAIN_NAMES", "SplitNotFound", "overlapping", "split_folder"]

TRAIN_NAMES = ("train", "training")
EVAL_NAMES = ("val", "valid", "validation", "eval", "evaluation")
"""Names that stand for one another, as in timm; `test` is none of them."""
_MOST_NAMES = 8


class SplitNotFound(Exception):
    """There is no folder for the split. `hint` says what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def split_folder(root: Path, split: str) -> Path:
    """The folder (or .tar file) of a split below the root; the root itself where that is a .tar file.

    Raises:
        SplitNotFound: there is none.
    """
    if root.is_file():
        return root
    if "[" in split:
        raise SplitNotFound(
            f"{split!r} is a slice, which folders of images do not have",
            "name a folder that holds the part, or take fewer images with task.val_fraction",
        )
    names = [split, *next((names for names in (TRAIN_NAMES, EVAL_NAMES) if split in names), ())]
    for name in names:
        if name and (root / name).exists():
            return root / name
    here = _names(root)
    close = did_you_mean(split, here) if here else ""
    meant = close[close.index("Did you mean") :] if "Did you mean" in close else ""
    raise SplitNotFound(
        f"there is no folder for the split {split!r} below {root}, only {first_of(here, _MOST_NAMES) or 'files'}",
        " ".join(filter(None, (meant, "name the folders with train_split and test_split"))),
    )


def overlapping(train: Path, test: Path) -> str:
    """How two folders share images, as text; empty if neither is inside the other."""
    ours, theirs = train.resolve(), test.resolve()
    if ours == theirs:
        return "are the same folder"
    if theirs.is_relative_to(ours):
        return "are folders of which the second is inside the first"
    return "are folders of which the first is inside the second" if ours.is_relative_to(theirs) else ""


def _names(root: Path) -> list[str]:
    return sorted(_visible(root))


def _visible(root: Path) -> Iterator[str]:
    for path in root.iterdir():
        if not path.name.startswith(".") and (path.is_dir() or path.suffix == ".tar"):
            yield path.name
