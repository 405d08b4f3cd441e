"""Rows of a design with blocks: of every treatment one, joined from its rows within the blocks.

Differences are taken within a block, at equal seeds, and only then joined. Over folds the joined row has the interval
of the corrected resampled t (`results/stats/blocks.py`); blocks of different kind have a mean of their differences as a
description, and a test only from 6 blocks on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from results.plan.run_plan import BlockedDesign, PlannedVariant, RunPlan
from results.stats.blocks import delta_over_folds, mean_over_blocks
from results.stats.paired import PairedDelta, Summary, summarise
from results.table.table import Row

__all__ = ["joined_rows"]


def joined_rows(cells: Sequence[tuple[PlannedVariant, Row]], plan: RunPlan) -> list[Row]:
    """One row for each treatment, in the order of the plan.

    Args:
        cells: planned variants that were not dropped, with their rows within their blocks.
    """
    blocks = plan.blocks
    assert blocks is not None, "a plan without blocks"
    treatments: dict[str, dict[str, Row]] = {}
    for variant, row in cells:
        bare = replace(row, name=variant.name.removesuffix(f" [{variant.block}]"))
        treatments.setdefault(variant.treatment, {})[variant.block] = bare
    return [_joined(key, found, blocks, plan) for key, found in treatments.items()]


def _joined(treatment: str, found: Mapping[str, Row], blocks: BlockedDesign, plan: RunPlan) -> Row:
    rows = [found[name] for name in blocks.names if name in found]
    first = rows[0]
    metrics = dict.fromkeys(name for row in rows for name in row.metrics)
    other_metrics = dict.fromkeys(name for row in rows for name in row.other_deltas)
    over = {name: _over_blocks([row.metrics.get(name) for row in rows], blocks) for name in metrics}
    others = {name: _delta([row.other_deltas.get(name) for row in rows], blocks, plan) for name in other_metrics}
    return replace(
        first,
        variant_id=treatment,
        # A variant that is dropped in a block lacks the seeds of that block.
        num_planned=len(set(plan.seeds)) * len(blocks.names),
        num_completed=sum(row.num_completed for row in rows),
        num_pruned=sum(row.num_pruned for row in rows),
        num_failed=sum(row.num_failed for row in rows),
        num_infeasible=sum(row.num_infeasible for row in rows),
        metrics={name: summary for name, summary in over.items() if summary is not None},
        delta=_delta([row.delta for row in rows], blocks, plan),
        other_deltas={name: delta for name, delta in others.items() if delta is not None},
        params_m=_mean(row.params_m for row in rows),
        trainable_params_m=_mean(row.trainable_params_m for row in rows),
        gmacs=_mean(row.gmacs for row in rows),
        train_seconds=_mean(row.train_seconds for row in rows),
        pruned_epochs=tuple(epoch for row in rows for epoch in row.pruned_epochs),
        records=tuple(record for row in rows for record in row.records),
        rests_on_changes=any(row.rests_on_changes for row in rows),
        blocks={name: found[name] for name in blocks.names if name in found},
        num_blocks=len(blocks.names),
    )


def _over_blocks(found: Sequence[Summary | None], blocks: BlockedDesign) -> Summary | None:
    """Mean over the blocks; its `num` counts trials. Of blocks of different kind only where all have a value: a mean
    over other blocks would be that of other things."""
    present = [each for each in found if each is not None]
    if not present or (not blocks.is_resampled and len(present) < len(blocks.names)):
        return None
    mean = summarise(each.mean for each in present)
    assert mean is not None, "a mean of nothing"
    std = mean.std if blocks.is_resampled else None
    return Summary(mean.mean, std, sum(each.num for each in present))


def _delta(found: Sequence[PairedDelta | None], blocks: BlockedDesign, plan: RunPlan) -> PairedDelta | None:
    present = [each for each in found if each is not None]
    differences = [each.mean for each in present]
    scale = max((each.scale for each in present), default=0.0)
    if blocks.is_resampled:
        return delta_over_folds(
            differences, test_per_train=blocks.test_per_train, scale=scale, alpha=plan.analysis.alpha
        )
    return mean_over_blocks(differences, scale=scale) if len(present) == len(blocks.names) else None


def _mean(values: Iterable[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    if not present:
        return None
    # Equal values keep their last digit.
    return present[0] if len(set(present)) == 1 else math.fsum(present) / len(present)
