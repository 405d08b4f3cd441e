"""Samples as one `.npz`: flat arrays without pickles, equal bytes for equal samples, and a reader that trusts nothing.

    kind, ignored, least_score            () a word, a label, a score
    positions, sizes                      (S,), (S, 2): place in the test split; height, width of an image
    pixels                                all images one after the other, RGB
    named, names                          (K,) labels that occur, and their names
    truth_labels, found_labels            one_class: (S,); label_map: all maps one after the other; objects: of all
    found_scores                          one_class: (S,) probabilities; objects: of all
    truth_counts, found_counts            objects of each image, (S,)
    truth_boxes, found_boxes              of all objects, (N, 4)
    truth_masks, found_masks              where there are masks: one bit a pixel of all objects

A run directory may come from a stranger: the size of every array is checked against its header and against a limit
before memory is taken for it, and arrays that do not fit each other are refused.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any, get_args

import numpy as np

from results.predictions.samples import (
    MOST_OBJECTS,
    MOST_PIXELS,
    MOST_SAMPLES,
    Drawable,
    Kind,
    LabelMap,
    Objects,
    OneClass,
    Sample,
    Samples,
)

__all__ = ["UnreadableSamples", "read_samples", "write_samples"]

_MOST_BYTES = 64 << 20
"""Of the file, and of each of its arrays."""
_MOST_LETTERS = 100
_MOST_LABEL = 1 << 20
_PARTS = ("truth", "found")


class UnreadableSamples(ValueError):
    """The file is damaged, foreign, or larger than any that is written."""


def write_samples(stream: IO[bytes], samples: Samples) -> None:
    """Write samples; equal samples give equal bytes."""
    found = samples.samples
    arrays: dict[str, Any] = {
        "kind": np.array(samples.kind),
        "ignored": np.int32(samples.ignored),
        "least_score": np.float32(samples.least_score),
        "positions": np.array([each.position for each in found], dtype=np.int64),
        "sizes": np.array([each.image.shape[:2] for each in found], dtype=np.int32).reshape(-1, 2),
        "pixels": _joined((each.image for each in found), np.uint8),
    }
    labels = {part: [each.truth if part == "truth" else each.prediction for each in found] for part in _PARTS}
    for part, drawn in labels.items():
        arrays |= {f"{part}_{name}": array for name, array in _flat(drawn, samples.kind).items()}
    occurring = {*np.unique(arrays["truth_labels"]).tolist(), *np.unique(arrays["found_labels"]).tolist()}
    named = sorted(label for label in occurring if label in samples.names)
    arrays["named"] = np.array(named, dtype=np.int32)
    arrays["names"] = np.array([samples.names[label][:_MOST_LETTERS] for label in named], dtype=str)
    np.savez_compressed(stream, **arrays)


def read_samples(path: Path) -> Samples:
    """Read samples.

    Raises:
        UnreadableSamples: it cannot be read, or is not what `write_samples` writes.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UnreadableSamples("larger than any file of samples")
        with zipfile.ZipFile(path) as archive:
            return _samples(_Arrays(archive))
    except UnreadableSamples:
        raise
    except (OSError, ValueError, LookupError, EOFError, RuntimeError, SyntaxError, MemoryError, RecursionError) as err:
        raise UnreadableSamples(f"{type(err).__name__}: {err}") from err
    except (TypeError, zipfile.BadZipFile, zlib.error, OverflowError) as err:
        raise UnreadableSamples(f"{type(err).__name__}: {err}") from err


