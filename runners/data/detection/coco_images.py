"""Files of the images that a JSON in COCO's format names, and the images beside them that it does not name.

COCO's `file_name` is the name below the folder of the split. Annotation tools also write it below the root of the
dataset (`train/1.jpg`), or as a path of the machine on which they ran, absolute or with backslashes. Of these ways the
first one is taken by which all images of the split are found; never a file outside of the dataset, whose fingerprint
would then differ from machine to machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from runners.data.readers.class_folders import files_by_folder, is_image, natural_order
from search_space.parsing.errors import first_of

__all__ = ["ImageFiles", "find_images"]

_MOST_NAMED = 3


@dataclass
class ImageFiles:
    """Images of a split, in the order of the JSON.

    Attributes:
        names: of each, the same on every machine.
        paths: of each.
        faults: why they cannot be used, as sentences.
        notes: what is odd about them, as sentences.
    """

    names: list[str]
    paths: list[str]
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_images(names: Sequence[str], root: Path, folder: Path) -> ImageFiles:
    """Files of the images of a split.

    Args:
        names: `file_name` of each image.
        root: of the dataset.
        folder: of the images of the split, below the root.
    """
    ways = list(_ways(names, root, folder))
    for found in ways:
        if not found.faults and all(map(os.path.isfile, found.paths)):
            if others := _others(folder, found.paths):
                text = f"{len(others)} images in {folder} are not in the annotations and not read: {_first(others)}"
                found.notes.append(text)
            return found
    found = ways[0]
    if not found.faults:
        missing = [path for path in found.paths if not os.path.isfile(path)]
        found.notes.clear()
        found.faults.append(f"{len(missing)} of {len(names)} images are missing: {_first(missing)}")
    return found


def _ways(names: Sequence[str], root: Path, folder: Path) -> Iterator[ImageFiles]:
    """Where the images may be, the first one as COCO says."""
    plain = [name.replace("\\", "/") for name in names]
    if all(map(_is_below, plain)):
        yield ImageFiles(list(names), [os.path.join(folder, name) for name in names])
        if plain != list(names):
            yield ImageFiles(plain, [os.path.join(folder, name) for name in plain])
        if any("/" in name for name in plain):
            yield ImageFiles(plain, [os.path.join(root, name) for name in plain])
    last = [PurePosixPath(name).name for name in plain]
    found = ImageFiles(last, [os.path.join(folder, name) for name in last])
    if len(set(last)) < len(set(plain)):
        outside = [name for name in plain if not _is_below(name)]
        found.faults.append(f"images have to be below {folder}, and are elsewhere: {_first(outside or plain)}")
    elif changed := [name for name, end in zip(names, last, strict=True) if name != end]:
        found.notes.append(f"images are found by the last part of `file_name`, as of {changed[0]!r}")
    yield found


def _is_below(name: str) -> bool:
    """Whether a name does not leave the folder that it is put below."""
    path = PurePosixPath(name)
    is_drive = path.parts[:1] and path.parts[0].endswith(":")
    return not (path.is_absolute() or ".." in path.parts or is_drive)


def _others(folder: Path, paths: Sequence[str]) -> list[str]:
    """Names of the images in a folder that are not among the paths."""
    known = set(map(os.path.normpath, paths))
    found = [os.path.join(place, name) for place, names in files_by_folder(str(folder)) for name in names]
    left = [os.path.relpath(path, folder) for path in found if is_image(path) and os.path.normpath(path) not in known]
    return sorted((path for path in left if not _is_hidden(path)), key=natural_order)


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split(os.sep))


def _first(names: Sequence[str]) -> str:
    return first_of(names, _MOST_NAMED)
