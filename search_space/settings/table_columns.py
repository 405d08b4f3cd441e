"""Names of the columns of a table, and the check of a `table` section or of the options of `archsweep table`.

A column is one of `COLUMNS`, a metric, a component, or any path of the settings (`arch.depth`); `delta:macro_f1` is the
difference of a further metric. The names are those of the CSV where it has them. The check needs no results, so a sweep
with a wrong name is refused before it trains.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Protocol

from search_space.parsing.errors import did_you_mean
from search_space.schema.metrics import METRICS, OF_A_CLASS, metric_named
from search_space.settings.candidates import Issue
from search_space.settings.paths import is_path, known_paths, path_hint

__all__ = [
    "COLUMNS",
    "COSTS",
    "EVERY_METRIC",
    "LEGAL_METRICS",
    "MOST_DIGITS",
    "ChosenTable",
    "at_block",
    "component_column",
    "in_block",
    "is_left_out",
    "of_metric",
    "sort_key",
    "table_issues",
]

COLUMNS: Mapping[str, str] = {
    "variant": "name of the variant",
    "variant_id": "id of its setting",
    "status": "common status of its seeds",
    "study": "run, in a table of several",
    "front": "Pareto front, in a search for several objectives",
    "seeds": "completed of planned seeds",
    "delta": "difference of the metric to the baseline, with its interval unless `interval` is a column, too",
    "interval": "interval of the difference",
    "delta_std": "standard deviation of the paired differences",
    "p": "p-value of the difference, before the correction",
    "p_corrected": "p-value (of `bh`: q-value) after it",
    "p_equivalence": "p-value of the equivalence, before the correction",
    "p_equivalence_corrected": "p-value of the equivalence after it",
    "verdict": "better, worse, inconclusive, equivalent, ...",
    "delta_test_error": "standard error of the difference over the test images",
    "published": "published value of the metric, with its source",
    "params_m": "parameters in millions, with their change",
    "trainable_params_m": "those that the training changes, without what `train.freeze` names",
    "gmacs": "10^9 multiply-accumulates for one image, with their change",
    "train_seconds": "mean seconds of optimisation, with their change",
}
COSTS = ("params_m", "trainable_params_m", "gmacs", "train_seconds")
EVERY_METRIC = "*"
MOST_DIGITS = 12
_IDENTIFYING = ("variant", "variant_id")
_NOT_BY_DEFAULT = (
    *("variant_id", "status", "study", "interval", "p", "p_corrected", "p_equivalence"),
    *("p_equivalence_corrected", "delta_test_error"),
)
_OF_A_METRIC = ("delta", "interval", "delta_std")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._+/-]*")
_COMPONENT = "component."
_ROOTS = ("arch.", "task.", "train.")


class _LegalMetrics(Collection[str]):
    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.removeprefix("val_") in METRICS

    def __iter__(self) -> Iterator[str]:
        return (prefix + name for name in METRICS for prefix in ("", "val_"))

    def __len__(self) -> int:
        return 2 * len(METRICS)


LEGAL_METRICS: Collection[str] = _LegalMetrics()
"""Metrics that may be a column."""


class ChosenTable(Protocol):
    """Columns, order and texts of a table, as a sweep or a command line gives them."""

    @property
    def columns(self) -> Sequence[str]: ...
    @property
    def rename(self) -> Mapping[str, str]: ...
    @property
    def digits(self) -> Mapping[str, int]: ...
    @property
    def sort(self) -> str | None: ...
    @property
    def label(self) -> str | None: ...
    @property
    def caption(self) -> str | None: ...


def component_column(name: str) -> str:
    """Name of a component's column where another column has the component's own name."""
    return _COMPONENT + name


def of_metric(name: str) -> tuple[str, str] | None:
    """Column and metric of a name such as `delta:macro_f1`; None for other names.

    >>> of_metric("delta:macro_f1")
    ('delta', 'macro_f1')
    """
    column, separator, metric = name.partition(":")
    return (column, metric) if separator and column in _OF_A_METRIC else None


def in_block(name: str, block: str) -> str:
    """Name of the column of one block: `delta@fold=0`, `top1@builtin/digits`."""
    return f"{name}@{block}"


def at_block(name: str) -> tuple[str, str] | None:
    """Column (`delta` or a metric) and block of such a name; None for other names.

    >>> at_block("delta@fold=0")
    ('delta', 'fold=0')
    """
    column, separator, block = name.partition("@")
    return (column, block) if separator else None


def sort_key(text: str) -> tuple[str, str]:
    """Column and direction (`asc`, `desc`, or empty: the best, else the smallest first) of a value of `sort`."""
    column, separator, direction = text.rpartition(":")
    return (column, direction) if separator and direction in ("asc", "desc") else (text, "")


def table_issues(
    chosen: ChosenTable,
    *,
    metrics: Collection[str],
    components: Collection[str] = (),
    paths: Collection[str] = (),
    legal_metrics: Collection[str] = LEGAL_METRICS,
    blocks: Collection[str] = (),
) -> Iterator[Issue]:
    """Issues of chosen columns, names, digits, order and label; `Issue.path` begins with the option.

    Args:
        metrics: metrics to list in a hint.
        components: on/off components, which are columns by their names.
        paths: changed paths to list in a hint; every other path is legal, too.
        legal_metrics: metrics that may be a column.
        blocks: names of the blocks of the design.
    """
    listed = {*COLUMNS, *metrics, *components, *paths}

    def is_class(name: str) -> bool:
        """Whether it may be the accuracy of a class; which there are is known once there are results."""
        is_one = name.startswith(OF_A_CLASS) and name != OF_A_CLASS
        return is_one and (legal_metrics is LEGAL_METRICS or name == f"{OF_A_CLASS}*")

    def unknown(name: str) -> str | None:
        """The hint for an unknown column; None for a known one."""
        bare = name.removeprefix(_COMPONENT)
        if blocks and (within := at_block(name)) is not None and within[0] in ("delta", *metrics):
            return None if within[1] in blocks else f"blocks: {did_you_mean(within[1], blocks)}"
        if (parts := of_metric(name)) is not None:
            ranked = [metric for metric in sorted(legal_metrics) if _has_direction(metric)]
            if parts[1] in ranked or is_class(parts[1]):
                return None
            return f"{parts[0]}:METRIC. {did_you_mean(parts[1], [each for each in metrics if each in ranked])}"
        if is_class(name):
            return None
        if name in listed or name in legal_metrics or is_path(name) or (bare != name and bare in components):
            return None
        if name.startswith(_ROOTS) or any(known.endswith(f".{name}") for known in known_paths()):
            return path_hint(name)
        return f"{did_you_mean(name, listed)}\nalso any path of the settings, such as train.lr"

    seen: set[str] = set()
    is_known = True
    for index, name in enumerate(chosen.columns):
        if (hint := unknown(name)) is not None:
            is_known = False
            yield Issue(("columns", index), f"unknown column {name!r}", hint)
        elif name in seen:
            yield Issue(("columns", index), f"the column {name!r} is given twice", "remove one of them")
        seen.add(name)
    # An unknown column may be the misspelt one that says it.
    if (
        chosen.columns
        and is_known
        and not any(
            name in _IDENTIFYING or name in components or name.startswith(_COMPONENT) or is_path(name)
            for name in chosen.columns
        )
    ):
        message = "no column says which row is which"
        yield Issue(("columns",), message, "add variant, variant_id, a component or a path that varies")
    yield from _renamed(chosen, unknown)
    yield from _digits(chosen, {*metrics, *legal_metrics}, metrics)
    if chosen.sort is not None:
        column, _ = sort_key(chosen.sort)
        if (hint := unknown(column)) is not None:
            name, separator, direction = column.rpartition(":")
            if separator and unknown(name) is None:
                yield Issue(("sort",), f"unknown direction {direction!r}", "known: asc, desc.")
            else:
                yield Issue(("sort",), f"unknown column {column!r}", hint)
    if chosen.caption is not None and not chosen.caption.strip():
        yield Issue(("caption",), "an empty caption", "leave it out for the name of the sweep")
    if chosen.label is not None and not _LABEL.fullmatch(chosen.label):
        hint = "letters, digits and : . _ + / -, the first a letter or digit, such as tab:attention"
        yield Issue(("label",), f"not a label that LaTeX takes: {chosen.label!r}", hint)


def _has_direction(metric: str) -> bool:
    known = metric_named(metric)
    return known is not None and known.direction is not None


def _renamed(chosen: ChosenTable, unknown: Callable[[str], str | None]) -> Iterator[Issue]:
    taken: dict[str, str] = {}
    for name, text in chosen.rename.items():
        if (hint := unknown(name)) is not None:
            yield Issue(("rename", name), f"unknown column {name!r}", hint, at_key=True)
            continue
        if not text.strip():
            yield Issue(("rename", name), "a column needs a name", "leave it out of `columns` to hide it")
        elif text in taken:
            yield Issue(("rename", name), f"{taken[text]!r} and {name!r} would both be {text!r}", "name them apart")
        taken[text] = name
        if is_left_out(name, chosen.columns):
            yield Issue(("rename", name), f"{name!r} is no column of the table", "add it to `columns`", at_key=True)


def is_left_out(name: str, columns: Collection[str]) -> bool:
    """Whether a table with these columns (none: those by default) never has the column."""
    if columns:
        return name not in columns
    return name in _NOT_BY_DEFAULT or is_path(name) or of_metric(name) is not None


def _digits(chosen: ChosenTable, metrics: Collection[str], listed: Collection[str]) -> Iterator[Issue]:
    shown = {part for name in chosen.columns for part in (*(of_metric(name) or ()), *(at_block(name) or ()), name)}
    for name, number in chosen.digits.items():
        if name not in (EVERY_METRIC, "delta", *COSTS, *metrics):
            hint = did_you_mean(name, (*listed, "delta", *COSTS))
            message = f"{name!r} has no digits to choose"
            yield Issue(("digits", name), message, f"{hint}\none number for all metrics: {EVERY_METRIC}", at_key=True)
        elif name != EVERY_METRIC and chosen.columns and name not in shown and name != "delta":
            yield Issue(("digits", name), f"{name!r} is no column of the table", "add it to `columns`", at_key=True)
        if not 0 <= number <= MOST_DIGITS:
            yield Issue(("digits", name), f"must be 0 to {MOST_DIGITS} decimals, but got {number}")
