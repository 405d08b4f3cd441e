"""Trials of a run as a list: chosen by an expression, sorted and shown by whatever they have a name for."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from pydantic_core import to_json

from results.markup.csv_cells import csv_line
from results.store.run import Run
from results.views.columns import FIELDS, TrialRow, known_names, rows_of
from search_space.parsing.errors import Problem, SpecError
from search_space.parsing.expressions import OPERATIONS, Expression, ExpressionError, MissingValueError
from search_space.parsing.visible import visible, visible_json
from search_space.settings.paths import MISSING

__all__ = ["default_columns", "listed", "write_listing_csv", "write_listing_json", "write_listing_text"]

_LEGAL = "legal are the names of values (`archsweep ls --help`), " + OPERATIONS
_ALIKE = 0.6


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
) -> list[TrialRow]:
    """The trials of the run that match, in the order asked for, else in that of the ledger, the unfinished ones last.

    Args:
        columns: names that will be shown; only checked here.
        sort: names, the first counts most; `-top1` is descending. Trials without a value come last.
        filter_: an expression over names, such as `top1 > 90 and arch.depth == 6`. What is said about a value that a
            trial does not have is neither true nor false of it, and so is the opposite.
        every_attempt: failed attempts that were repeated and trials that tuned a variant, too.

    Raises:
        SpecError: a name is unknown, or the expression is none or cannot be worked out.
    """
    expression = _expression(filter_) if filter_ else None
    rows = rows_of(run, every_attempt=every_attempt)
    names = [("--columns", name) for name in columns] + [("--sort", name.removeprefix("-")) for name in sort]
    names += [("--filter", name) for name in expression.names] if expression else []
    if problems := _problems(names, rows, {*FIELDS, run.plan.metric}):
        raise SpecError(problems)
    kept = [row for row in rows if expression is None or _matches(row, expression)]
    for name in reversed(sort):
        kept = _sorted(kept, name.removeprefix("-"), descending=name.startswith("-"))
    return kept


def write_listing_text(rows: Sequence[TrialRow], columns: Sequence[str], stream: TextIO) -> None:
    """Aligned columns, numbers to the right. Long values are not cut: a terminal wraps, `grep` sees all."""
    values = [[row.value(name) for name in columns] for row in rows]
    cells = [[_short(value) for value in row] for row in values]
    # One number makes a column of numbers.
    is_number = [any(isinstance(row[index], int | float) for row in values) for index in range(len(columns))]
    widths = [max([len(name), *(len(row[index]) for row in cells)]) for index, name in enumerate(columns)]
    for row in [list(columns), *cells]:
        padded = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, is_number, strict=True)
        ]
        stream.write("  ".join(padded).rstrip() + "\n")


def write_listing_csv(rows: Iterable[TrialRow], columns: Sequence[str], stream: TextIO) -> None:
    """All digits, one header line."""
    stream.write(csv_line(columns))
    for row in rows:
        stream.write(csv_line(row.value(name) for name in columns))


def write_listing_json(rows: Iterable[TrialRow], columns: Sequence[str], stream: TextIO) -> None:
    """A list of objects, name -> value, null where a trial has none; NaN and infinity are strings, as in the ledger."""
    objects = [{name: row.value(name) for name in columns} for row in rows]
    stream.write(visible_json(to_json(objects, indent=1, inf_nan_mode="strings").decode()) + "\n")


def _expression(text: str) -> Expression:
    try:
        return Expression.parse(text, legal=_LEGAL)
    except ExpressionError as err:
        raise SpecError(Problem(f"{text!r}: {err.message}", where="--filter", hint=err.hint)) from err


def _problems(names: Iterable[tuple[str, str]], rows: Sequence[TrialRow], always: set[str]) -> list[Problem]:
    """What is wrong with the names. The full list of names is made only where one is unknown: it takes long."""
    if not rows:
        return []  # a run without a trial knows no metric and no path yet, so it can call none unknown
    problems: list[Problem] = []
    known: set[str] = set()
    for option, name in names:
        found = next((value for row in rows if (value := row.find(name)) is not MISSING), MISSING)
        if found is MISSING and name not in always:
            known = known or known_names(rows) | always
            problems.append(Problem(f"no trial has a {name!r}", where=option, hint=_near(name, known)))
        elif option == "--filter" and isinstance(found, Mapping):
            hint = (
                f"write {name}.name" if "name" in found else "write one of " + ", ".join(f"{name}.{k}" for k in found)
            )
            problems.append(Problem(f"{name!r} is a whole section, not a value", where=option, hint=hint))
    return problems


def _near(name: str, known: set[str]) -> str:
    """Which name was probably meant: one that ends alike, else one that looks alike, else its neighbours."""
    parent, _, last = name.rpartition(".")
    same_end = sorted(path for path in known if path.rpartition(".")[2] == last)
    if same_end:
        return f"Did you mean {' or '.join(map(repr, same_end))}?"
    while parent and not any(path.startswith(parent + ".") for path in known):
        parent = parent.rpartition(".")[0]
    prefix = f"{parent}." if parent else ""
    beside = [path for path in known if path.startswith(prefix) and "." not in path.removeprefix(prefix)]
    close = difflib.get_close_matches(prefix + last, beside if parent else known, 1, _ALIKE)
    # Only the last part is compared: long common beginnings would make everything look alike.
    if close and difflib.SequenceMatcher(None, last, close[0].rpartition(".")[2]).ratio() >= _ALIKE:
        return f"Did you mean {close[0]!r}?"
    return f"known: {', '.join(sorted(beside))}" + ("" if parent else ", and paths such as arch.depth or train.lr")


def _matches(row: TrialRow, expression: Expression) -> bool:
    def value_of(name: str) -> Any:
        found = row.value(name)
        if found is None:
            raise MissingValueError
        return found

    try:
        holds = expression.evaluate(value_of)
    except MissingValueError:
        return False
    except (ArithmeticError, TypeError, ValueError) as err:
        raise SpecError(_undecided(row, expression, f"cannot be worked out: {err}")) from err
    if not isinstance(holds, bool):
        raise SpecError(_undecided(row, expression, f"is neither true nor false, but {_short(holds)}"))
    return holds


def _undecided(row: TrialRow, expression: Expression, why: str) -> Problem:
    return Problem(f"{expression.text!r} of trial {row.value('trial_id')} {why}", where="--filter", hint=_LEGAL)


def _sorted(rows: list[TrialRow], name: str, *, descending: bool) -> list[TrialRow]:
    def key(row: TrialRow) -> tuple[bool, Any]:
        value = row.value(name)
        is_number = isinstance(value, int | float)
        return not is_number, value if is_number else json.dumps(value, default=str)

    with_value = [row for row in rows if not _is_missing(row.value(name))]
    without = [row for row in rows if _is_missing(row.value(name))]
    return sorted(with_value, key=key, reverse=descending) + without


def _is_missing(value: Any) -> bool:
    return value is None or value != value  # not a number: no order


def _short(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
