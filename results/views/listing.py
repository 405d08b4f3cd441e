"""List of a run's trials (`archsweep ls`): filter expressions, sorting, columns, text and CSV output."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from results.markup.csv_cells import csv_line
from results.store.run import Run
from results.table.in_plan import trials_in_plan
from results.views.columns import FIELDS, TrialRow, known_names, rows_of
from search_space.parsing.errors import Problem, SpecError
from search_space.parsing.expressions import OPERATIONS, Expression, ExpressionError, MissingValueError
from search_space.parsing.visible import visible
from search_space.settings.paths import MISSING

__all__ = ["default_columns", "listed", "num_left_out", "write_listing_csv", "write_listing_text"]

_LEGAL = "legal are the names of values (`archsweep ls --help`), " + OPERATIONS
_ALIKE = 0.6


def default_columns(run: Run) -> list[str]:
    """Columns of the list without `--columns`."""
    return ["trial_id", "variant", "seed", "status", "epochs", run.plan.metric, "train_seconds", "failure"]


def listed(
    run: Run,
    *,
    columns: Sequence[str] = (),
    sort: Sequence[str] = (),
    filter_: str | None = None,
    every_attempt: bool = False,
) -> list[TrialRow]:
    """Matching trials of the run, sorted as requested, else in the order of the ledger with unfinished ones last.

    Args:
        columns: names that will be shown; only checked here.
        sort: names by decreasing priority; `-top1` is descending. Trials without a value come last.
        filter_: expression over names, such as `top1 > 90 and arch.depth == 6`. A comparison with a value that a trial
            does not have is neither true nor false, and neither is its negation.
        every_attempt: include trials that are not in the plan, repeated failed attempts, trials that tuned a variant.

    Raises:
        SpecError: a name is unknown, or the expression is invalid or cannot be evaluated.
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


def num_left_out(run: Run) -> int:
    """Number of trials that ended, but are not of the present plan; trials that tuned a variant do not count."""
    return len(run.deciding.keys() - trials_in_plan(run))


def write_listing_text(rows: Sequence[TrialRow], columns: Sequence[str], stream: TextIO) -> None:
    """Write aligned columns, numbers right-aligned. Long values are not truncated, so that `grep` finds them."""
    values = [[row.value(name) for name in columns] for row in rows]
    cells = [[_short(value) for value in row] for row in values]
    # A column with at least one number is right-aligned.
    is_number = [any(isinstance(row[index], int | float) for row in values) for index in range(len(columns))]
    widths = [max([len(name), *(len(row[index]) for row in cells)]) for index, name in enumerate(columns)]
    for row in [list(columns), *cells]:
        padded = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, is_number, strict=True)
        ]
        stream.write("  ".join(padded).rstrip() + "\n")


def write_listing_csv(rows: Iterable[TrialRow], columns: Sequence[str], stream: TextIO) -> None:
    """Write CSV at full precision, with a header line."""
    stream.write(csv_line(columns))
    for row in rows:
        stream.write(csv_line(row.value(name) for name in columns))


def _expression(text: str) -> Expression:
    try:
        return Expression.parse(text, legal=_LEGAL)
    except ExpressionError as err:
        raise SpecError(Problem(f"{text!r}: {err.message}", where="--filter", hint=err.hint)) from err


def _problems(names: Iterable[tuple[str, str]], rows: Sequence[TrialRow], always: set[str]) -> list[Problem]:
    """Problems with the names. The full list of names is slow, so it is made only if one is unknown."""
    if not rows:
        return []  # without any trial no metric and no path is known, so none can be refused
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
    """Suggestion for an unknown name: one with the same end, else a similar one, else its siblings."""
    parent, _, last = name.rpartition(".")
    same_end = sorted(path for path in known if path.rpartition(".")[2] == last)
    if same_end:
        return f"Did you mean {' or '.join(map(repr, same_end))}?"
    while parent and not any(path.startswith(parent + ".") for path in known):
        parent = parent.rpartition(".")[0]
    prefix = f"{parent}." if parent else ""
    beside = [path for path in known if path.startswith(prefix) and "." not in path.removeprefix(prefix)]
    close = difflib.get_close_matches(prefix + last, beside if parent else known, 1, _ALIKE)
    # Only the last part is compared: a long common prefix would make all names similar.
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
        raise SpecError(_undecided(row, expression, f"cannot be evaluated: {err}")) from err
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
    return value is None or value != value  # NaN has no order


def _short(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
