"""The run directory of imported runs: records with ids that follow from their content, plan, provenance and tables."""

from __future__ import annotations

import datetime
import hashlib
import json
import secrets
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from archsweep.version import version
from results.plan.datasets import Imported
from results.plan.run_plan import PlannedVariant, RunPlan
from results.run_files.run_tables import write_tables
from results.store.files import atomic_write
from results.store.ledger_writer import LedgerWriter
from results.store.records import IMPORTED_NOTE, TrialRecord
from results.store.run import write_plan
from results.store.run_layout import RunDir
from runners.imports.grouping import Choice, Group, Grouping, described, group_runs
from runners.imports.metrics import MetricKey, measures_of, metric_problems, outcome_of
from runners.imports.source_run import SourceRun
from runners.imports.sources import Source, read_sources
from search_space.parsing.errors import Problem, SpecError
from search_space.parsing.secrets import masked
from search_space.schema.identity import IMPORTED, imported_json, trial_id_of, variant_id_of

__all__ = ["ImportedRuns", "Measuring", "import_sources"]

_CONFIG = "task.config"


@dataclass(frozen=True)
class Measuring:
    """What the user says of the metrics.

    Attributes:
        metrics: the one that ranks, then further ones.
        value: the last value of a run, or the best one of its history.
        unfinished: what a run is that does not say that it ended: a problem, or a failed record.
    """

    metrics: tuple[MetricKey, ...]
    direction: Literal["maximize", "minimize"] | None = None
    unit: str | None = None
    value: Literal["last", "best"] = "last"
    unfinished: Literal["error", "failed"] = "error"


@dataclass(frozen=True)
class ImportedRuns:
    """What was written."""

    plan: RunPlan
    grouping: Grouping
    records: tuple[TrialRecord, ...]
    notes: tuple[str, ...]