class _Arrays:
    """Arrays of an archive, each read when it is asked for."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def __contains__(self, name: str) -> bool:
        return f"{name}.npy" in self._archive.NameToInfo

    def read(self, name: str, kinds: str, *shape: int | None) -> np.ndarray:
        """The array of a name; `kinds` are the legal letters of its type, None in `shape` is any length."""
        entry = self._archive.getinfo(f"{name}.npy")
        _require(entry.file_size <= _MOST_BYTES, f"{name} is larger than any array of samples")
        with self._archive.open(entry) as packed:
            stream = io.BytesIO(packed.read(_MOST_BYTES))
        version = np.lib.format.read_magic(stream)
        _require(version == (1, 0), f"{name} has another format")
        found, _, kind = np.lib.format.read_array_header_1_0(stream)
        _require(kind.kind in kinds, f"{name} has the type {kind}")
        left = stream.read()
        _require(math.prod(found) * kind.itemsize == len(left), f"{name} is not as long as it says")
        fits = len(found) == len(shape) and all(want in (None, have) for want, have in zip(shape, found, strict=True))
        _require(fits, f"{name} has the shape {found}")
        return np.frombuffer(left, dtype=kind).reshape(found)


def _samples(arrays: _Arrays) -> Samples:
    kind: Any = str(arrays.read("kind", "U"))
    _require(kind in get_args(Kind), "it is of no known kind")
    positions = arrays.read("positions", "iu", None)
    num = len(positions)
    _require(num <= MOST_SAMPLES and bool((np.diff(positions) > 0).all()), "its positions are not those of samples")
    sizes = arrays.read("sizes", "iu", num, 2).astype(np.int64)
    areas, most = sizes.prod(axis=1), MOST_PIXELS[kind]
    is_sound = bool((sizes > 0).all() and (sizes <= most).all()) and int(areas.sum()) <= most
    _require(is_sound, "its images are larger than samples are")
    pixels = _split(arrays.read("pixels", "u", 3 * int(areas.sum())), 3 * areas)
    _require(all(each.itemsize == 1 for each in pixels), "its images do not have 8 bits")
    truths, found = (_drawables(arrays, part, kind, sizes) for part in _PARTS)
    named = arrays.read("named", "iu", None).tolist()
    names = arrays.read("names", "U", len(named)).tolist()
    return Samples(
        kind=kind,
        samples=tuple(
            Sample(int(position), image.reshape(*size, 3), truth, prediction)
            for position, size, image, truth, prediction in zip(
                positions, sizes.tolist(), pixels, truths, found, strict=True
            )
        ),
        names={label: name[:_MOST_LETTERS] for label, name in zip(named, names, strict=True)},
        ignored=int(arrays.read("ignored", "i")),
        least_score=_finite(arrays.read("least_score", "f")),
    )


def _flat(drawn: Sequence[Any], kind: Kind) -> dict[str, np.ndarray]:
    """Flat arrays of the truths, or of the predictions, of all samples."""
    if kind == "one_class":
        labels = np.array([each.label for each in drawn], dtype=np.int32)
        return {"labels": labels, "scores": np.array([each.probability for each in drawn], dtype=np.float32)}
    if kind == "label_map":
        return {"labels": _joined((each.labels for each in drawn), np.uint8)}
    flat = {
        "counts": np.array([len(each.labels) for each in drawn], dtype=np.int32),
        "boxes": _joined((each.boxes for each in drawn), np.float32).reshape(-1, 4),
        "labels": _joined((each.labels for each in drawn), np.int32),
        "scores": _joined((each.scores for each in drawn), np.float32),
    }
    if all(each.masks is not None for each in drawn):
        flat["masks"] = np.packbits(_joined((each.masks for each in drawn), np.bool_))
    return flat


def _drawables(arrays: _Arrays, part: str, kind: str, sizes: np.ndarray) -> list[Drawable]:
    """The truths, or the predictions, of all samples."""
    num, areas = len(sizes), sizes.prod(axis=1)
    if kind == "label_map":
        maps = _split(arrays.read(f"{part}_labels", "u", int(areas.sum())), areas)
        return [LabelMap(each.reshape(size)) for each, size in zip(maps, sizes.tolist(), strict=True)]
    if kind == "one_class":
        labels, scores = arrays.read(f"{part}_labels", "i", num), arrays.read(f"{part}_scores", "f", num)
        _check_labels(labels)
        return [OneClass(int(label), float(score)) for label, score in zip(labels, scores, strict=True)]
    counts = arrays.read(f"{part}_counts", "iu", num).astype(np.int64)
    _require(bool(((counts >= 0) & (counts <= MOST_OBJECTS)).all()), "it has more objects than samples have")
    total = int(counts.sum())
    boxes, labels = arrays.read(f"{part}_boxes", "f", total, 4), arrays.read(f"{part}_labels", "i", total)
    _check_labels(labels)
    _require(bool(np.isfinite(boxes).all()), "a box is not finite")
    split = [_split(each, counts) for each in (boxes, labels, arrays.read(f"{part}_scores", "f", total))]
    masks: list[Any] = [None] * num
    if f"{part}_masks" in arrays:
        bits = counts * areas
        packed = arrays.read(f"{part}_masks", "u", (int(bits.sum()) + 7) // 8)
        flat = _split(np.unpackbits(packed, count=int(bits.sum())).view(bool), bits)
        masks = [each.reshape(-1, *size) for each, size in zip(flat, sizes.tolist(), strict=True)]
    return [Objects(*each) for each in zip(*split, masks, strict=True)]


def _joined(arrays: Iterable[Any], kind: Any) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype=kind), *(np.asarray(each, dtype=kind).reshape(-1) for each in arrays)])


def _split(array: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    return np.split(array, np.cumsum(lengths)[:-1]) if len(lengths) else []


def _check_labels(labels: np.ndarray) -> None:
    _require(bool(((labels >= 0) & (labels < _MOST_LABEL)).all()), "a label is no number of a class")


def _finite(value: np.ndarray) -> float:
    _require(bool(np.isfinite(value)), "a score is not finite")
    return float(value)


def _require(is_met: bool, message: str) -> None:
    if not is_met:
        raise UnreadableSamples(message)
