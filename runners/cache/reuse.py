"""Trials that are not trained here because an equal one was trained elsewhere: their records are taken over.

A trial is its content (docs/decisions/0002-identity-by-content.md), so the baseline of two studies of one file is one
trial, and so is a trial of last week. The record is copied, not linked: every run directory stays whole by itself, and
`cached_from` says where it was trained.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from results import LedgerWriter, TrialRecord, latest_by_trial, read_ledger
from results.store.run_layout import RunDir
from runners.cache.origin import Origins
from runners.planning.plan import Plan
from runners.planning.trainings import trials_of
from runners.trials.assignment import Assignment, TrialRole, reused_record
from search_space import Sweep, TrialSpec, Variant, trial_id

__all__ = [
    "CACHE",
    "STUDIES",
    "RecordLookup",
    "first_found",
    "for_sweep",
    "from_siblings",
    "reuse_records",
    "reuse_sources",
]

STUDIES, CACHE = "studies", "cache"  # who may provide a record

RecordLookup = Callable[[TrialSpec], TrialRecord | None]
"""The completed record of an equal trial, with `cached_from`; None if there is none."""


def from_siblings(siblings: Iterable[Path], run_dir: RunDir, origins: Origins) -> RecordLookup:
    """Looks into the ledgers of the other studies of a file; those that do not exist yet hold nothing.

    Records of other data, code or software are not taken over. Of several, one with predictions comes first.
    """
    found: dict[str, list[TrialRecord]] = {}
    for sibling in siblings:
        if sibling.resolve() == run_dir.path.resolve():
            continue
        for record in read_ledger(RunDir.of(sibling).ledger).records:
            if record.status == "completed":
                known = record.model_copy(update={"cached_from": record.cached_from or sibling.name})
                found.setdefault(record.trial_id, []).append(known)

    def lookup(spec: TrialSpec) -> TrialRecord | None:
        present = [record for record in found.get(trial_id(spec), ()) if record.origin == origins.of(spec)]
        whole = [record for record in present if record.correct]
        return next(iter(latest_by_trial(whole or present).values()), None)

    return lookup


def for_sweep(lookup: RecordLookup, sweep: Sweep) -> RecordLookup:
    """The same lookup, with records as this sweep would have made them.

    Where it keeps predictions, those without are not taken over; where it keeps none, records come without theirs.
    Where its trials keep samples, nothing is taken over: a record does not hold them.
    """

    def found(spec: TrialSpec) -> TrialRecord | None:
        record = None if sweep.keep_samples else lookup(spec)
        if record is None or (sweep.keep_predictions and not record.correct):
            return None
        return record if sweep.keep_predictions else record.model_copy(update={"correct": ""})

    return found


def first_found(lookups: Sequence[RecordLookup]) -> RecordLookup:
    """Asks the lookups one after the other."""
    return lambda spec: next((record for lookup in lookups if (record := lookup(spec))), None)


def reuse_records(plan: Plan, ledger: LedgerWriter, lookups: Iterable[RecordLookup], *, role: TrialRole = "") -> int:
    """Appends the records of planned trials that the ledger lacks and a lookup knows; returns how many.

    What a search will propose, or which trials earlier results ask for, is not known beforehand: there the
    orchestrator asks.

    Args:
        role: of the trials looked for.
    """
    if plan.sweep.search or plan.sweep.asks_by_results:
        return 0
    lookup = first_found(list(lookups))
    known = {summary.trial_id for summary in ledger.summaries if summary.role == role}
    num_taken = 0
    for spec, variant in _lacking(plan, known):
        record = lookup(spec)
        if record is not None:
            ledger.append(reused_record(Assignment(trial_id(spec), spec, variant, role=role), record))
            num_taken += 1
    return num_taken


def reuse_sources(
    plan: Plan, known: Collection[str], lookups: Mapping[str, Callable[[TrialSpec], object]]
) -> dict[str, str]:
    """What `reuse_records` would take over: trial id -> name of the first lookup that knows the trial.

    Args:
        known: ids of the trials that the ledger holds.
    """
    found: dict[str, str] = {}
    if plan.sweep.search:
        return found
    for spec, _ in _lacking(plan, known):
        name = next((name for name, lookup in lookups.items() if lookup(spec)), None)
        if name is not None:
            found[trial_id(spec)] = name
    return found


def _lacking(plan: Plan, known: Collection[str]) -> Iterator[tuple[TrialSpec, Variant]]:
    return ((spec, variant) for spec, variant in trials_of(plan) if trial_id(spec) not in known)
