"""What a greedy path will train: bounds, because which combinations are on it follows from results."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from results import RunPlan, TrialRecord
from results.table.asked.path import PathSteps, most_asked, walk
from results.table.planned import planned_trials
from runners.planning.plan import Plan
from search_space import Variant, trial_id

__all__ = ["PathAhead", "path_ahead"]


@dataclass(frozen=True)
class PathAhead:
    """A path by its results so far; numbers of trials are those of the continuation that takes most.

    Attributes:
        num_components: of the design, which is the number of steps.
        choosing, judging: the seeds.
        num_choosing, num_judging: trials at each of them, at most.
        num_trials: both together, at most.
        num_left: those without a record, at most; `num_to_train`, which no other run has, either.
        reaches_all: whether the combination of all components runs.
    """

    num_components: int
    choosing: tuple[int, ...]
    judging: tuple[int, ...]
    compares: bool
    num_choosing: int
    num_judging: int
    num_trials: int
    num_left: int
    num_to_train: int
    reaches_all: bool
    plan: RunPlan
    steps: PathSteps
    is_left: Callable[[str, int], bool]

    def most(self, weights: Mapping[str, float]) -> float:
        """The most that its trials without a record weigh; `weights` by variant id."""
        return most_asked(self.plan, self.steps, lambda key, seed: weights[key] if self.is_left(key, seed) else 0.0)

    def most_of_a_seed(self, weights: Mapping[str, float]) -> float:
        """The most that the trials of one more judging seed weigh."""
        return most_asked(self.plan, self.steps, lambda key, seed: weights[key] if seed == self.judging[0] else 0.0)

    def num_of(self, variant: Variant) -> int:
        """Trials of a combination, at most: only one that may be a candidate is trained with the choosing seeds."""
        is_candidate = 0 < sum(variant.components.values()) < self.num_components
        return len(self.judging) + (len(self.choosing) if is_candidate else 0)


def path_ahead(plan: Plan, records: Iterable[TrialRecord], provided: Collection[str]) -> PathAhead | None:
    """What a plan of the design `path` will train; None for other designs.

    Args:
        records: deciding records of the run.
        provided: ids of the trials that another run has.
    """
    if plan.sweep.design.name != "path":
        return None
    records = list(records)
    done, run_plan = {record.trial_id for record in records}, plan.as_run_plan()
    steps = walk(run_plan, planned_trials(run_plan, records))
    assert run_plan.path is not None
    choosing = tuple(run_plan.path.choosing)
    settings = {each.variant_id: each.setting for each in plan.variants}
    num_components = len(plan.sweep.space)

    def is_missing(key: str, seed: int) -> bool:
        return trial_id(settings[key].with_seed(seed)) not in done

    def is_left(key: str, seed: int) -> bool:
        return is_missing(key, seed) and trial_id(settings[key].with_seed(seed)) not in provided

    def number(counts: Callable[[str, int], bool]) -> int:
        return round(most_asked(run_plan, steps, lambda key, seed: float(counts(key, seed))))

    return PathAhead(
        num_components=num_components,
        choosing=choosing,
        judging=tuple(seed for seed in run_plan.seeds if seed not in choosing),
        compares=run_plan.path.compare,
        num_choosing=number(lambda _, seed: seed in choosing),
        num_judging=number(lambda _, seed: seed not in choosing),
        num_trials=number(lambda *_: True),
        num_left=number(is_missing),
        num_to_train=number(is_left),
        reaches_all=any(sum(each.components.values()) == num_components for each in plan.variants),
        plan=run_plan,
        steps=steps,
        is_left=is_left,
    )