def import_sources(
    paths: Sequence[Path], output: Path, *, name: str, kind: str | None, choice: Choice, measuring: Measuring
) -> ImportedRuns:
    """Read the sources and write the run directory; nothing is written where there is a problem.

    Raises:
        SpecError: the directory is not empty, a source cannot be read, or its runs cannot be compared.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise SpecError(Problem("exists already", where=str(output), hint="choose another --output"))
    keys = [each.key for each in measuring.metrics]
    sources = read_sources(paths, kind, keys)
    runs = [run.with_metrics(keys) for source in sources for run in source.read.runs]
    problems = list(metric_problems(measuring.metrics, runs, measuring.direction, measuring.unit))
    problems += _run_problems(runs, measuring)
    try:
        grouping = group_runs(runs, choice)
    except SpecError as err:
        raise SpecError([*problems, *err.problems]) from err
    if problems:
        raise SpecError(problems)
    measures = measures_of(measuring.metrics, measuring.direction, measuring.unit)
    now = datetime.datetime.now(datetime.UTC)
    session = secrets.token_hex(4)
    main = measuring.metrics[0].name
    best = measures[main].direction if measuring.value == "best" else None
    records: list[TrialRecord] = []
    variants: list[PlannedVariant] = []
    for group in grouping.groups:
        found = [_record(group, seed, measuring, best=best, session=session) for seed in sorted(group.runs)]
        records += found
        is_baseline = group is grouping.baseline
        variants.append(
            PlannedVariant(
                name=group.name,
                variant_id=found[0].variant_id,
                changes=found[0].changes,
                is_baseline=is_baseline,
            )
        )
    plan = RunPlan(
        sweep=name,
        design="list",
        metric=main,
        seeds=sorted({record.seed for record in records}),
        variants=variants,
        measures=measures,
        imported=Imported(
            source=", ".join(source.name for source in sources),
            kind=", ".join(dict.fromkeys(source.kind for source in sources)),
            date=now.date().isoformat(),
            value=measuring.value,
            baseline=described(grouping.baseline.config, grouping.varying),
        ),
    )
    files = RunDir(output)
    with LedgerWriter(files) as ledger:
        for record in records:
            ledger.append(record)
    described_session = _session(sources, session=session, started_at=now.isoformat(timespec="seconds"))
    atomic_write(files.provenance, masked(json.dumps(described_session, sort_keys=True)) + "\n")
    write_plan(files, plan)  # last: what has a plan is whole
    write_tables(files)
    notes = tuple(note for source in sources for note in source.read.notes)
    return ImportedRuns(plan, grouping, tuple(records), notes)


def _run_problems(runs: Sequence[SourceRun], measuring: Measuring) -> list[Problem]:
    problems = []
    if measuring.value == "best":
        key = measuring.metrics[0].key
        lacking = [run for run in runs if key in run.metrics and key not in run.history]
        if len(lacking) == len(runs):
            problems.append(Problem("the source has no history, only one value of every run", where="--best"))
        else:
            problems += [Problem(f"has no history of {key}, and --best needs it", where=run.where) for run in lacking]
    if measuring.unfinished == "error":
        hint = "wait for its end, or --unfinished failed, if it was killed"
        problems += [
            Problem("does not say that it ended: it is running, or was killed", where=run.where, hint=hint)
            for run in runs
            if run.is_unfinished
        ]
    return problems


def _record(
    group: Group,
    seed: int,
    measuring: Measuring,
    *,
    best: Literal["maximize", "minimize"] | None,
    session: str,
) -> TrialRecord:
    run = group.runs[seed]
    outcome = outcome_of(run, measuring.metrics, best=best)
    places = _places(group.config)
    setting = {"task": {"name": IMPORTED, "config": _nested(group.config, places)}}
    canonical = imported_json(setting)
    assert canonical is not None, "a setting of another task"
    return TrialRecord(
        trial_id=trial_id_of(canonical, seed),
        variant_id=variant_id_of(canonical),
        variant=group.name,
        changes={".".join([_CONFIG, *places[key]]): value for key, value in group.changes.items()},
        seed=seed,
        spec={**setting, "seed": seed},
        status="failed" if outcome.failure else "completed",
        epochs=outcome.epochs,
        metrics=dict(outcome.metrics),
        curve=[dict(point) for point in outcome.curve],
        finished_at=run.finished_at,
        session=session,
        failure=outcome.failure,
        notes=[f"{IMPORTED_NOTE}{run.place}"],
    )


def _places(keys: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Where each key is below `config`: dots lead inside, except where a key is also the beginning of another one."""
    known = set(keys)
    taken = known | {key.split(".")[0] for key in keys}
    found: dict[str, tuple[str, ...]] = {}
    for key in keys:
        parts = tuple(key.split("."))
        starts = {".".join(parts[:index]) for index in range(1, len(parts))}
        if starts & known or not all(parts):
            flat = key.replace(".", "_")
            while flat in taken:
                flat += "_"
            taken.add(flat)
            parts = (flat,)
        found[key] = parts
    return found


def _nested(config: Mapping[str, Any], places: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in config.items():
        *parents, last = places[key]
        below = found
        for parent in parents:
            below = below.setdefault(parent, {})
        below[last] = value
    return found


def _session(sources: Sequence[Source], *, session: str, started_at: str) -> dict[str, Any]:
    return {
        "session": session,
        "started_at": started_at,
        "argv": sys.argv,
        "packages": {"archsweep": version()},
        "imported": [
            {
                "path": str(source.path.resolve()),
                "name": source.name,
                "kind": source.kind,
                "tool": source.read.tool,
                "runs": len(source.read.runs),
                "sha256": _digest(source),
            }
            for source in sources
        ],
    }


def _digest(source: Source) -> str:
    """SHA-256 of a file, or of the names and digests of several."""
    whole = hashlib.sha256()
    for path in source.read.files:
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if len(source.read.files) == 1:
            return digest
        whole.update(f"{path.relative_to(source.path).as_posix()}\0{digest}\n".encode())
    return whole.hexdigest()
