"""Records that other drivers made of this sweep, taken over into one run directory (`archsweep run --collect DIR`).

The shards of a sweep (runners/planning/shard.py) are run directories with one driver each. A record is taken over as it
was written: same ids, attempt, session, host and origin; only the names of the variant are those of this sweep. With it
come the files of its trial and the line of `provenance.jsonl` of its session. Collecting again takes what is new.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from results import LedgerWriter, RecordSummary, RunPlan, TrialRecord, latest_by_trial, read_ledger
from results.store.files import atomic_writer, readable_write_errors
from results.store.links import folder_within
from results.store.provenance import read_sessions
from results.store.record_summary import summarize
from results.store.run import read_plan
from results.store.run_layout import IN_RUN_DIR, RunDir
from runners.cache.origin import Origins
from runners.driver.changed_records import Changed
from runners.driver.provenance import append_session
from runners.planning.plan import Plan
from runners.planning.trainings import trials_of
from runners.trials.assignment import Assignment, reused_record
from search_space import Problem, SpecError, TrialSpec, trial_id

__all__ = ["Collection", "collect_records", "earlier_plan", "run_dirs_in"]

_NOT_COPIED = {IN_RUN_DIR.trial("").checkpoint.name}  # of use to its own driver alone


@dataclass(frozen=True)
class Collection:
    """What was taken over: the number of records, and of trials whose records are of another origin."""

    num_taken: int
    num_other: int

    def describe(self, run_dirs: Sequence[RunDir]) -> str:
        """One line for the user."""
        records = "1 record" if self.num_taken == 1 else f"{self.num_taken} records"
        places = "1 run directory" if len(run_dirs) == 1 else f"{len(run_dirs)} run directories"
        text = f"{records} collected from {places}"
        if self.num_other:
            trials = "1 trial" if self.num_other == 1 else f"{self.num_other} trials"
            text += f"; {trials} of other data, code or software left out (--changed keep: all but other data)"
        return text


def run_dirs_in(folders: Iterable[Path]) -> list[RunDir]:
    """The run directories that `--collect` names: each folder itself, or else those directly in it.

    Raises:
        SpecError: a folder does not exist.
    """
    found: list[Path] = []
    problems = []
    for folder in folders:
        if RunDir(folder).ledger.exists():
            found.append(folder)
        elif folder.is_dir():
            inside = [each for each in folder.iterdir() if RunDir(each).ledger.exists()]
            found += sorted(inside, key=lambda path: _by_numbers(path.name))
        else:
            hint = "a run directory, or the folder of several, e.g. --collect runs/NAME-shards"
            problems.append(Problem(f"no such folder: {str(folder)!r}", where="--collect", hint=hint))
    if problems:
        raise SpecError(problems)
    return [RunDir(path.resolve()) for path in dict.fromkeys(found)]


def collect_records(
    plan: Plan, ledger: LedgerWriter, run_dirs: Sequence[RunDir], origins: Origins, *, changed: Changed = "refuse"
) -> Collection:
    """Append the deciding record of every trial of the plan that one of `run_dirs` has and the ledger lacks.

    Args:
        changed: `keep` also takes records of other code or software; those of other data are never taken.

    Raises:
        SpecError: a ledger is damaged, or a file cannot be written.
    """
    others = [each for each in run_dirs if each.path != ledger.run_dir.path.resolve()]
    found: dict[str, list[tuple[TrialRecord, RunDir]]] = {}
    for run_dir in others:
        for record in read_ledger(run_dir.ledger).records:
            if not record.role and record.status != "preempted":
                found.setdefault(record.trial_id, []).append((record, run_dir))
    own = latest_by_trial(each for each in ledger.summaries if not each.role)
    sessions: dict[RunDir, set[str]] = {}
    num_taken = num_other = 0
    for spec, variant in trials_of(plan):
        key = trial_id(spec)
        candidates = found.get(key, [])
        legal = [each for each in candidates if _is_legal(each[0], spec, plan, origins, changed)]
        if candidates and not legal:
            num_other += 1
        taken = _deciding(own.get(key), legal)
        if taken is None:
            continue
        record, run_dir = taken
        _copy_files(run_dir, ledger.run_dir, key)
        if not plan.sweep.keep_predictions:
            record = record.model_copy(update={"correct": ""})
        ledger.append(reused_record(Assignment(key, spec, variant), record))
        sessions.setdefault(run_dir, set()).add(record.session)
        num_taken += 1
    _copy_sessions(sessions, ledger.run_dir)
    return Collection(num_taken, num_other)


def earlier_plan(run_dirs: Iterable[RunDir]) -> RunPlan | None:
    """The plan of these runs that knows most of what was decided after results were seen; None where none has one."""
    plans = []
    for run_dir in run_dirs:
        try:
            plans.append(read_plan(run_dir))
        except SpecError:  # it was killed before its first trial
            continue
    return max(plans, key=_num_later, default=None)


def _num_later(plan: RunPlan) -> int:
    return len(plan.decided_later) + sum(each.added_after > 0 for each in plan.variants)


def _is_legal(record: TrialRecord, spec: TrialSpec, plan: Plan, origins: Origins, changed: Changed) -> bool:
    if plan.sweep.keep_predictions and record.status == "completed" and not record.correct:
        return False
    present = origins.of(spec)
    return record.origin == present or (changed == "keep" and record.data == present.data)


def _deciding(
    own: RecordSummary | None, others: Sequence[tuple[TrialRecord, RunDir]]
) -> tuple[TrialRecord, RunDir] | None:
    """The record that decides before all others and before our own; None where that is our own."""
    best = own
    taken = None
    for record, run_dir in others:
        summary = summarize(record)
        if best is not None and _same_attempt(best, summary):
            continue
        if best is None or next(iter(latest_by_trial([best, summary]).values())) is summary:
            best, taken = summary, (record, run_dir)
    return taken


def _same_attempt(one: RecordSummary, other: RecordSummary) -> bool:
    """Whether both are the same record, which may have other names in another run."""
    return (one.session, one.finished_at, one.status, one.attempt) == (
        other.session,
        other.finished_at,
        other.status,
        other.attempt,
    )


def _copy_files(source: RunDir, target: RunDir, key: str) -> None:
    """Log, weights, samples and probes of a trial. Links are not followed: the other directory may be foreign."""
    folder = source.trial(key).path
    if not folder.is_dir() or folder.is_symlink():
        return
    for path in sorted(folder.iterdir()):
        if path.name in _NOT_COPIED or path.name.startswith(".") or path.is_symlink() or not path.is_file():
            continue
        into = target.trial(key).path / path.name
        with readable_write_errors(into):
            folder_within(into.parent, target)
        with path.open("rb") as stream, atomic_writer(into) as copy:
            shutil.copyfileobj(stream, copy)


def _copy_sessions(sessions: dict[RunDir, set[str]], target: RunDir) -> None:
    known = {each.get("session") for each in read_sessions(target)}
    for run_dir, wanted in sessions.items():
        for each in read_sessions(run_dir):
            if each.get("session") in wanted - known:
                append_session(target, each)
                known.add(each.get("session"))


def _by_numbers(name: str) -> tuple[list[int], str]:
    return [int(digits) for digits in re.findall(r"[0-9]+", name)], name
