"""Trials of a run as a list: chosen by an expression, sorted and shown by whatever they have a name for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from results.columns import known_columns, value_of
from results.csv_cells import csv_line
from results.records import TrialRecord
from results.run_dir import Run
from results.visible import visible
from search_space.errors import Problem, SpecError, did_you_mean
from search_space.expressions import OPERATIONS, Expression, ExpressionError

__all__ = ["default_columns", "listed", "write_listing_csv", "write_listing_json", "write_listing_text"]

_LEGAL = "legal are the columns of the list, " + OPERATIONS


class _MissingError(Exception):
    """The trial has no value of that name."""


def default_columns(run: Run) -> list[str]:
    """What a list shows when nobody says otherwise."""
    return ["trial_id", "variant", "seed", "status", "epochs", run.plan.metric, "train_seconds", "failure"]


def listed(
    run: Run,
    *,
    columns: Sequence[str] = (),
    sort: Sequence[str] = (),
    filter_: str | None = None,
    every_attempt: bool = False,
) -> list[TrialRecord]:
    """The records of the run that match, in the order asked for, else in that of the ledger.

    Args:
        columns: names that will be shown; only checked here.
        sort: names, the first counts most; `-top1` is descending. Trials without a value come last.
        filter_: an expression over names, such as `top1 > 90 and arch.depth == 6`. A trial without one of the values
            does not match.
        every_attempt: failed attempts that were repeated and trials that tuned an arm, too.

    Raises:
        SpecError: a name is unknown, or the expression is none or cannot be worked out.
    """
    records = list(run.records) if every_attempt else list(run.deciding.values())
    known = known_columns(run.records)
    expression = _expression(filter_) if filter_ else None
    problems = [_unknown("--columns", name, known) for name in columns if name not in known]
    problems += [_unknown("--sort", name, known) for name in sort if name.removeprefix("-") not in known]
    if expression:
        problems += [_unknown("--filter", name, known) for name in expression.names if name not in known]
    # A run without a record knows no metric and no path yet, so it can call none unknown.
    if problems and run.records:
        raise SpecError(problems)
    kept = [record for record in records if expression is None or _matches(record, expression)]
    for name in reversed(sort):
        kept = _sorted(kept, name.removeprefix("-"), descending=name.startswith("-"))
    return kept


def write_listing_text(records: Sequence[TrialRecord], columns: Sequence[str], stream: TextIO) -> None:
    """Aligned columns, numbers to the right. Long values are not cut: a terminal wraps, `grep` sees all."""
    cells = [[_short(value_of(record, name)) for name in columns] for record in records]
    is_number = [
        any(isinstance(value_of(record, name), int | float) for record in records) for name in columns
    ]  # one number makes a column of numbers
    widths = [max([len(name), *(len(row[index]) for row in cells)]) for index, name in enumerate(columns)]
    for row in [list(columns), *cells]:
        padded = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, is_number, strict=True)
        ]
        stream.write("  ".join(padded).rstrip() + "\n")


def write_listing_csv(records: Iterable[TrialRecord], columns: Sequence[str], stream: TextIO) -> None:
    """All digits, one header line."""
    stream.write(csv_line(columns))
    for record in records:
        stream.write(csv_line(value_of(record, name) for name in columns))


def write_listing_json(records: Iterable[TrialRecord], columns: Sequence[str], stream: TextIO) -> None:
    """A list of objects, name -> value, null where a trial has none."""
    rows = [{name: value_of(record, name) for name in columns} for record in records]
    json.dump(rows, stream, indent=1, ensure_ascii=False)
    stream.write("\n")


def _expression(text: str) -> Expression:
    try:
        expression = Expression.parse(text, legal=_LEGAL)
    except ExpressionError as err:
        raise SpecError(Problem(f"{text!r}: {err.message}", where="--filter", hint=err.hint)) from err
    return expression


def _unknown(option: str, name: str, known: Iterable[str]) -> Problem:
    name = name.removeprefix("-")
    text = did_you_mean(name, known)
    # Hundreds of paths help nobody where one is close.
    close = text.partition("Did you mean ")[2]
    hint = f"Did you mean {close}" if close else text
    return Problem(f"no trial has a {name!r}", where=option, hint=hint)


def _matches(record: TrialRecord, expression: Expression) -> bool:
    def value(name: str) -> Any:
        found = value_of(record, name)
        if found is None:
            raise _MissingError
        return found

    try:
        return expression.evaluate(value) is True
    except _MissingError:
        return False
    except (ArithmeticError, TypeError, ValueError) as err:
        message = f"{expression.text!r} cannot be worked out for trial {record.trial_id}: {err}"
        raise SpecError(Problem(message, where="--filter")) from err


def _sorted(records: list[TrialRecord], name: str, *, descending: bool) -> list[TrialRecord]:
    def key(record: TrialRecord) -> tuple[bool, Any]:
        value = value_of(record, name)
        is_number = isinstance(value, int | float)
        return not is_number, value if is_number else json.dumps(value, default=str)

    with_value = [record for record in records if not _is_missing(value_of(record, name))]
    without = [record for record in records if _is_missing(value_of(record, name))]
    return sorted(with_value, key=key, reverse=descending) + without


def _is_missing(value: Any) -> bool:
    return value is None or value != value  # not a number: no order


def _short(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
