"""Labels of a split, and what a label may be: the number of a class, from 0 on.

Text, missing values and fractions are refused, not converted: a label that is truncated or read as something else gives
a number in the table that means nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["as_numbers", "counts_of", "label_faults", "labels_of", "raw_labels"]

_KINDS = (
    (str, "text"),
    (bytes, "text"),
    (bool, "truth values"),
    (np.bool_, "truth values"),
    (float, "floating-point numbers"),
    (np.floating, "floating-point numbers"),
    (type(None), "missing"),
)


def raw_labels(dataset: Any) -> Sequence[Any] | np.ndarray:
    """Labels of a dataset with random access as its reader has them; images are decoded only where it needs that."""
    reader = getattr(dataset, "reader", dataset)
    targets = getattr(reader, "targets", None)
    if targets is not None:
        values = np.asarray(targets)
        # torchvision's QMNIST has eight numbers for each image, of which the first is the digit.
        return values[:, 0] if values.ndim == 2 and type(reader).__name__ == "QMNIST" else values
    if hasattr(reader, "samples"):
        return [sample[1] for sample in reader.samples]
    if hasattr(reader, "dataset") and reader.label_key in reader.dataset.column_names:
        return reader.dataset.select_columns([reader.label_key])[:][reader.label_key]
    if hasattr(reader, "iter_targets"):
        return list(reader.iter_targets())
    return [dataset[index][1] for index in range(len(dataset))]


def labels_of(dataset: Any) -> np.ndarray:
    """Labels (N,), int64, of a dataset whose labels have been checked."""
    return as_numbers(raw_labels(dataset))


def as_numbers(labels: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Labels (N,), int64, that have been checked."""
    values = np.asarray(labels)
    assert values.dtype.kind in "iu", f"labels of type {values.dtype} were not refused"
    return values.astype(np.int64)


def label_faults(values: Sequence[Any] | np.ndarray, num_classes: int | None) -> list[str]:
    """What is wrong with the labels: `8 of 8 are text, the first 'cat'`; empty if all are numbers of classes."""
    array = np.asarray(values) if isinstance(values, np.ndarray) or all(map(_is_int, values)) else None
    if array is None or array.dtype.kind not in "iu" or array.ndim != 1:
        return _kinds(values)
    total, found = len(array), []
    for wrong, text in (
        (array < 0, "below 0"),
        (array >= (np.inf if num_classes is None else num_classes), f"not below num_classes, {num_classes}"),
    ):
        if count := int(wrong.sum()):
            found.append(f"{count} of {total} are {text}: {_some(np.unique(array[wrong]))}")
    return found


def counts_of(labels: np.ndarray, num_classes: int) -> tuple[int, ...]:
    """Number of images of every class."""
    return tuple(np.bincount(labels, minlength=num_classes).tolist())


def _is_int(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _kinds(values: Sequence[Any] | np.ndarray) -> list[str]:
    kinds, first = Counter[str](), dict[str, Any]()
    for value in values:
        if _is_int(value):
            continue
        kind = next((text for type_, text in _KINDS if isinstance(value, type_)), "lists or other objects")
        kinds[kind] += 1
        first.setdefault(kind, value)
    return [
        f"{count} of {len(values)} are {kind}" + ("" if first[kind] is None else f", the first {_short(first[kind])}")
        for kind, count in kinds.items()
    ]


def _short(value: Any) -> str:
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _some(values: np.ndarray) -> str:
    shown = ", ".join(map(str, values[:5].tolist()))
    return shown + (" and more" if len(values) > 5 else "")
