"""Tidy data for further analysis: every trial as one line (`trials.csv`), every epoch as one line (`curves.csv`).

Both work during a run: trials without a record yet appear with what they reported so far, as `running`, or as
`interrupted` where no driver is at work. Unlike the table they hold everything in the ledger, also variants that the
plan no longer contains (see `in_plan`) and the trials that tuned a variant (`role` is `retune`; they are never
`in_plan`).

    trials.csv   trial_id, variant_id, variant, seed, role, status, in_plan, number (of a search), attempt, epochs,
                 <path of every change> ..., <metric> ..., params_m, gmacs, train_seconds, total_seconds, device, host,
                 finished_at, cached_from, failure_type, failure_message
    curves.csv   trial_id, variant, seed, status, epoch, <metric> ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from results.markup.csv_cells import csv_line
from results.store.progress import UnfinishedTrial
from results.store.records import TrialRecord
from results.store.run import Run
from results.table.build import planned_trials

__all__ = ["write_curves_csv", "write_long_csv"]


@dataclass(frozen=True)
class _Line:
    """One trial, finished or not."""

    trial_id: str
    variant_id: str
    variant: str
    seed: int
    role: str
    status: str
    in_plan: bool
    epochs: int
    curve: tuple[Mapping[str, float], ...]
    record: TrialRecord | None = None


def write_long_csv(run: Run, stream: TextIO) -> None:
    """Write one line per trial, in the order of the plan, then of the seeds."""
    lines = _lines(run)
    records = [line.record for line in lines if line.record]
    paths = sorted({path for record in records for path in record.changes})
    metrics = sorted({name for record in records for name in record.metrics})

    def cells(line: _Line) -> Iterator[Any]:
        record = line.record
        yield from (line.trial_id, line.variant_id, line.variant, line.seed, line.role, line.status, line.in_plan)
        yield from (record.number, record.attempt) if record else (None, None)
        yield line.epochs
        if record is None:
            yield from [None] * (len(paths) + len(metrics) + 10)
            return
        yield from (record.changes.get(path) for path in paths)
        yield from (record.metrics.get(name) for name in metrics)
        yield from (record.params_m, record.gmacs, record.train_seconds, record.total_seconds)
        yield from (record.device, record.host, record.finished_at, record.cached_from)
        yield from (record.failure.type, record.failure.message) if record.failure else (None, None)

    header = [
        *("trial_id", "variant_id", "variant", "seed", "role", "status", "in_plan", "number", "attempt", "epochs"),
        *paths,
        *metrics,
        *("params_m", "gmacs", "train_seconds", "total_seconds", "device", "host", "finished_at", "cached_from"),
        *("failure_type", "failure_message"),
    ]
    _write(stream, header, map(cells, lines))


def write_curves_csv(run: Run, stream: TextIO) -> None:
    """Write one line per trial and epoch."""
    lines = _lines(run)
    metrics = sorted({name for line in lines for point in line.curve for name in point} - {"epoch"})
    _write(
        stream,
        ["trial_id", "variant", "seed", "status", "epoch", *metrics],
        (
            [line.trial_id, line.variant, line.seed, line.status, int(point["epoch"]), *map(point.get, metrics)]
            for line in lines
            for point in line.curve
        ),
    )


def _write(stream: TextIO, header: list[str], rows: Iterable[Iterable[Any]]) -> None:
    stream.write(csv_line(header))
    for row in rows:
        stream.write(csv_line(row))


def _lines(run: Run) -> list[_Line]:
    planned = planned_trials(run.plan, run.deciding.values())
    mine = {record.trial_id for seeds in planned.values() for record in seeds.values()}
    by_name = {variant.name: variant.variant_id for variant in run.plan.variants}
    unfinished = {trial.trial_id: trial for trial in run.unfinished}
    lines = [
        _finished(record, in_plan=not record.role and record.trial_id in mine)
        for record in (*run.deciding.values(), *run.tuning.values())
        if record.trial_id not in unfinished
    ]
    lines += [_unfinished(trial, run, by_name.get(trial.variant, "")) for trial in unfinished.values()]
    place = {variant.variant_id: index for index, variant in enumerate(run.plan.variants)}

    def order(line: _Line) -> tuple[bool, int, int, str, int, str]:
        number = line.record.number if line.record and line.record.number is not None else len(lines)
        return not line.in_plan, place.get(line.variant_id, len(place)), number, line.variant, line.seed, line.trial_id

    return sorted(lines, key=order)


def _finished(record: TrialRecord, *, in_plan: bool) -> _Line:
    return _Line(
        trial_id=record.trial_id,
        variant_id=record.variant_id,
        variant=record.variant,
        seed=record.seed,
        role=record.role,
        status=record.status,
        in_plan=in_plan,
        epochs=record.epochs,
        curve=tuple(record.curve),
        record=record,
    )


def _unfinished(trial: UnfinishedTrial, run: Run, variant_id: str) -> _Line:
    return _Line(
        trial_id=trial.trial_id,
        variant_id=variant_id,
        variant=trial.variant,
        seed=trial.seed,
        role="retune" if run.tunes_a_variant(trial.seed) else "",
        status="running" if run.driver and not trial.has_ended else "interrupted",
        in_plan=not run.tunes_a_variant(trial.seed),
        epochs=trial.epoch,
        curve=trial.curve,
    )
