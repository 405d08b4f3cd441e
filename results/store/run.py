"""A run directory, opened for reading: its plan, its records, its progress and its driver.

Every view of a run (tables, status, reports) is made from this, in any shell, during the run or years later. Needs
neither the lock nor the sweep file nor the libraries that trained.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import ValidationError

from results.plan.run_plan import RunPlan
from results.store.driver_lock import Driver, running_driver
from results.store.files import atomic_write, readable_write_errors, refuse_special_files
from results.store.ledger import newer_version, read_ledger, read_summaries
from results.store.progress import ProgressEvent, UnfinishedTrial, read_progress, unfinished_trials
from results.store.record_summary import RecordSummary, latest_by_trial
from results.store.records import RECORD_VERSION, TrialRecord
from results.store.run_layout import IN_RUN_DIR, RunDir
from search_space.parsing.errors import Problem, SpecError, did_you_mean
from search_space.parsing.secrets import masked

__all__ = ["Run", "RunSummary", "RunView", "open_summary", "read_plan", "write_plan"]

_MOST_NEARBY = 20
_Record = TypeVar("_Record", bound=TrialRecord | RecordSummary, covariant=True)


@dataclass(frozen=True)
class RunView(Generic[_Record]):
    """The state of one run when it was opened, by its records or by their summaries.

    Attributes:
        records: all records of the ledger, in its order, failed attempts included.
        torn: the ledger's last line is half-written; the next driver repairs it.
        driver: the process at work on the run, None if there is none.
    """

    path: Path
    plan: RunPlan
    records: tuple[_Record, ...]
    torn: bool = False
    progress: tuple[ProgressEvent, ...] = field(default=(), repr=False)
    driver: Driver | None = None

    @property
    def files(self) -> RunDir:
        return RunDir(self.path)

    @cached_property
    def deciding(self) -> Mapping[str, _Record]:
        """Trial id -> its deciding record; trials that tuned a variant are left out."""
        return latest_by_trial((record for record in self.records if not record.role), self.plan.superseded)

    @cached_property
    def tuning(self) -> Mapping[str, _Record]:
        """Trial id -> its deciding record, of the trials that tuned a variant."""
        return latest_by_trial((record for record in self.records if record.role), self.plan.superseded)

    def tunes_a_variant(self, seed: int) -> bool:
        """Whether trials of this seed tune a variant: no reported trial has a seed of `retune`."""
        return self.plan.retuned is not None and seed in self.plan.retuned.seeds

    @cached_property
    def unfinished(self) -> tuple[UnfinishedTrial, ...]:
        """Trials that began and have no record yet: running, or interrupted if there is no driver."""
        return unfinished_trials(self.progress, latest_by_trial(self.records, self.plan.superseded))


class Run(RunView[TrialRecord]):
    """One run with its whole records."""

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, curves: bool = True) -> Run:
        """Read the run directory.

        Args:
            curves: False leaves the curves of the records out, which tables and lists do not show.

        Raises:
            SpecError: there is no run, or its files cannot be read; the message names runs nearby.
        """
        run_dir = RunDir.of(path)
        refuse_special_files(run_dir)
        # Checked first: a driver that ends while we read must not turn its last trials into interrupted ones.
        driver = running_driver(run_dir)
        events, _ = read_progress(run_dir.progress)
        plan = read_plan(run_dir)
        contents = read_ledger(run_dir.ledger, curves=curves)
        return cls(run_dir.path, plan, tuple(contents.records), contents.torn, events, driver)


class RunSummary(RunView[RecordSummary]):
    """One run by the summaries of its records, which suffice for its status."""


def open_summary(path: str | os.PathLike[str]) -> RunSummary | Run:
    """The run for a view of its status: by summaries, or by whole records without curves if it is a search.

    Raises:
        SpecError: as `Run.open`.
    """
    run_dir = RunDir.of(path)
    refuse_special_files(run_dir)
    plan = read_plan(run_dir)
    if plan.design == "search":
        return Run.open(run_dir, curves=False)
    driver = running_driver(run_dir)
    events, _ = read_progress(run_dir.progress)
    summaries, torn = read_summaries(run_dir.ledger)
    return RunSummary(run_dir.path, read_plan(run_dir), summaries, torn, events, driver)


def write_plan(run_dir: str | os.PathLike[str], plan: RunPlan) -> None:
    """Write `plan.json` in one step. Creates the run directory."""
    run_dir = RunDir.of(run_dir)
    with readable_write_errors(run_dir.path):
        run_dir.path.mkdir(parents=True, exist_ok=True)
    atomic_write(run_dir.plan, masked(plan.model_dump_json(indent=1)) + "\n")


def read_plan(run_dir: RunDir) -> RunPlan:
    """The plan of the latest start.

    Raises:
        SpecError: there is no run, or the plan cannot be read; the message names runs nearby.
    """
    path = run_dir.plan
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise SpecError(_no_run(run_dir.path)) from None
    except OSError as err:
        raise SpecError(Problem(f"cannot read: {err.strerror}", where=str(path))) from err
    try:
        plan = RunPlan.model_validate_json(text)
    except ValidationError as err:
        first = err.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = f"{place}: {first['msg']}" if place else first["msg"]
        raise SpecError(
            Problem(
                f"not the plan of a run: {reason}",
                where=str(path),
                hint="`archsweep run` with the same sweep writes it again; the ledger is not touched",
            )
        ) from err
    if plan.version > RECORD_VERSION:
        raise SpecError(newer_version(str(path), plan.version))
    return plan


def _no_run(path: Path) -> Problem:
    if RunDir(path).ledger.is_file():
        return Problem(
            f"{IN_RUN_DIR.plan} is missing, although there is a ledger",
            where=str(path),
            hint="`archsweep run` with the same sweep writes it again; the ledger is not touched",
        )
    came = "a file" if path.is_file() else "a directory without one" if path.is_dir() else "nothing there"
    hint = f"a run directory contains {IN_RUN_DIR.plan} and {IN_RUN_DIR.ledger}"
    nearby = sorted({str(run) for run in _runs_nearby(path)})
    twin = Path("runs") / path.stem  # `archsweep table sweeps/NAME.yaml` and `archsweep table NAME`
    if str(twin) in nearby and str(twin) != str(path):
        hint += f"\nDid you mean {str(twin)!r}?"
    elif nearby:
        hint += "\nruns nearby: " + did_you_mean(str(path), nearby[:_MOST_NEARBY]).removeprefix("known: ")
    else:
        hint += "\nthere is no run nearby; `archsweep run SWEEP` makes one"
    return Problem(f"no run: {came}", where=str(path), hint=hint)


def _runs_nearby(path: Path) -> Iterator[Path]:
    for directory in (path, path.parent, Path("runs")):
        if directory.is_dir():
            yield from (plan.parent for plan in directory.glob(f"*/{IN_RUN_DIR.plan}"))
