"""Semantic checks of `seeds`, and of what goes with looks at the results: design, pruner, correction."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from search_space.checks.seeding_checks import seeding_issues
from search_space.schema.comparison.seeds import FEWEST_AT_A_LOOK, MOST_SEEDS_OF_LOOKS, SeedPlan
from search_space.schema.sweep import Sweep
from search_space.settings.candidates import Issue

__all__ = ["seed_issues"]

_CORRECTIONS = ("holm", "none")


def seed_issues(sweep: Sweep) -> Iterator[Issue]:
    """Issues of the seeds, of rounds of seeds, and of tests that hold at any number of them."""
    seen: set[int] = set()
    for index, seed in enumerate(sweep.seeds):
        if seed in seen:
            yield Issue(("seeds", index), f"the seed {seed} is given twice", "the same seed gives the same trial")
        seen.add(seed)
    yield from seeding_issues(sweep)
    rounds = sweep.rounds
    if rounds is not None and rounds.model_fields_set - {"vary"}:  # else their number is missing, which is said
        yield from _of_rounds(rounds)
        yield from _beside_rounds(sweep)
    if rounds is not None or sweep.analysis.sequential is not None:
        yield from _of_tests(sweep)


def _of_rounds(rounds: SeedPlan) -> Iterator[Issue]:
    if rounds.max is None and not rounds.looks:
        yield Issue(("seeds",), "rounds of seeds need their largest number", "write  max: 12")
        return
    most = len(rounds.numbers)
    if most > MOST_SEEDS_OF_LOOKS:
        place = ("seeds", "max") if rounds.max is not None else ("seeds", "looks")
        yield Issue(place, f"at most {MOST_SEEDS_OF_LOOKS} seeds have looks, but got {most}", "write fewer, or a count")
        return
    if rounds.start is not None and rounds.start < FEWEST_AT_A_LOOK:
        hint = f"write  start: {FEWEST_AT_A_LOOK}"
        yield Issue(("seeds", "start"), f"{rounds.start} seeds are not tested, so a look cannot decide", hint)
    for index, number in enumerate(rounds.looks):
        if number < FEWEST_AT_A_LOOK:
            hint = f"begin with {FEWEST_AT_A_LOOK}"
            yield Issue(("seeds", "looks", index), f"{number} seeds are not tested, so a look cannot decide", hint)
    for index, (before, after) in enumerate(pairwise(rounds.looks), start=1):
        if after <= before:
            hint = "write numbers of seeds that rise"
            yield Issue(("seeds", "looks", index), f"the look at {after} seeds comes after that at {before}", hint)
    if rounds.looks and rounds.start not in (None, rounds.looks[0]):
        hint = "remove one of the two"
        yield Issue(("seeds", "start"), f"is {rounds.start}, but the first look is at {rounds.looks[0]} seeds", hint)
    if rounds.looks and rounds.max not in (None, rounds.looks[-1]):
        hint = "remove one of the two, or make the last look that of all seeds"
        yield Issue(("seeds", "max"), f"is {rounds.max}, but the last look is at {rounds.looks[-1]} seeds", hint)
    elif rounds.start is not None and rounds.start > most:
        yield Issue(("seeds", "start"), f"is {rounds.start}, more than the {most} seeds of all", "raise `max`")
    if rounds.futility is None:
        hint = (
            "write  futility: 1.5 SD  (arms that hardly have an effect of 1.5 standard deviations of the differences "
            "stop),\n{smallest: 0.3} in the metric's unit, strong (fewer trainings, less power), or none: looking for "
            "proof alone saves 2 to 7 % of the trainings"
        )
        yield Issue(("seeds",), "needs `futility`, the effect below which an arm gets no further seeds", hint)


def _beside_rounds(sweep: Sweep) -> Iterator[Issue]:
    design, prune = sweep.design.name, sweep.prune
    if design == "search":
        yield Issue(("seeds",), "a search has no looks: its rows are chosen by their values", "write a count of seeds")
    elif design in ("factorial", "fractional", "shapley"):
        hint = "write a count of seeds, or compare rows: one_factor, leave_one_out, add_one_in, cumulative, list, zip"
        yield Issue(("seeds",), f"the effects of the design {design!r} need every seed of every row", hint)
    if sweep.blocks:
        hint = "write a count of seeds, or remove `blocks`"
        yield Issue(("seeds",), "rows with blocks are tested over the blocks, not over the seeds", hint)
    if prune is not None and prune.is_over_seeds:
        hint = "compare trials by their curves: a pruner with  over: epochs"
        yield Issue(("prune",), "the looks decide which rows get further seeds, and so would this pruner", hint)


def _of_tests(sweep: Sweep) -> Iterator[Issue]:
    given = sweep.analysis.correction
    what = "looks" if sweep.rounds is not None else "`sequential: anytime`"
    if given not in _CORRECTIONS:
        hint = "write holm, which holds whatever the looks stop, or none"
        yield Issue(("analysis", "correction"), f"{given!r} has no test that allows for {what}", hint)
    if sweep.analysis.sequential is not None and sweep.blocks:
        yield Issue(("analysis", "sequential"), "rows with blocks are tested over the blocks", "remove `sequential`")
    if sweep.analysis.sequential is not None and sweep.design.name == "search":
        hint = "remove `sequential`"
        yield Issue(("analysis", "sequential"), "rows of a search are chosen by their values, and not tested", hint)
