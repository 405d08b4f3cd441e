"""Folders of images with label maps: one walk that pairs them by name, and says what has no partner.

A pair is an image and a label map with equal names below their two folders, but for the endings of the layout and the
extension. Nothing is left out in silence: what cannot be paired is a fault, with its name; hidden files and files of
other types are not read, and counted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from runners.data.dense.layouts import Layout
from runners.data.readers.class_folders import files_by_folder, is_image, natural_order
from search_space.parsing.errors import first_of

__all__ = ["Pairs", "pairs_below"]

_MOST_NAMED = 3
_CITYSCAPES = "_gtFine_"  # beside every label map are a polygon, a coloured picture and two maps of other numbers


@dataclass
class Pairs:
    """Images and label maps of a split, in natural order of their names.

    Attributes:
        image_root, map_root: folders of the two halves.
        names: what an image and its label map are both called.
        images, maps: paths, in the order of `names`.
        faults: why they cannot be read as they are, as sentences.
        notes: what is beside them and is not read, as sentences.
    """

    image_root: str
    map_root: str
    names: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    maps: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)


@dataclass
class _Half:
    """Files of one half by name, and what else is in its folder."""

    root: str
    files: dict[str, list[str]] = field(default_factory=dict)
    misplaced: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)


def pairs_below(root: Path, layout: Layout, split: str) -> Pairs:
    """Images and label maps of a split.

    Raises:
        SplitNotFound: a folder of the split is missing.
    """
    image_folder, map_folder = layout.folders(root, split)
    images = _half(image_folder, layout.image_end, layout.in_cities)
    maps = _half(map_folder, layout.map_end, layout.in_cities)
    if layout.in_cities:
        maps.other = [path for path in maps.other if _CITYSCAPES not in os.path.basename(path)]
    found = Pairs(images.root, maps.root)
    formats = [path for paths in maps.files.values() for path in paths if not _is_png(path)]
    maps.files = {name: list(filter(_is_png, paths)) for name, paths in maps.files.items()}
    maps.files = {name: paths for name, paths in maps.files.items() if paths}
    found.names = sorted(images.files.keys() & maps.files.keys(), key=natural_order)
    found.images = [images.files[name][0] for name in found.names]
    found.maps = [maps.files[name][0] for name in found.names]
    found.faults += _faults(images, maps, formats, layout, split)
    for half, what in ((images, "images"), (maps, "label maps")):
        if half.hidden:
            found.notes.append(f"split {split!r}: {_counted(half.hidden, 'hidden file', half)} of the {what} not read")
        if half.other:
            found.notes.append(f"split {split!r}: {_counted(half.other, 'other file', half)} of the {what} not read")
    return found


def _half(folder: Path, end: str, in_cities: bool) -> _Half:
    found = _Half(str(folder))
    for path in _files_below(folder):
        inside = os.path.relpath(path, folder)
        name, _ = os.path.splitext(inside)
        if any(part.startswith(".") for part in inside.split(os.sep)):
            if is_image(path):
                found.hidden.append(path)
        elif not is_image(path) or not name.endswith(end):
            found.other.append(path)
        elif inside.count(os.sep) != in_cities:
            found.misplaced.append(path)
        else:
            found.files.setdefault(name.removesuffix(end).replace(os.sep, "/"), []).append(path)
    return found


def _faults(images: _Half, maps: _Half, formats: list[str], layout: Layout, split: str) -> Iterator[str]:
    of = f"of the split {split!r}"
    if not images.files:
        yield f"there is no image in {images.root}" + (" below folders of cities" if layout.in_cities else "")
    for half, what in ((images, "image"), (maps, "label map")):
        if half.misplaced:
            place = "beside the folders of cities, or below them" if layout.in_cities else "in folders inside"
            yield f"{_counted(half.misplaced, what, half)} {of} {place} {half.root}"
        if twice := [path for paths in half.files.values() if len(paths) > 1 for path in paths]:
            yield f"{_counted(twice, what, half)} {of} with equal names but for the extension, in {half.root}"
    if formats:
        yield f"{_counted(formats, 'label map', maps)} {of} of another format than PNG, in {maps.root}"
    refused = {_stem(path, maps.root, layout.map_end) for path in formats}
    if alone := [images.files[name][0] for name in images.files if name not in maps.files and name not in refused]:
        where = f"{maps.root}{os.sep}{'CITY' + os.sep if layout.in_cities else ''}NAME{layout.map_end}.png"
        yield f"{_counted(alone, 'image', images)} {of} without a label map ({where})"
    if alone := [maps.files[name][0] for name in maps.files if name not in images.files]:
        yield f"{_counted(alone, 'label map', maps)} {of} without an image in {images.root}"


def _is_png(path: str) -> bool:
    return path.lower().endswith(".png")


def _stem(path: str, root: str, end: str) -> str:
    return os.path.splitext(os.path.relpath(path, root))[0].removesuffix(end).replace(os.sep, "/")


def _files_below(folder: Path) -> list[str]:
    """Paths of all files below a folder; links are followed, each folder once."""
    found = [os.path.join(root, name) for root, names in files_by_folder(str(folder)) for name in names]
    return sorted(found, key=natural_order)


def _counted(paths: list[str], what: str, half: _Half) -> str:
    """`2 images: a.jpg, b.jpg`, with the first names."""
    names = sorted((os.path.relpath(path, half.root) for path in paths), key=natural_order)
    return f"{len(paths)} {what}{'s' * (len(paths) != 1)} ({first_of(names, _MOST_NAMED)})"
