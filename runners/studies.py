"""What the studies of one file share is trained once: records of equal trials are taken over from their ledgers.

A trial is its content (docs/decisions/0002-identity-by-content.md), so the baseline of two studies is one trial. The
record is copied, not linked: every run directory stays whole by itself, and `cached_from` says where it was trained.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from results import LedgerWriter, TrialRecord, latest_by_trial, read_ledger
from results.ledger import LEDGER_NAME
from runners.plan import Plan
from search_space import trial_id

__all__ = ["take_over"]


def take_over(plan: Plan, ledger: LedgerWriter, siblings: Iterable[Path], *, role: str = "") -> int:
    """Copies completed records of planned trials that only siblings hold into the ledger; returns how many.

    Args:
        siblings: run directories of the other studies; those that do not exist yet hold nothing.
        role: of the trials looked for.
    """
    if plan.sweep.search:
        return 0  # what a search will propose is not known beforehand
    known = {record.trial_id for record in ledger.records if record.role == role}
    found: dict[str, TrialRecord] = {}
    for sibling in siblings:
        if sibling.resolve() == ledger.run_dir.resolve():
            continue
        records = read_ledger(sibling / LEDGER_NAME).records
        for key, record in latest_by_trial(each for each in records if each.role == role).items():
            if record.status == "completed" and key not in known:
                origin = record.cached_from or sibling.name
                found.setdefault(key, record.model_copy(update={"cached_from": origin}))
    taken: list[TrialRecord] = []
    for seed in plan.sweep.seeds:
        for variant in plan.variants:
            record = found.pop(trial_id(variant.setting.with_seed(seed)), None)
            if record is None:
                continue
            names = {"variant": variant.name, "changes": dict(variant.changes)}
            taken.append(record.model_copy(update=names))
            ledger.append(taken[-1])
    ledger.records = (*ledger.records, *taken)
    return len(taken)
