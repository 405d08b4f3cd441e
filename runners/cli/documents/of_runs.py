"""Documents of the verbs that look at runs: status, wait, table, ls, diff, verify."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from results import AblationTable, RunStatus
from results.exporters import csv
from results.layout.table_layout import table_layout
from results.views.columns import TrialRow
from results.views.diff import Differences
from runners.cli.documents.document import Document, Part

__all__ = [
    "DiffDocument",
    "LsDocument",
    "StatusDocument",
    "TableDocument",
    "VerifyDocument",
    "WaitDocument",
    "diff_document",
    "status_document",
    "table_document",
    "trial_entries",
]


class DriverEntry(Part):
    pid: int = Field(description="its process; 0 where it has just started")
    host: str = Field(description="its host; may be empty")
    since: str = Field(description="when it started, ISO 8601; may be empty")


class RunningEntry(Part):
    trial_id: str = Field(description="the trial")
    variant: str = Field(description="its variant")
    seed: int = Field(description="its seed")
    epoch: int = Field(description="epochs finished")
    place: str = Field(description="host and GPUs; empty while it waits")


class BestEntry(Part):
    variant: str = Field(description="its variant")
    seed: int = Field(description="its seed")
    metric: str = Field(description="name of the value: `val_top1` where there is a validation split")
    value: float = Field(description="the value")


class TuningEntry(Part):
    num_planned: int = Field(description="upper bound: equal settings are trained once")
    num_done: int = Field(description="tuning trials that have ended")
    num_failed: int = Field(description="of these, failed")
    num_running: int = Field(description="that are running")
    is_over: bool = Field(description="whether the comparison has started")


class StatusDocument(Document):
    """`archsweep status RUN --json`. Planned = completed + pruned + failed + infeasible + missing."""

    kind: Literal["archsweep.status/1"] = Field(default="archsweep.status/1", alias="schema")
    sweep: str = Field(description="name of the sweep")
    is_finished: bool = Field(description="no trial is missing and none is being tuned")
    num_planned: int = Field(description="trials of the plan; of rounds of seeds and paths those asked for so far")
    num_at_most: int | None = Field(
        description="with rounds of seeds, trials if no row stops; of a path, at most by its results so far; else null"
    )
    num_completed: int = Field(description="with a result")
    num_pruned: int = Field(description="stopped by the pruner")
    num_failed: int = Field(description="failed")
    num_infeasible: int = Field(description="of a search: proposals that cannot be built")
    num_missing: int = Field(description="without a record yet")
    num_running: int = Field(description="of the missing ones: running")
    num_preempted: int = Field(description="of the missing ones: preempted, will be resumed")
    num_interrupted: int = Field(description="of the missing ones: started, and no driver is at work")
    epochs: int | None = Field(description="epochs of a trial; null where they differ")
    driver: DriverEntry | None = Field(description="the process at work on the run; null if there is none")
    running: list[RunningEntry] = Field(description="running trials, those that tune a variant included")
    best: BestEntry | None = Field(description="best completed trial; null before one")
    eta_seconds: float | None = Field(description="estimated time left; null where it is unknown")
    is_torn: bool = Field(description="the ledger ends in a half-written line, which the next driver repairs")
    tuning: TuningEntry | None = Field(description="progress of `retune`; null without it")


def status_document(status: RunStatus) -> StatusDocument:
    """The document of a status."""
    plain = {name: getattr(status, name) for name in StatusDocument.model_fields if hasattr(status, name)}
    running = [
        RunningEntry(trial_id=one.trial_id, variant=one.variant, seed=one.seed, epoch=one.epoch, place=one.place)
        for one in status.running
    ]
    return StatusDocument(
        **{
            **plain,
            "is_finished": status.is_finished,
            "is_torn": status.torn,
            "driver": DriverEntry(**dataclasses.asdict(status.driver)) if status.driver else None,
            "best": BestEntry(**dataclasses.asdict(status.best)) if status.best else None,
            "tuning": TuningEntry(**dataclasses.asdict(status.tuning)) if status.tuning else None,
            "running": running,
        }
    )


class WaitDocument(Document):
    """`archsweep wait RUN --json`, printed when the waiting ends."""

    kind: Literal["archsweep.wait/1"] = Field(default="archsweep.wait/1", alias="schema")
    outcome: Literal["finished", "reached", "failures", "timeout", "stopped"] = Field(
        description="why it ended: finished without failures (exit code 0), the number of --until was reached (0), "
        "finished with failures (3), time-out (4), no driver is at work and trials are missing (5)"
    )
    status: StatusDocument = Field(description="the status then, as `archsweep status --json` prints it")


class CellEntry(Part):
    headers: list[str] = Field(description="headers of the table as the text format has them")
    title: str = Field(description="title of the table")
    caption: list[str] = Field(description="sentences below it")
    footnotes: list[str] = Field(description="footnotes")


class TableDocument(Document):
    """`archsweep table RUN... --json`: numbers at full precision, with the columns of `table.csv`."""

    kind: Literal["archsweep.table/1"] = Field(default="archsweep.table/1", alias="schema")
    sweep: str = Field(description="name of the sweep, or what the sweeps share")
    design: str = Field(description="its design; empty where several runs differ in it")
    profile: str = Field(description="its profile; empty without one")
    metric: str = Field(description="the metric that is compared")
    unit: str = Field(description="its unit")
    direction: str | None = Field(description="`maximize` or `minimize`; null where neither is better")
    seeds: list[int] = Field(description="planned seeds; empty where several runs differ in them")
    blocks: list[str] = Field(description="names of the blocks of the design; empty without them")
    columns: list[str] = Field(description="keys of the rows, in the order of table.csv")
    rows: list[dict[str, Any]] = Field(description="one object per variant: column -> value, null where there is none")
    dropped: dict[str, str] = Field(description="variants that were dropped before training -> the reason")
    notes: CellEntry = Field(description="what a reader needs beside the numbers")


def table_document(table: AblationTable) -> TableDocument:
    """The document of a table."""
    columns, layout = csv.values(table), table_layout(table)
    return TableDocument(
        sweep=table.sweep,
        design=table.design,
        profile=table.profile,
        metric=table.metric.name,
        unit=table.metric.unit,
        direction=table.metric.direction,
        seeds=list(table.seeds),
        blocks=list(table.blocks.names) if table.blocks else [],
        columns=list(columns),
        rows=[dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)],
        dropped={each.name: each.reason for each in table.dropped},
        notes=CellEntry(
            headers=[column.header for column in layout.columns],
            title=layout.title,
            caption=[sentence.text for sentence in layout.caption],
            footnotes=list(layout.footnotes),
        ),
    )


class LsDocument(Document):
    """`archsweep ls RUN --json`."""

    kind: Literal["archsweep.ls/1"] = Field(default="archsweep.ls/1", alias="schema")
    columns: list[str] = Field(description="keys of the trials: those of --columns")
    trials: list[dict[str, Any]] = Field(description="one object per trial: column -> value, null where there is none")
    num_left_out: int = Field(description="trials that are no longer in the plan and listed by --all only")


def trial_entries(rows: Sequence[TrialRow], columns: Sequence[str]) -> list[dict[str, Any]]:
    """The trials of a list as objects."""
    return [{name: row.value(name) for name in columns} for row in rows]


class SideEntry(Part):
    name: str = Field(description="name of the variant")
    id: str = Field(description="id of the variant or trial")
    trials: list[str] = Field(description="ids of the trials that are compared")


class DifferenceEntry(Part):
    name: str = Field(description="path or name of what differs")
    a: Any = Field(description="value of a; null where it has none")
    b: Any = Field(description="value of b; null where it has none")
    delta: float | None = Field(description="b - a, where both are numbers")
    unit: str = Field(description="unit of the numbers; may be empty")


class PairedEntry(Part):
    metric: str = Field(description="the metric")
    unit: str = Field(description="its unit")
    by_seed: list[tuple[int, float | None]] = Field(description="pairs of a common seed and the difference b - a")
    mean: float | None = Field(description="their mean; null where one is not finite")
    std: float | None = Field(description="their standard deviation (n - 1); null for a single one")


class DiffDocument(Document):
    """`archsweep diff RUN A B --json`: what differs, and nothing else."""

    kind: Literal["archsweep.diff/1"] = Field(default="archsweep.diff/1", alias="schema")
    a: SideEntry = Field(description="the first operand")
    b: SideEntry = Field(description="the second one")
    spec: list[DifferenceEntry] = Field(description="paths of what was trained")
    outcome: list[DifferenceEntry] = Field(description="status, cost, metrics")
    paired: list[PairedEntry] = Field(description="differences of equal seeds, by metric")
    surroundings: list[DifferenceEntry] = Field(description="device, host, versions, code")


def diff_document(found: Differences) -> DiffDocument:
    """The document of a comparison."""
    sides: Mapping[str, Any] = {
        name: SideEntry(name=side.name, id=side.key, trials=[record.trial_id for record in side.records])
        for name, side in (("a", found.a), ("b", found.b))
    }
    blocks: Mapping[str, Any] = {
        name: [DifferenceEntry(**dataclasses.asdict(each)) for each in getattr(found, name)]
        for name in ("spec", "outcome", "surroundings")
    }
    paired = [PairedEntry(**{**dataclasses.asdict(each), "by_seed": list(each.by_seed)}) for each in found.paired]
    return DiffDocument(**sides, **blocks, paired=paired)


class VerifyDocument(Document):
    """`archsweep verify BUNDLE --json`, where all of it holds; else the problems."""

    kind: Literal["archsweep.verify/1"] = Field(default="archsweep.verify/1", alias="schema")
    bundle: str = Field(description="the file")
    num_trials: int = Field(description="trials with a record")
    num_missing: int = Field(description="planned trials without one")
    num_fingerprints: int = Field(description="fingerprints of data")
    sha256: str = Field(description="digest of the file")
