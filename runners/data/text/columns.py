"""Columns of a table -> texts, and labels as numbers of classes or as numbers to predict.

Classes of a user's table are numbered in the natural order of their names in the training split (2 before 10), so that
labels 0, 1, 2 keep their numbers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from runners.data.readers.class_folders import natural_order
from runners.data.text.tables import Table, table_problem
from search_space.parsing.errors import first_of

__all__ = ["class_names", "classes_of", "numbers_of", "texts_of"]

_MOST_NAMED = 5


def texts_of(
    table: Table, keys: Sequence[str], *, option: str = "", may_be_empty: bool = False
) -> list[tuple[str, ...]]:
    """One or two sentences of every row.

    Args:
        option: of the dataset that names the columns, for messages.

    Raises:
        SpecError: there is no such column, or a text is missing or empty.
    """
    columns = [table.column(key, key=option) for key in keys]
    for key, values in zip(keys, columns, strict=True):
        for line, value in zip(table.lines, values, strict=True):
            if not isinstance(value, str):
                raise table_problem(table.path, f"has no text in line {line}, column {key!r}, but {value!r}", "")
            if not may_be_empty and not value.strip():
                raise table_problem(table.path, f"has an empty text in line {line}, column {key!r}", "remove the row")
    return list(zip(*columns, strict=True))


def class_names(table: Table, key: str, *, option: str = "") -> tuple[str, ...]:
    """Classes of a training split, in the order of their numbers.

    Raises:
        SpecError: there are fewer than two, or a label is empty.
    """
    names = sorted({_name(value) for value in table.column(key, key=option)}, key=natural_order)
    if "" in names:
        lines = [line for line, value in zip(table.lines, table.column(key), strict=True) if not _name(value)]
        raise table_problem(
            table.path, f"has no label in line {lines[0]}, column {key!r}", "remove the row, or label it"
        )
    if len(names) < 2:
        text = f"has one class only, {names[0]!r}, in the column {key!r}: every answer would be right"
        raise table_problem(table.path, text, "target_key names another column where there is one")
    return tuple(names)


def classes_of(table: Table, key: str, names: Sequence[str]) -> np.ndarray:
    """Numbers of the classes of all rows, int64.

    Raises:
        SpecError: a label is none of `names`.
    """
    found = [_name(value) for value in table.column(key)]
    number = {name: at for at, name in enumerate(names)}
    unknown = Counter(name for name in found if name not in number)
    if unknown:
        shown = first_of([f"{name!r} ({count} rows)" for name, count in unknown.most_common()], _MOST_NAMED)
        known = first_of([repr(name) for name in names], 4 * _MOST_NAMED)
        text = f"has labels in the column {key!r} that are no classes of the training split: {shown}"
        raise table_problem(table.path, text, f"its classes: {known}")
    return np.array([number[name] for name in found], dtype=np.int64)


def numbers_of(table: Table, key: str, *, option: str = "") -> np.ndarray:
    """Labels of all rows as float64.

    Raises:
        SpecError: one is no finite number.
    """
    return np.array(
        [_number(table, key, *each) for each in zip(table.lines, table.column(key, key=option), strict=True)]
    )


def _number(table: Table, key: str, line: int, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        text = f"has {value!r} in line {line}, column {key!r}, where a number is expected"
        raise table_problem(table.path, text, "write target: class where labels are names")
    return number


def _name(value: Any) -> str:
    return "" if value is None else str(value).strip()
