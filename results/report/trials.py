"""Trials outside every mean: failed ones with their reason and last lines, pruned ones, and variants that never ran."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from results.report.section import Section, section
from results.store.records import TrialRecord
from results.table.table import AblationTable
from search_space.variants.blocks import name_in_block

__all__ = ["listing", "trial_sections"]

_MOST = 200
_LAST_LINES = 12


def trial_sections(table: AblationTable, prefix: str = "") -> Iterable[Section]:
    """The sections, one for each list that is not empty."""
    by_status: dict[str, list[tuple[str, TrialRecord]]] = {}
    for row in table.rows:
        for block, cell in row.cells.items():
            name = name_in_block(row.name, block)
            for record in cell.records:
                by_status.setdefault(record.status, []).append((name, record))
    for name, record in table.path.choosing_records if table.path is not None else ():
        if isinstance(record, TrialRecord):
            by_status.setdefault(record.status, []).append((name, record))
    if failed := by_status.get("failed"):
        yield _failures(f"{prefix}failures", failed)
    if infeasible := by_status.get("infeasible"):
        lines = [(name, one.seed, _reason(one)) for name, one in infeasible]
        yield listing(f"{prefix}infeasible", "Infeasible trials", ("variant", "seed", "reason"), lines)
    if pruned := by_status.get("pruned"):
        seen = {name for _, one in pruned for point in one.curve[-1:] for name in point}
        # A search measures pruned trials on the validation split only.
        metric = next((name for name in (table.ordered_by, table.metric.name) if name in seen), table.metric.name)
        lines = [(name, one.seed, one.epochs, _last(one, metric)) for name, one in pruned]
        heads = ("variant", "seed", "stopped after epoch", f"{metric} ({table.metric.unit}) there")
        how = "Stopped early by the pruner; outside every mean, difference and test."
        yield listing(f"{prefix}pruned", "Pruned trials", heads, lines, how=how)
    if table.dropped:
        lines = [(one.name, one.reason) for one in table.dropped]
        yield listing(f"{prefix}dropped", "Variants dropped before training", ("variant", "reason"), lines)


def listing(key: str, title: str, heads: Sequence[str], lines: Sequence[Sequence[object]], *, how: str = "") -> Section:
    """A plain table of text; a long one is cut, with the number of rows left out."""
    return section(key, title, "listing", how=how, heads=heads, lines=lines[:_MOST], more=len(lines) - _MOST)


def _failures(key: str, failed: Sequence[tuple[str, TrialRecord]]) -> Section:
    listed = [
        {
            "variant": name,
            "record": record,
            "reason": _reason(record),
            "epoch": record.failure.epoch if record.failure else None,
            "last_lines": record.failure.traceback.splitlines()[-_LAST_LINES:] if record.failure else [],
        }
        for name, record in failed[:_MOST]
    ]
    return section(key, "Failed trials", "failures", failed=listed, more=len(failed) - _MOST)


def _reason(record: TrialRecord) -> str:
    failure = record.failure
    return f"{failure.type}: {failure.message}" if failure else "no reason recorded"


def _last(record: TrialRecord, metric: str) -> str:
    value = record.curve[-1].get(metric) if record.curve else None
    return "" if value is None else f"{value:.4g}"
