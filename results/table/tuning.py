"""What `retune` gained for each variant: the chosen setting minus the variant's own one, over the tuning trials.

Choosing and judging are apart. Settings are chosen by the validation split of the tuning seeds; the gap is of the test
split, which chose nothing, at the same seeds, which no row of the table reports. So it costs no training beyond the
search itself. A seed that suits the chosen setting on one split suits it on the other, too: with few tuning seeds the
gap is a little too large, as the best of several always is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from results.plan.run_plan import PlannedVariant, RunPlan
from results.stats.paired import paired_delta
from results.store.record_summary import counting, latest_by_trial
from results.store.records import TrialRecord
from results.table.selection import selected_metrics
from results.table.table import Tuned, values_by_seed
from search_space.settings.paths import value_at

__all__ = ["tuned_variants"]

_BySeed = Mapping[int, TrialRecord]


def tuned_variants(plan: RunPlan, records: Iterable[TrialRecord], metric: str) -> dict[str, Tuned]:
    """Variant id -> its tuning; empty before every variant is tuned.

    Args:
        records: of the run; those that are no tuning trials of the plan are passed over.
    """
    if plan.retuned is None:
        return {}
    tuning = (record for record in counting(records, plan.superseded) if record.role == "retune")
    found: dict[str, dict[int, TrialRecord]] = {}
    for record in latest_by_trial(tuning).values():
        if record.status == "completed" and record.seed in plan.retuned.seeds:
            selected = selected_metrics(record.metrics, plan.analysis.selection)
            trials = found.setdefault(record.variant_id, {})
            trials[record.seed] = record.model_copy(update={"metrics": selected})
    return {each.variant_id: _tuned(each, found, plan, metric) for each in plan.variants if each.untuned_id}


def _tuned(variant: PlannedVariant, trials: Mapping[str, _BySeed], plan: RunPlan, metric: str) -> Tuned:
    if variant.variant_id == variant.untuned_id:
        return Tuned(is_own=True)
    chosen, own = trials.get(variant.variant_id, {}), trials.get(variant.untuned_id, {})
    seeds = sorted(chosen.keys() & own.keys())
    if not seeds:  # its own setting is outside of the ranges, or did not complete
        return Tuned(is_own=False)
    values = [values_by_seed(each.values(), metric) for each in (chosen, own)]
    assert plan.retuned is not None, "tuned_variants returns early"
    pairs = {
        path: (value_at(own[seeds[0]].spec, path), value_at(chosen[seeds[0]].spec, path))
        for path in plan.retuned.parameters
    }
    changed = {path: pair for path, pair in pairs.items() if pair[0] != pair[1]}
    return Tuned(is_own=False, gap=paired_delta(*values, alpha=plan.analysis.alpha), changed=changed)
