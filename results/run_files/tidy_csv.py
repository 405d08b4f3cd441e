"""Tidy data for further analysis: every trial as one line (`trials.csv`), every epoch as one line (`curves.csv`).

Both work during a run: trials without a record yet appear with what they reported so far, as `running`, or as
`interrupted` where no driver is at work. They hold the trials of the present plan, as the table does: a mean over the
rows of a variant is that of the table; of a path, over those with the purpose `judging`, because the others chose its
steps. `archsweep ls --all --csv` has the rest of the ledger: trials of variants that the plan no longer contains,
repeated attempts, and trials that tuned a variant.

Every path that some variant changes is a column, and every row has its value there, also the baseline: `default` where
the setting leaves it to the model. A row is empty only where its setting has no such path.

    trials.csv   trial_id, variant_id, variant, block (of a design with blocks), purpose (of a path), seed, status,
                 number (of a search), attempt, epochs, <every changed path> ..., <metric> ..., params_m,
                 trainable_params_m, gmacs, train_seconds, total_seconds, device, precision, host, finished_at,
                 cached_from, trained_by, failure_type, failure_message
    curves.csv   trial_id, variant, block and purpose (as above), seed, status, epoch, <metric> ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from results.layout.setting_values import value_of
from results.markup.csv_cells import csv_line
from results.store.progress import UnfinishedTrial
from results.store.records import TrialRecord
from results.store.run import Run
from results.table.in_plan import blocks_by_variant, trials_in_plan

__all__ = ["curve_rows", "trial_rows", "write_curves_csv", "write_long_csv"]


@dataclass(frozen=True)
class _Line:
    """One trial, finished or not."""

    trial_id: str
    variant_id: str
    variant: str
    seed: int
    status: str
    epochs: int
    curve: tuple[Mapping[str, float], ...]
    changes: Mapping[str, Any]
    spec: Mapping[str, Any]
    block: str
    record: TrialRecord | None = None

    def value(self, path: str) -> Any:
        return value_of(path, self.changes, self.spec)


def write_long_csv(run: Run, stream: TextIO) -> None:
    """Write one line per trial, in the order of the plan, then of the seeds."""
    _write(stream, *trial_rows(run))


def write_curves_csv(run: Run, stream: TextIO) -> None:
    """Write one line per trial and epoch."""
    _write(stream, *curve_rows(run))


def trial_rows(run: Run) -> tuple[list[str], Iterator[Iterable[Any]]]:
    """The names and the rows of `trials.csv`, as values: None where there is none."""
    lines = _lines(run)
    records = [line.record for line in lines if line.record]
    paths = sorted({path for line in lines for path in line.changes} | _planned_paths(run))
    metrics = sorted({name for record in records for name in record.metrics})

    def cells(line: _Line) -> Iterator[Any]:
        record = line.record
        yield from (line.trial_id, line.variant_id, line.variant, *_part(line, run), line.seed, line.status)
        yield from (record.number, record.attempt) if record else (None, None)
        yield line.epochs
        yield from map(line.value, paths)
        if record is None:
            yield from [None] * (len(metrics) + 13)
            return
        yield from (record.metrics.get(name) for name in metrics)
        yield from (record.params_m, record.trainable_params_m, record.gmacs)
        yield from (record.train_seconds, record.total_seconds)
        yield from (record.device, record.precision or None, record.host, record.finished_at, record.cached_from)
        yield record.trained_by
        yield from (record.failure.type, record.failure.message) if record.failure else (None, None)

    header = [
        *("trial_id", "variant_id", "variant", *_names_of_part(run)),
        *("seed", "status", "number", "attempt", "epochs"),
        *paths,
        *metrics,
        *("params_m", "trainable_params_m", "gmacs", "train_seconds", "total_seconds", "device", "precision", "host"),
        *("finished_at", "cached_from", "trained_by", "failure_type", "failure_message"),
    ]
    return header, map(cells, lines)


def curve_rows(run: Run) -> tuple[list[str], Iterator[Iterable[Any]]]:
    """The names and the rows of `curves.csv`, as values."""
    lines = _lines(run)
    metrics = sorted({name for line in lines for point in line.curve for name in point} - {"epoch"})
    rows = (
        [
            *(line.trial_id, line.variant, *_part(line, run), line.seed, line.status, int(point["epoch"])),
            *map(point.get, metrics),
        ]
        for line in lines
        for point in line.curve
    )
    return ["trial_id", "variant", *_names_of_part(run), "seed", "status", "epoch", *metrics], rows


def _names_of_part(run: Run) -> tuple[str, ...]:
    """Columns that say of which part of the experiment a trial is, in designs that have parts."""
    return (*(("block",) if run.plan.blocks else ()), *(("purpose",) if run.plan.path else ()))


def _part(line: _Line, run: Run) -> tuple[str, ...]:
    path = run.plan.path
    purpose = () if path is None else ("choosing" if line.seed in path.choosing else "judging",)
    return (*((line.block,) if run.plan.blocks else ()), *purpose)


def _write(stream: TextIO, header: list[str], rows: Iterable[Iterable[Any]]) -> None:
    stream.write(csv_line(header))
    for row in rows:
        stream.write(csv_line(row))


def _planned_paths(run: Run) -> set[str]:
    """Paths that the variants of the plan change, or tune."""
    changed = {path for variant in run.plan.variants if not variant.dropped for path in variant.changes}
    of_blocks = {run.plan.blocks.path} if run.plan.blocks else set[str]()
    return changed | of_blocks | set(run.plan.retuned.parameters if run.plan.retuned else ())


def _lines(run: Run) -> list[_Line]:
    in_plan = trials_in_plan(run)
    unfinished = {trial.trial_id: trial for trial in run.unfinished if trial.trial_id in in_plan}
    finished = [run.deciding[key] for key in run.deciding if key in in_plan and key not in unfinished]
    blocks = blocks_by_variant(run)
    lines = [_finished(record, blocks.get(record.variant_id, "")) for record in finished]
    lines += [_unfinished(trial, run) for trial in unfinished.values()]
    place = {variant.variant_id: index for index, variant in enumerate(run.plan.variants)}

    def order(line: _Line) -> tuple[int, int, str, int, str]:
        number = line.record.number if line.record and line.record.number is not None else len(lines)
        return place.get(line.variant_id, len(place)), number, line.variant, line.seed, line.trial_id

    return sorted(lines, key=order)


def _finished(record: TrialRecord, block: str) -> _Line:
    return _Line(
        trial_id=record.trial_id,
        variant_id=record.variant_id,
        variant=record.variant,
        seed=record.seed,
        status=record.status,
        epochs=record.epochs,
        curve=tuple(record.curve),
        changes=record.changes,
        spec=record.spec,
        block=block,
        record=record,
    )


def _unfinished(trial: UnfinishedTrial, run: Run) -> _Line:
    """A trial without a record has the setting of its variant, which the plan or another seed knows."""
    variant = next((one for one in run.plan.variants if one.name == trial.variant), None)
    block = variant.block if variant else ""
    base = next((one.variant_id for one in run.plan.variants if one.is_baseline and one.block == block), "")
    specs = {record.variant_id: record.spec for record in run.deciding.values()}
    variant_id = variant.variant_id if variant else ""
    return _Line(
        trial_id=trial.trial_id,
        variant_id=variant_id,
        variant=trial.variant,
        seed=trial.seed,
        status="running" if run.driver and not trial.has_ended else "interrupted",
        epochs=trial.epoch,
        curve=trial.curve,
        changes=variant.changes if variant else {},
        spec=specs.get(variant_id) or (specs.get(base, {}) if variant else {}),
        block=block,
    )
