"""Construction of an `AblationTable` from plan and records, independent of the order of the ledger."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from results.plan.run_plan import PlannedVariant, RunPlan
from results.stats.paired import PairedDelta, Summary, paired_delta, summarise
from results.stats.pareto import pareto_ranks
from results.stats.sequential.evidence import looks_of
from results.stats.sequential.standing import Standing
from results.store.record_summary import counting, latest_by_trial
from results.store.records import TrialRecord
from results.table.asked.path import judged_variants, walk
from results.table.asked.rounds import standings_of_plan
from results.table.blocks import joined_rows
from results.table.comparison import with_comparisons
from results.table.image_errors import check_predictions, with_image_errors
from results.table.later_changes import changes_after_results, rests_on_changes
from results.table.measured import metric_of, selection_metric
from results.table.planned import planned_trials
from results.table.published import belongs_to
from results.table.selection import check_selection, selected_metrics
from results.table.table import AblationTable, DroppedVariant, Row, values_by_seed
from results.table.tuning import tuned_variants
from search_space.parsing.errors import Problem, SpecError, did_you_mean
from search_space.schema.metrics import COST_NAMES, METRICS, RANKED, Direction, Metric, direction_of, metric_named

__all__ = ["ablation_table"]

_BySeed = dict[int, TrialRecord]


def ablation_table(plan: RunPlan, records: Iterable[TrialRecord]) -> AblationTable:
    """Build the table of a run.

    Rows are in the order of the plan. For a search they come from the records: complete ones first with the best on
    top (ordered by front where it has several objectives), then pruned and failed ones; the variant without changes is
    the baseline.

    Raises:
        SpecError: the plan's metric is unknown, or a completed trial lacks it under the plan's selection rule; or
            predictions are not of the plan's test set.
    """
    records = tuple(records)
    tuned = tuned_variants(plan, records, metric_of(plan).name)
    records = tuple(record for record in records if not record.role)
    metric = metric_of(plan)
    for name in plan.objectives:
        if name not in (*RANKED, *COST_NAMES):
            hint = did_you_mean(name, (*RANKED, *COST_NAMES))
            raise SpecError(Problem(f"unknown objective {name!r}", path="search.objectives", hint=hint))
    counted = tuple(counting(records, plan.superseded))
    trials = planned_trials(plan, latest_by_trial(counted).values())
    selection = plan.analysis.selection
    deciding = [record for seeds in trials.values() for record in seeds.values()]
    check_selection(deciding, metric.name, selection)
    check_predictions(plan, deciding)
    standing, steps = standings_of_plan(plan, trials), None if plan.path is None else walk(plan, trials)
    trials = {key: {seed: _selected(seeds[seed], selection) for seed in seeds} for key, seeds in trials.items()}
    if standing:  # what a row was trained beyond its looks, as before the sweep had rounds, is not of this comparison
        planned = {key: plan.seeds[: one.num_seeds] for key, one in standing.items()}
        trials = {key: {seed: seeds[seed] for seed in planned[key] if seed in seeds} for key, seeds in trials.items()}
    asked = {record.trial_id for seeds in trials.values() for record in seeds.values()}
    variants = list(plan.variants)
    if steps is not None:  # the seeds that chose its steps are in no mean, difference or test
        plan = plan.model_copy(update={"seeds": list(steps.judging)})
        trials = {key: {seed: seeds[seed] for seed in steps.judging if seed in seeds} for key, seeds in trials.items()}
        variants = judged_variants(plan, steps) + [each for each in plan.variants if each.dropped]
    if plan.design == "search":
        listed = {variant.variant_id for variant in variants}
        variants += [_found(seeds) for key, seeds in sorted(trials.items()) if key not in listed]
    shown = [variant for variant in variants if not variant.dropped]
    # By the block: differences are taken within it.
    bases: dict[str, _BySeed] = {}
    for variant in shown:
        if variant.is_baseline:
            bases.setdefault(variant.block, trials.get(variant.variant_id, {}))
    base_specs = [found[min(found)].spec for found in bases.values() if found]
    base_spec = base_specs[0] if base_specs else {}
    rows: list[Row] = []
    for variant in shown:
        mine, theirs = trials.get(variant.variant_id, {}), bases.get(variant.block, {})
        row = _row(variant, mine, theirs, plan=plan, metric=metric.name, spec=base_spec)
        row = replace(row, tuned=tuned.get(variant.variant_id))
        rows.append(_with_standing(row, standing.get(variant.variant_id)))
    if plan.blocks is not None:
        rows = joined_rows(list(zip(shown, rows, strict=True)), plan)
    rows = with_image_errors(rows, plan, metric=metric.name)
    ordered_by = ""
    objectives: tuple[str, ...] = ()
    if plan.design == "search":
        found = [record for row in rows for record in row.records]
        ordered_by = selection_metric(metric.name, found)
        objectives = tuple(name if name in COST_NAMES else selection_metric(name, found) for name in plan.objectives)
        directions: list[Direction] = [direction_of(name) for name in plan.objectives]
        rows = _with_fronts(rows, objectives, directions)
        rows.sort(key=lambda row: _search_order(row, ordered_by, metric))
    return AblationTable(
        sweep=plan.sweep,
        profile=plan.profile,
        design=plan.design,
        metric=metric,
        other_metrics=_in_order({name for row in rows for name in row.metrics} - {metric.name}),
        components=tuple(dict.fromkeys(name for variant in shown for name in variant.components)),
        seeds=tuple(plan.seeds),
        dataset=plan.dataset,
        epochs=plan.epochs,
        steps=plan.steps,
        rows=with_comparisons(
            rows,
            metric=metric,
            analysis=plan.analysis,
            is_tested=_is_tested(plan),
            looks=looks_of(plan.analysis, plan.rounds),
            seeds=plan.seeds,
        ),
        dropped=tuple(
            DroppedVariant(variant.name, variant.dropped, variant.components) for variant in variants if variant.dropped
        ),
        ordered_by=ordered_by,
        num_foreign=sum(record.trial_id not in asked for record in counted),
        num_superseded=len(records) - len(counted),
        without_metric=sum(
            cell.num_completed - _num(cell.metrics.get(metric.name)) for row in rows for cell in row.cells.values()
        ),
        unmatched=tuple(
            row for row in plan.published if not any(belongs_to(row, variant.changes, base_spec) for variant in shown)
        ),
        analysis=plan.analysis,
        retuned=plan.retuned,
        changed_later=changes_after_results(plan),
        preregistered={"": plan.preregistered} if plan.preregistered else {},
        objectives=objectives,
        num_test_images=plan.num_test_images,
        data=tuple(plan.data),
        is_foreign=plan.own_training,
        imported={"": plan.imported} if plan.imported else {},
        blocks=plan.blocks,
        orders=tuple(map(tuple, plan.orders)),
        format=plan.table,
        rounds=plan.rounds,
        path=steps,
        seed_sources=plan.seed_sources,
    )


def _is_tested(plan: RunPlan) -> bool:
    return plan.design != "search" and (plan.blocks is None or plan.blocks.kind != "settings")


def _selected(record: TrialRecord, selection: str) -> TrialRecord:
    """Record with the metrics of the selection rule under their plain names."""
    metrics = selected_metrics(record.metrics, selection)
    return record if metrics == record.metrics else record.model_copy(update={"metrics": metrics})


def _found(seeds: _BySeed) -> PlannedVariant:
    """Variant of a search, reconstructed from its records."""
    record = seeds[min(seeds)]
    infeasible = all(record.status == "infeasible" for record in seeds.values())
    reason = record.failure.message if record.failure else "infeasible"
    return PlannedVariant(
        name=record.variant,
        variant_id=record.variant_id,
        changes=record.changes,
        is_baseline=not record.changes,
        params_m=record.params_m,
        gmacs=record.gmacs,
        dropped=reason if infeasible else "",
    )


def _row(
    variant: PlannedVariant,
    trials: _BySeed,
    baseline: _BySeed,
    *,
    plan: RunPlan,
    metric: str,
    spec: Mapping[str, Any],
) -> Row:
    records = tuple(trials[seed] for seed in sorted(trials))
    completed = [record for record in records if record.status == "completed"]
    counts = Counter(record.status for record in records)
    names = set[str]().union(*(record.metrics for record in completed))
    values = {name: values_by_seed(completed, name) for name in sorted(names)}
    summaries = {name: summarise(found.values()) for name, found in values.items()}
    seconds = summarise(record.train_seconds for record in completed if record.train_seconds is not None)
    costs = [variant, *records]
    deltas: dict[str, PairedDelta | None] = {}
    if not variant.is_baseline:
        for name in [name for name in values if _is_ranked(name)]:
            theirs = values_by_seed(baseline.values(), name)
            deltas[name] = paired_delta(values[name], theirs, alpha=plan.analysis.alpha)
    published = [row for row in plan.published if belongs_to(row, variant.changes, spec)]
    return Row(
        name=variant.name,
        variant_id=variant.variant_id,
        changes=variant.changes,
        components=variant.components,
        placebo_of=variant.placebo_of,
        is_baseline=variant.is_baseline,
        num_planned=_num_planned(records, plan),
        num_completed=len(completed),
        num_pruned=counts["pruned"],
        num_failed=counts["failed"],
        num_infeasible=counts["infeasible"],
        metrics={name: summary for name, summary in summaries.items() if summary is not None},
        delta=deltas.get(metric),
        other_deltas={name: delta for name, delta in deltas.items() if delta is not None and name != metric},
        params_m=_first_known(cost.params_m for cost in costs),
        trainable_params_m=_first_known(record.trainable_params_m for record in records),
        gmacs=_first_known(cost.gmacs for cost in costs),
        train_seconds=seconds.mean if seconds else None,
        pruned_epochs=tuple(record.epochs for record in records if record.status == "pruned"),
        published=tuple(row for row in published if row.compare == "value"),
        order_only=tuple(row for row in published if row.compare == "order"),
        records=records,
        study=variant.study,
        rests_on_changes=not variant.is_baseline and rests_on_changes(plan, variant),
        num_tried=variant.num_tried,
    )


def _with_standing(row: Row, standing: Standing | None) -> Row:
    return row if standing is None else replace(row, num_planned=standing.num_seeds, stopped=standing.stopped)


def _first_known(amounts: Iterable[float | None]) -> float | None:
    return next((amount for amount in amounts if amount is not None), None)


def _is_ranked(name: str) -> bool:
    known = metric_named(name)
    return known is not None and known.direction is not None


def _num_planned(records: Sequence[TrialRecord], plan: RunPlan) -> int:
    """Number of planned seeds: all of them, except that a search trains no further seed of a failed proposal."""
    if plan.design == "search" and any(record.status in ("failed", "infeasible") for record in records):
        return len(records)
    return len(set(plan.seeds))


def _with_fronts(rows: Sequence[Row], objectives: Sequence[str], directions: Sequence[Direction]) -> list[Row]:
    """Rows with their Pareto fronts, where all seeds of a row are completed."""
    points = {row.variant_id: _point(row, objectives) for row in rows if objectives and row.status == "completed"}
    whole = {key: point for key, point in points.items() if None not in point}
    ranks = pareto_ranks([[value or 0.0 for value in point] for point in whole.values()], directions)
    fronts = dict(zip(whole, ranks, strict=True))
    return [replace(row, front=fronts.get(row.variant_id)) for row in rows]


def _point(row: Row, names: Iterable[str]) -> list[float | None]:
    means = {name: summary.mean for name, summary in row.metrics.items()}
    return [getattr(row, name) if name in COST_NAMES else means.get(name) for name in names]


def _search_order(row: Row, ordered_by: str, metric: Metric) -> tuple[int, float, float, int, str]:
    place = 0 if row.status == "completed" else 1 if row.num_completed else 2 if row.num_pruned else 3
    summary = row.metrics.get(ordered_by)
    value = math.inf if summary is None else summary.mean
    if summary is not None and metric.direction == "maximize":
        value = -value
    front = math.inf if row.front is None else row.front
    return place, front, value, -max(row.pruned_epochs, default=0), row.variant_id


def _num(summary: Summary | None) -> int:
    return summary.num if summary else 0


def _in_order(names: set[str]) -> tuple[str, ...]:
    """Known metrics in the order of METRICS, then the others by name."""
    known = [name for name in METRICS if name in names]
    return (*known, *sorted(names - set(known)))
