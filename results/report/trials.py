"""What is in no mean: failed trials, with their reason and last lines, pruned ones, and variants that never ran."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from results.report.assets import block, text
from results.store.records import TrialRecord
from results.table.table import AblationTable

__all__ = ["listing", "trial_sections"]

_MOST = 200
_LAST_LINES = 12


def trial_sections(table: AblationTable) -> Iterable[tuple[str, str, str]]:
    """(id, title, HTML) of each list that is not empty."""
    by_status: dict[str, list[tuple[str, TrialRecord]]] = {}
    for row in table.rows:
        for record in row.records:
            by_status.setdefault(record.status, []).append((row.name, record))
    if failed := by_status.get("failed"):
        yield "failures", "Failed trials", _failures(failed)
    if infeasible := by_status.get("infeasible"):
        lines = [(name, str(one.seed), _reason(one)) for name, one in infeasible]
        yield "infeasible", "Infeasible trials", listing(("variant", "seed", "reason"), lines)
    if pruned := by_status.get("pruned"):
        seen = {name for _, one in pruned for point in one.curve[-1:] for name in point}
        # A search measures pruned trials on the validation split only.
        metric = next((name for name in (table.ordered_by, table.metric.name) if name in seen), table.metric.name)
        lines = [(name, str(one.seed), str(one.epochs), _last(one, metric)) for name, one in pruned]
        heads = ("variant", "seed", "stopped after epoch", f"{metric} ({table.metric.unit}) there")
        how = '<p class="how">Stopped early by the pruner; outside every mean, difference and test.</p>\n'
        yield "pruned", "Pruned trials", how + listing(heads, lines)
    if table.dropped:
        lines = [(one.name, one.reason) for one in table.dropped]
        yield "dropped", "Variants dropped before training", listing(("variant", "reason"), lines)


def listing(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A plain table of words; a long one is cut, and says so."""
    head = "".join(f'<th scope="col">{text(one)}</th>' for one in heads)
    rows = "\n".join(f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in line)}</tr>" for line in lines[:_MOST])
    more = f'<p class="quiet">and {len(lines) - _MOST} more</p>\n' if len(lines) > _MOST else ""
    return f'<div class="list"><table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>\n{more}'


def _failures(failed: Sequence[tuple[str, TrialRecord]]) -> str:
    parts = []
    for name, record in failed[:_MOST]:
        failure = record.failure
        where = f", epoch {failure.epoch}" if failure and failure.epoch is not None else ""
        attempt = f", attempt {record.attempt}" if record.attempt > 1 else ""
        parts.append(
            f"<h3>{text(name)}, seed {record.seed}{where}{attempt}</h3>\n<p>{text(_reason(record))}</p>\n"
            f'<p class="quiet">log: trials/{text(record.trial_id)}/train.log</p>\n'
        )
        lines = failure.traceback.splitlines()[-_LAST_LINES:] if failure else []
        if lines:
            parts.append(f"<pre>{block(chr(10).join(lines))}</pre>\n")
    if len(failed) > _MOST:
        parts.append(f'<p class="quiet">and {len(failed) - _MOST} more, see trials.csv</p>\n')
    return "".join(parts)


def _reason(record: TrialRecord) -> str:
    failure = record.failure
    return f"{failure.type}: {failure.message}" if failure else "no reason recorded"


def _last(record: TrialRecord, metric: str) -> str:
    value = record.curve[-1].get(metric) if record.curve else None
    return "" if value is None else f"{value:.4g}"
