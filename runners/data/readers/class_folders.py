"""Images in class folders, `SPLIT/CLASS/image.png`: one walk that says what is read and what is not.

timm labels an image by the name of the folder that it is in, wherever that is: images beside the class folders become
a class without a name, and a class of two folders becomes two classes. Here they are refused, by name. Hidden files
and files of other types are not read, and counted.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from runners.data.readers.labelled_images import Samples
from search_space.parsing.errors import first_of

__all__ = ["IMAGE_TYPES", "Contents", "class_folders", "files_by_folder", "is_image", "natural_order"]

IMAGE_TYPES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"})
"""Extensions of files that are read as images; of a file with several images the first."""
_OTHER_IMAGES = frozenset(
    {".avif", ".heic", ".heif", ".jp2", ".j2k", ".jxl", ".jfif", ".jpe", ".svg", ".ico", ".npy", ".dng", ".raw", ".psd"}
)
_MOST_NAMED = 3
_NUMBER = re.compile(r"([0-9]+)")


@dataclass
class Contents:
    """Contents of the folder of a split.

    Attributes:
        files: class -> paths of its images.
        faults: why it cannot be read as it is, as sentences.
        notes: what is in it and is not read, as sentences.
    """

    root: str
    files: dict[str, list[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def reader(self) -> Samples:
        """The images in the order of timm, labelled by the order of the names of their classes."""
        classes = sorted(self.files, key=natural_order)
        label = {name: index for index, name in enumerate(classes)}
        labelled = [(path, label[name]) for name, paths in self.files.items() for path in paths]
        return Samples(self.root, sorted(labelled, key=lambda each: natural_order(each[0])), classes, self.notes)


def class_folders(folder: Path, *, may_nest: bool = False) -> Contents:
    """What is in the folder of a split.

    Args:
        may_nest: images in folders inside a class folder are images of that class, as in torchvision; else a fault.
    """
    found = Contents(str(folder))
    beside, nested, hidden, other = list[str](), list[str](), list[str](), list[str]()
    for entry in sorted(os.scandir(folder), key=lambda entry: natural_order(entry.name)):
        is_folder = entry.is_dir()
        if entry.name.startswith("."):
            hidden += [entry.path] if not is_folder else _images_below(entry.path)
        elif not is_folder:
            (beside if is_image(entry.path) else other).append(entry.path)
        else:
            images = found.files.setdefault(entry.name, [])
            for root, names in files_by_folder(entry.path):
                is_hidden = any(part.startswith(".") for part in root[len(entry.path) :].split(os.sep))
                right = images if may_nest or root == entry.path else nested
                for name in names:
                    into = hidden if is_hidden or name[0] == "." else right if is_image(name) else other
                    into.append(f"{root}{os.sep}{name}")
    is_nested = {_class_of(path, folder) for path in nested}
    empty = [name for name, images in found.files.items() if not images and name not in is_nested]
    found.faults += _faults(folder, beside, nested, empty, other)
    found.files = {name: images for name, images in found.files.items() if images}
    if hidden := [path for path in hidden if is_image(path)]:
        found.notes.append(f"{_count(hidden, 'hidden file')} not read: {_named(hidden, folder)}")
    unsupported = [path for path in other if _extension(path) in _OTHER_IMAGES]
    if unsupported:
        found.notes.append(f"{_count(unsupported, 'image')} of other formats not read: {_named(unsupported, folder)}")
    if rest := [path for path in other if _extension(path) not in _OTHER_IMAGES]:
        found.notes.append(f"{_count(rest, 'other file')} not read: {_named(rest, folder)}")
    return found


def natural_order(name: str) -> tuple[tuple[str | int, ...], str]:
    """Sorting key of a name or a path in which 2 comes before 10, as timm orders files and classes.

    Names that differ only in case or in leading zeros are equal for timm, which leaves their order to chance; here the
    name itself decides, so that labels are the same in every process.

    >>> sorted(["img10", "img2", "Img1"], key=natural_order)
    ['Img1', 'img2', 'img10']
    """
    pieces = _NUMBER.split(name.lower())
    # Texts and numbers alternate, beginning with a text: equal positions have equal types.
    return tuple(int(piece) if at % 2 else piece for at, piece in enumerate(pieces)), name


def _faults(folder: Path, beside: list[str], nested: list[str], empty: list[str], other: list[str]) -> Iterator[str]:
    if beside:
        yield f"{_count(beside, 'image')} beside the class folders: {_named(beside, folder)}"
    if nested:
        below = sorted({os.path.dirname(path) for path in nested}, key=natural_order)
        yield f"{_count(below, 'folder')} of images inside a class folder: {_named(below, folder)}"
    if empty:
        types = Counter(_extension(path) or "no extension" for path in other if _class_of(path, folder) in set(empty))
        has = f" (their files: {', '.join(f'{n} {kind}' for kind, n in sorted(types.items()))})" if types else ""
        yield f"{_count(empty, 'class folder')} without an image that can be read: {first_of(empty, _MOST_NAMED)}{has}"


def files_by_folder(folder: str) -> Iterator[tuple[str, list[str]]]:
    """The folder and those below with the names of their files, links followed, each folder once."""
    seen = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield root, files


def _images_below(folder: str) -> list[str]:
    return [os.path.join(root, name) for root, names in files_by_folder(folder) for name in names if is_image(name)]


def _class_of(path: str, folder: Path) -> str:
    return os.path.relpath(path, folder).split(os.sep)[0]


def _extension(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def is_image(path: str) -> bool:
    """Whether a file of this name is read as an image."""
    return _extension(path) in IMAGE_TYPES


def _count(found: list[str], what: str) -> str:
    many = f"{what[:-5]}classes" if what.endswith("class") else f"{what}s"
    return f"{len(found)} {what if len(found) == 1 else many}"


def _named(paths: list[str], folder: Path) -> str:
    return first_of(sorted((os.path.relpath(path, folder) for path in paths), key=natural_order), _MOST_NAMED)
