"""What the runs measured: which of the source's names are metrics, their direction and unit, and the outcome of a run.

A run without a finite value of the metric is a failed record, so that it is counted and named in the table.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from results.plan.datasets import Measured
from results.store.records import Failure
from runners.imports.source_run import EPOCH, Points, SourceRun, number_of
from search_space.parsing.errors import Problem, did_you_mean
from search_space.schema.metrics import COST_NAMES, Metric, own_metric

__all__ = ["MetricKey", "Outcome", "curve_of", "measures_of", "metric_key", "metric_problems", "outcome_of"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_MOST_POINTS = 1000
"""Points of a curve that are kept: a tracker may have one for every batch."""
_SLACK = 1e-4
_MOSTEPOCHS = 1_000_000_000
_DECIMALS = 4


@dataclass(frozen=True)
class MetricKey:
    """A metric by its name in archsweep and in the source: `acc=test/acc` on the command line."""

    name: str
    key: str


@dataclass(frozen=True)
class Outcome:
    """Status, final metrics and curve of one run."""

    metrics: Mapping[str, float]
    failure: Failure | None
    curve: Sequence[Mapping[str, float]]
    epochs: int


def metric_key(text: str) -> MetricKey:
    """`NAME=KEY`, or a key alone, whose characters other than letters, digits and `_` become `_`."""
    name, has_name, key = text.partition("=")
    if has_name:
        return MetricKey(name.strip(), key.strip())
    return MetricKey(re.sub(r"[^A-Za-z0-9_]+", "_", text.strip()).strip("_"), text.strip())


def metric_problems(
    metrics: Sequence[MetricKey], runs: Sequence[SourceRun], direction: str | None, unit: str | None
) -> Iterator[Problem]:
    """Names that cannot be metrics or are in no run, values that are no numbers, and contradictions to a metric of
    archsweep. The first metric is the one that ranks."""
    keys = {key for run in runs for key in (*run.metrics, *run.history, *(run.config if run.is_row else ()))}
    for each in metrics:
        where = "--metric" if each is metrics[0] else "--metrics"
        if not any(_has(run, each.key) for run in runs):
            yield Problem(f"no run has {each.key!r}", where=where, hint=did_you_mean(each.key, keys))
            continue
        if not _NAME.fullmatch(each.name) or each.name.startswith("val_") or each.name in (EPOCH, *COST_NAMES):
            text = f"{each.name!r} cannot be a metric's name: letters, digits and _, not `epoch`, `val_...` or a cost"
            last = re.sub(r"^(val|valid)_+", "", each.name)
            name = last if _NAME.fullmatch(last) and last != each.name else "NAME"
            yield Problem(text, where=where, hint=f"name it: {where} {name}={each.key}")
            continue
        texts = [(run, value) for run in runs if (value := _last(run, each.key)) is not None]
        for run, value in texts:
            if number_of(value) is None:
                yield Problem(f"{each.key} is {value!r}, no number", where=run.where)
        yield from _own_problems(each, own_metric(each.name), texts, where)
    main = metrics[0]
    own = own_metric(main.name)
    if own is None and direction is None:
        yield Problem(
            f"whether a higher {main.name} is better is not known", where="--direction", hint="maximize or minimize"
        )
    if own is not None and direction not in (None, own.direction):
        better = {"maximize": "higher", "minimize": "lower"}.get(own.direction or "", "no")
        text = f"{main.name!r} is a metric of archsweep, of which {better} is better"
        yield Problem(text, where="--direction", hint=f"name yours otherwise: --metric my_{main.name}={main.key}")
    if own is not None and unit not in (None, own.unit):
        text = f"{main.name!r} is a metric of archsweep in {own.unit or 'no unit'}, and the unit given is {unit!r}"
        yield Problem(text, where="--unit", hint=f"name yours otherwise: --metric my_{main.name}={main.key}")


def _own_problems(
    each: MetricKey, own: Metric | None, values: Iterable[tuple[SourceRun, Any]], where: str
) -> Iterator[Problem]:
    if own is None:
        return
    numbers = [(run, number) for run, value in values if (number := number_of(value)) is not None]
    numbers = [(run, number) for run, number in numbers if math.isfinite(number)]
    low, high = own.range
    other = f"name yours otherwise: {where} my_{each.name}={each.key}"
    for run, number in numbers:
        if not low - _SLACK <= number <= high + _SLACK:
            text = f"{each.key} is {number:g}, and archsweep's {own.name} is between {low:g} and {high:g}"
            yield Problem(text, where=run.where, hint=other)
    if own.unit == "%" and numbers and all(0 <= number <= 1 for _, number in numbers):
        text = f"no {each.key} is above 1, and archsweep's {own.name} is in %, so these are shares"
        yield Problem(text, where=where, hint=other)


def measures_of(metrics: Sequence[MetricKey], direction: str | None, unit: str | None) -> dict[str, Measured]:
    """Definitions for the plan: of the first metric, and of further ones that archsweep knows. Others have no
    direction and are shown without one."""
    found: dict[str, Measured] = {}
    for each in metrics:
        own = own_metric(each.name)
        way: Literal["maximize", "minimize"] | None = own.direction if own else None
        if own is None and each is metrics[0]:
            way = "minimize" if direction == "minimize" else "maximize"
        if way is not None:
            found[each.name] = Measured(
                direction=way,
                unit=own.unit if own else unit or "",
                decimals=own.decimals if own else _DECIMALS,
                meaning=own.meaning if own else "as the source reports it",
            )
    return found


def outcome_of(
    run: SourceRun, metrics: Sequence[MetricKey], *, best: Literal["maximize", "minimize"] | None
) -> Outcome:
    """Metrics and curve of a run, and its failure if it has no result.

    Args:
        best: direction in which the best value of the history is taken; None: the last value.
    """
    curve, epochs = curve_of(run.history, metrics)
    main = metrics[0]
    values = {each.name: number_of(_last(run, each.key)) for each in metrics}
    if best is not None and (points := [p for p in run.history.get(main.key, ()) if math.isfinite(p[1])]):
        sign = 1 if best == "maximize" else -1
        step, values[main.name] = max(points, key=lambda point: sign * point[1])
        for each in metrics[1:]:
            values[each.name] = dict(run.history.get(each.key, ())).get(step)
    failure: Failure | None = None
    value = values[main.name]
    if run.failure:
        failure = Failure(type="SourceFailed", message=run.failure)
    elif run.is_unfinished:
        failure = Failure(type="Unfinished", message="the source does not say that the run ended")
    elif value is None:
        failure = Failure(type="MetricMissing", message=f"the source has no {main.key} of this run")
    elif not math.isfinite(value):
        failure = Failure(type="NonFiniteMetric", message=f"{main.key} is {value}")
    known = {name: number for name, number in values.items() if number is not None}
    return Outcome({} if failure else known, failure, curve, epochs)


def curve_of(history: Mapping[str, Points], metrics: Sequence[MetricKey]) -> tuple[list[dict[str, float]], int]:
    """The curve by epoch where the run reported one, else by step, thinned; and the number of epochs (0: unknown)."""
    epoch_at = {step: value for step, value in history.get(EPOCH, ()) if value.is_integer()}
    is_by_epoch = all(step in epoch_at for each in metrics for step, _ in history.get(each.key, ()))
    points: dict[int, dict[str, float]] = {}
    for each in metrics:
        for step, value in history.get(each.key, ()):
            place = int(epoch_at[step]) if is_by_epoch else step
            if 0 <= place < _MOSTEPOCHS:
                points.setdefault(place, {})[each.name] = value
    ordered = [{"epoch": float(place), **points[place]} for place in sorted(points)]
    if len(ordered) > _MOST_POINTS:
        stride = -(-len(ordered) // _MOST_POINTS)
        ordered = ordered[::-1][::stride][::-1]  # with the last one
    return ordered, len(set(epoch_at.values()))


def _last(run: SourceRun, key: str) -> Any:
    return run.metrics.get(key)


def _has(run: SourceRun, key: str) -> bool:
    return key in run.metrics or key in run.history
