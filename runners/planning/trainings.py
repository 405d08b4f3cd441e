"""Trainings of a plan: variants that differ in evaluation-only options alone are trained once for each seed.

A search has none in common: what it proposes next follows from results, so every proposal trains by itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from runners.planning.plan import Plan
from search_space import TrialSpec, Variant, trial_id
from search_space.schema.identity import training_id

__all__ = ["Training", "num_trials_here", "trainings_left", "trials_of", "variants_by_training"]


@dataclass(frozen=True)
class Training:
    """One training: the first variant is trained with the seed, and every one is measured in it."""

    variants: tuple[Variant, ...]
    seed: int


def variants_by_training(plan: Plan) -> list[tuple[Variant, ...]]:
    """Variants that are trained together, in the order of the plan; those with other resources are not."""
    if not any(map(_is_measured_otherwise, plan.variants)):  # ids of ten thousand variants take seconds
        return [(variant,) for variant in plan.variants]
    groups: dict[tuple[str, str], list[Variant]] = {}
    for variant in plan.variants:
        key = training_id(variant.setting), plan.resources_of(variant).model_dump_json()
        groups.setdefault(key, []).append(variant)
    return [tuple(group) for group in groups.values()]


def trainings_left(plan: Plan, seeds: Sequence[int], is_left: Callable[[str], bool]) -> Iterator[Training]:
    """The trainings that remain, seed by seed; only trials that are left take part. Of a shard, its own.

    Args:
        is_left: whether a trial, by its id, is to be trained.
    """
    groups = variants_by_training(plan)
    for index, (seed, group) in enumerate(itertools.product(seeds, groups)):
        if plan.shard is None or plan.shard.holds(index):
            left = tuple(each for each in group if is_left(trial_id(each.setting.with_seed(seed))))
            if left:
                yield Training(left, seed)


def trials_of(plan: Plan) -> Iterator[tuple[TrialSpec, Variant]]:
    """The trials of a fixed design in the order of the plan; of a shard, its own."""
    if plan.shard is None:
        for seed in plan.sweep.seeds:
            for variant in plan.variants:
                yield variant.setting.with_seed(seed), variant
        return
    for training in trainings_left(plan, plan.sweep.seeds, lambda key: True):
        for variant in training.variants:
            yield variant.setting.with_seed(training.seed), variant


def num_trials_here(plan: Plan) -> int:
    """Trials that the plan has for this driver: all, or those of its shard."""
    return plan.num_trials if plan.shard is None else sum(1 for _ in trials_of(plan))


def _is_measured_otherwise(variant: Variant) -> bool:
    """Whether an evaluation-only option has another value than its default."""
    task = variant.setting.task
    fields = type(task).model_fields
    return any(getattr(task, name) != fields[name].get_default() for name in task.evaluation_only)
