"""Greedy path in a table: the steps that the results so far decide, and the trials that they ask for.

From the empty combination on, each step trains every combination with one component more on the choosing seeds, takes
the one with the best mean, and judges it against the combination before it on the other seeds. Where only one
combination can follow there is nothing to choose, and no choosing trial. The steps are a function of the records alone:
a driver that is killed goes on with the same ones.

Source: Fawcett & Hoos 2016 (docs/statistics.md, "Paths").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from results.plan.run_plan import PlannedVariant, RunPlan
from results.store.record_summary import RecordSummary
from results.store.records import TrialRecord
from results.table.measured import metric_of, value_of

__all__ = ["Candidate", "Coalition", "PathSteps", "Step", "asked_of_path", "judged_variants", "most_asked", "walk"]

Coalition = frozenset[str]
_Record = TrialRecord | RecordSummary
_Trials = Mapping[str, Mapping[int, _Record]]


@dataclass(frozen=True)
class Candidate:
    """A combination with one component more than the step begins with.

    Attributes:
        values: choosing seed -> value of the metric; of a step without a choice empty.
        lacking: why it cannot be chosen; empty if it can, or is waiting.
        records: its deciding records at the choosing seeds.
    """

    component: str
    variant_id: str
    name: str
    values: Mapping[int, float]
    lacking: str
    records: tuple[_Record, ...]

    @property
    def mean(self) -> float | None:
        """Mean over the choosing seeds; None where it cannot be chosen, or nothing was trained."""
        return math.fsum(self.values.values()) / len(self.values) if self.values and not self.lacking else None


@dataclass(frozen=True)
class Step:
    """One step of the path.

    Attributes:
        before: variant id of the combination that it begins with.
        candidates: those that can run, in file order; one where there is nothing to choose.
        chosen: the candidate that is taken; None while choosing trials are waiting, or if none can be chosen.
    """

    before: str
    candidates: tuple[Candidate, ...]
    chosen: Candidate | None

    @property
    def is_choice(self) -> bool:
        return len(self.candidates) > 1


@dataclass(frozen=True)
class PathSteps:
    """The path so far; the last step may be undecided.

    Attributes:
        components: of the design, in file order.
        choosing, judging: the seeds.
        ended: why the path ends before the full combination; empty if it does not, or goes on.
        compares: whether each component alone, and all but each, are judged, too.
    """

    components: tuple[str, ...]
    choosing: tuple[int, ...]
    judging: tuple[int, ...]
    steps: tuple[Step, ...]
    ended: str
    compares: bool

    @cached_property
    def taken(self) -> tuple[Step, ...]:
        """The steps that are decided."""
        return tuple(step for step in self.steps if step.chosen is not None)

    @property
    def is_whole(self) -> bool:
        """Whether it has reached the full combination."""
        return len(self.taken) == len(self.components)

    @property
    def num_choosing(self) -> int:
        """Trials at the choosing seeds that the steps so far ask for."""
        return sum(len(step.candidates) * len(self.choosing) for step in self.steps if step.is_choice)

    @property
    def choosing_records(self) -> list[tuple[str, _Record]]:
        """Those of them that ended, each with the name of its combination."""
        return [(each.name, record) for step in self.steps for each in step.candidates for record in each.records]

    @property
    def num_steps(self) -> int:
        """Steps that will be tested: all, or those before its end."""
        return len(self.taken) if self.ended else len(self.components)


def walk(plan: RunPlan, trials: _Trials) -> PathSteps:
    """The path of a plan by the results so far.

    Args:
        trials: deciding records of the planned trials: variant id -> seed -> record.
    """
    assert plan.path is not None, "a plan of another design"
    components, variants = _components(plan), _variants(plan)
    steps: list[Step] = []
    ended = ""
    here: Coalition = frozenset()
    while len(here) < len(components) and here in variants:
        step, ended = _step(plan, trials, components, variants, here)
        steps += [step] if step.candidates else []
        if step.chosen is None:
            break
        here |= {step.chosen.component}
    return PathSteps(
        components=components,
        choosing=tuple(plan.path.choosing),
        judging=tuple(seed for seed in plan.seeds if seed not in plan.path.choosing),
        steps=tuple(steps),
        ended=ended,
        compares=plan.path.compare,
    )


def asked_of_path(plan: RunPlan, path: PathSteps) -> dict[str, tuple[int, ...]]:
    """The seeds that the steps so far ask for: variant id -> seeds, in the order of the plan."""
    asked: dict[str, set[int]] = {each.variant_id: {*path.judging} for each in judged_variants(plan, path)}
    for step in path.steps:
        for each in step.candidates if step.is_choice else ():
            asked.setdefault(each.variant_id, set()).update(path.choosing)
    return {key: tuple(seed for seed in plan.seeds if seed in seeds) for key, seeds in asked.items()}


def judged_variants(plan: RunPlan, path: PathSteps) -> list[PlannedVariant]:
    """The rows of the table: the path, then the combinations with which it is compared."""
    variants = _variants(plan)
    by_id = {each.variant_id: each for each in variants.values()}
    found = [variants[frozenset()]] if frozenset() in variants else []
    found += [by_id[step.chosen.variant_id] for step in path.taken if step.chosen is not None]
    ids = {each.variant_id for each in found}
    compared = [variants[one] for one in _compared(path.components, path.compares) if one in variants]
    return found + [each for each in compared if each.variant_id not in ids]


def most_asked(plan: RunPlan, path: PathSteps, weight: Callable[[str, int], float]) -> float:
    """The most that the path so far and any continuation ask for: the sum of the weights (variant id, seed) of trials.

    By dynamic programming over the combinations: what is judged for the comparison is asked for in any case, and a
    combination with so many components is a candidate of one step only.
    """
    asked = math.fsum(weight(key, seed) for key, seeds in asked_of_path(plan, path).items() for seed in seeds)
    if path.ended or path.is_whole or not path.steps:
        return asked
    variants = _variants(plan)
    compared = _compared(path.components, path.compares)

    def at(one: Coalition, seeds: Sequence[int]) -> float:
        return math.fsum(weight(variants[one].variant_id, seed) for seed in seeds)

    def onward(here: Coalition) -> float:
        """The most that the best way on from a combination asks for, without the choice."""
        following = [here | {name} for name in path.components if name not in here]
        ways = [rest[one] + (0.0 if one in compared else at(one, path.judging)) for one in following if one in rest]
        return max(ways, default=0.0)

    rest: dict[Coalition, float] = {}
    for here in sorted(variants, key=len, reverse=True):
        following = [one for name in path.components if name not in here and (one := here | {name}) in variants]
        choice = math.fsum(at(one, path.choosing) for one in following) if len(following) > 1 else 0.0
        rest[here] = choice + onward(here)
    taken = frozenset(step.chosen.component for step in path.taken if step.chosen is not None)
    return asked + onward(taken)  # the choice there is asked for


def _components(plan: RunPlan) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for each in plan.variants for name in each.components))


def _variants(plan: RunPlan) -> dict[Coalition, PlannedVariant]:
    """Those that run, by the components that are on."""
    return {_on(each): each for each in plan.variants if not each.dropped}


def _on(variant: PlannedVariant) -> Coalition:
    return frozenset(name for name, is_on in variant.components.items() if is_on)


def _compared(components: Sequence[str], compares: bool) -> list[Coalition]:
    """The combinations of the comparison: each component alone, all but each, all; those of 1, k - 1 and k."""
    every = frozenset(components)
    single = [frozenset({name}) for name in components]
    return list(dict.fromkeys([*single, *(every - one for one in single), every])) if compares else []


def _step(
    plan: RunPlan,
    trials: _Trials,
    components: Sequence[str],
    variants: Mapping[Coalition, PlannedVariant],
    here: Coalition,
) -> tuple[Step, str]:
    """The step from a combination, and why the path ends here; empty if it does not."""
    assert plan.path is not None
    following = {name: variants.get(here | {name}) for name in components if name not in here}
    running = {name: each for name, each in following.items() if each is not None}
    is_choice = len(running) > 1
    choosing = plan.path.choosing if is_choice else []
    candidates = [_candidate(plan, trials, name, each, choosing) for name, each in running.items()]
    before = variants[here].variant_id
    if not candidates:
        dropped = "every combination with one component more is dropped"
        return Step(before, (), None), dropped if len(following) > 1 else "the full combination is dropped"
    if not is_choice:
        return Step(before, (candidates[0],), candidates[0]), ""
    if any(len(each.records) < len(choosing) for each in candidates):
        return Step(before, tuple(candidates), None), ""
    able = [each for each in candidates if not each.lacking]
    sign = -1 if metric_of(plan).direction == "maximize" else 1
    best = min(able, key=lambda each: sign * (each.mean or 0.0), default=None)  # of equal ones the first
    ended = "" if best is not None else "no candidate has a value at every choosing seed"
    return Step(before, tuple(candidates), best), ended


def _candidate(
    plan: RunPlan, trials: _Trials, component: str, variant: PlannedVariant, choosing: Sequence[int]
) -> Candidate:
    found = trials.get(variant.variant_id, {})
    records = {seed: found[seed] for seed in choosing if seed in found}
    values = {seed: value_of(plan, record) for seed, record in records.items()}
    return Candidate(
        component=component,
        variant_id=variant.variant_id,
        name=variant.name,
        values={seed: value for seed, value in values.items() if value is not None},
        lacking=", ".join(_lacking(records, values)),
        records=tuple(records.values()),
    )


def _lacking(records: Mapping[int, _Record], values: Mapping[int, float | None]) -> Iterator[str]:
    """What of the ended trials has no value."""
    for seed, record in records.items():
        if values[seed] is None:
            yield f"seed {seed} {'without a finite value' if record.status == 'completed' else record.status}"
