"""What is inside the files of a split of label maps: pixels of every class, sizes, and what is wrong with them.

Every file is decoded once and afterwards known by its size and times, so that a second look costs one `stat` for each.
The pixels are counted by stored number: other classes or another `ignore_label` need no second reading.

The majority share is what a constant answer reaches in pixel accuracy; a constant answer's mean IoU is that share over
the number of classes that occur.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runners.data.dense.label_maps import LabelMaps
from runners.data.dense.label_values import LabelRules, read_label_map
from runners.data.readers.image_facts import ImageFact, facts_of_files, reason
from runners.data.readers.labelled_images import DECODING_ERRORS
from runners.machine.file_digests import FAULT, FileFacts
from runners.machine.user_cache import default_directory, image_facts

__all__ = ["LabelSurvey", "survey_label_maps"]

_MANY = 5000
_MOST_NAMED = 3


@dataclass(frozen=True)
class LabelSurvey:
    """What is in a split of label maps.

    Attributes:
        pixels: of every class, (num_classes,) int64.
        ignored: pixels without a class.
        images: size and digest of every image in the order of the split, from which follow the common size and which
            images are in both splits (`survey/findings.py`).
        faults: why the split cannot be used, as sentences.
        notes: what is odd about it, as sentences.
    """

    pixels: np.ndarray
    ignored: int
    images: tuple[ImageFact, ...]
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def majority_share(self) -> float:
        """Share of the most frequent class among the pixels that have one; 0 where none has."""
        return float(self.pixels.max() / total) if (total := self.pixels.sum()) else 0.0


@dataclass(frozen=True)
class _MapFact:
    """What is known of a label map: height and width (0 where it cannot be read), pixels by stored number."""

    height: int
    width: int
    pixels: Mapping[int, int]
    fault: str = ""


def survey_label_maps(split: LabelMaps, *, say: Callable[[str], None] = lambda text: None) -> LabelSurvey:
    """Look at every image and every label map of a split.

    Args:
        say: called with a message before many files are decoded.

    Raises:
        SpecError: a file is gone.
    """
    pairs, rules = split.pairs, split.rules
    images = facts_of_files(pairs.images, pairs.image_root, say=say)
    maps = [_fact(text) for _, text in _store(default_directory()).of(_name(pairs.map_root), pairs.maps, say=say)]
    of = f"of the split {split.split!r}"
    faults = [
        *_named("image", f"{of} cannot be read", pairs.images, [fact.fault for fact in images]),
        *_named("label map", f"{of} cannot be used", pairs.maps, [fact.fault for fact in maps]),
        *_named(
            "label map",
            f"{of} with another size (high x wide) than the image",
            pairs.maps,
            [_sizes(image, label_map) for image, label_map in zip(images, maps, strict=True)],
        ),
        *_named(
            "label map",
            f"{of} with labels other than {rules.legal}",
            pairs.maps,
            [", ".join(map(str, rules.illegal(fact.pixels))) for fact in maps],
        ),
    ]
    pixels, ignored, empty = _counts(maps, rules)
    if not faults and not pixels.sum():
        faults.append(f"no pixel {of} has a class: all are {rules.ignore_label}, which is ignored")
    notes = list(pairs.notes)
    if empty and pixels.sum():
        notes.append(f"split {split.split!r}: {empty} of {len(maps)} label maps without a pixel that has a class")
    if missing := [str(label) for label in np.flatnonzero(pixels == 0)]:
        what = f"{len(missing)} of {rules.num_classes} classes without a pixel"
        notes.append(f"split {split.split!r}: {what} (labels {', '.join(missing[:8])}{' ...' * (len(missing) > 8)})")
    return LabelSurvey(pixels, ignored, tuple(images), tuple(faults), tuple(notes))


def _counts(maps: Sequence[_MapFact], rules: LabelRules) -> tuple[np.ndarray, int, int]:
    """Pixels of each class, ignored pixels, and label maps without any class."""
    pixels = np.zeros(rules.num_classes, dtype=np.int64)
    ignored = empty = 0
    for fact in maps:
        legal = {stored: number for stored, number in fact.pixels.items() if not rules.illegal([stored])}
        counts, without = rules.count(legal)
        pixels += counts
        ignored += without
        empty += not counts.any()
    return pixels, ignored, empty


def _named(what: str, how: str, paths: Sequence[str], reasons: Sequence[str]) -> list[str]:
    """`2 label maps HOW: PATH: why; PATH: why`; empty where no file has a reason."""
    found = [f"{path}: {why}" for path, why in zip(paths, reasons, strict=True) if why]
    if not found:
        return []
    more = f"; and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return [f"{len(found)} {what}{'s' * (len(found) > 1)} {how}: {'; '.join(found[:_MOST_NAMED])}{more}"]


def _sizes(image: ImageFact, label_map: _MapFact) -> str:
    if image.fault or label_map.fault or (image.height, image.width) == (label_map.height, label_map.width):
        return ""
    return f"{label_map.height} x {label_map.width} instead of {image.height} x {image.width}"


@functools.cache
def _store(directory: Path | None) -> FileFacts:
    return FileFacts(None if directory is None else image_facts(directory), _read, _announce)


def _read(path: str) -> str:
    if not os.path.isfile(path):  # a pipe would never end
        return f"{FAULT}it is no file"
    try:
        with open(path, "rb") as stream:
            stored = read_label_map(stream)
    except DECODING_ERRORS as err:
        return f"{FAULT}{reason(err, path)}"
    counts = np.bincount(stored.ravel(), minlength=256)
    return " ".join(map(str, [*stored.shape, *(f"{value}:{counts[value]}" for value in np.flatnonzero(counts))]))


def _fact(text: str) -> _MapFact:
    if text.startswith(FAULT):
        return _MapFact(0, 0, {}, text.removeprefix(FAULT))
    height, width, *counts = text.split(" ")
    pixels = {int(stored): int(number) for stored, _, number in (each.partition(":") for each in counts)}
    return _MapFact(int(height), int(width), pixels)


def _name(root: str) -> str:
    return f"label maps {os.path.abspath(root)}"


def _announce(name: str, files: int, size: int) -> str:
    return f"decoding {files} {name.replace('label maps', 'label maps of', 1)}, once" * (files > _MANY)
