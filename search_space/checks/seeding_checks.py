"""Semantic checks of what a seed decides: `seeds.vary` and `seeds.crossed`, and what they do not go together with."""

from __future__ import annotations

from collections.abc import Iterator

from search_space.plugins.families import contributed
from search_space.schema.comparison.seeds import SeedPlan
from search_space.schema.sweep import Sweep
from search_space.schema.task import ForeignSpec
from search_space.schema.training.seeding import Seeding
from search_space.settings.candidates import Issue
from search_space.settings.naming import touched_paths
from search_space.settings.paths import overlap

__all__ = ["seeding_issues"]

_OF_LOOKS = ("max", "start", "looks", "stop", "spending", "futility")
_FIELD = "train.seeding"
_SPLITS = ("task.dataset", "task.val_fraction")


def seeding_issues(sweep: Sweep) -> Iterator[Issue]:
    """Issues of what a seed decides."""
    plan = sweep.seed_plan
    yield from _elsewhere(sweep, Seeding() if plan is None else plan.seeding)
    if plan is None:
        return
    yield from _forms(plan)
    if plan.seeding == Seeding():
        return
    place = ("seeds", "crossed" if plan.crossed is not None else "vary")
    task = sweep.baseline.task
    if isinstance(task, ForeignSpec):
        text = f"the task {task.name!r} is the user's own training, which is given the seed and decides what it varies"
        yield Issue(place, text, "write a count of seeds", at_key=True)
        return
    if task.name in contributed("task") and hasattr(contributed("task")[task.name], "data"):
        text = f"the task {task.name!r} of a plug-in reads its own data, which is given the seed and nothing else"
        yield Issue(place, text, "write a count of seeds", at_key=True)
    if "split" in plan.seeding.varied:
        yield from _of_splits(sweep, place)
    if plan.crossed is not None:
        yield from _beside_crossed(sweep)


def _elsewhere(sweep: Sweep, ours: Seeding) -> Iterator[Issue]:
    """What a seed decides is the same for all trials of a sweep, and said in one place."""
    hint = "write  seeds: {values: 5, vary: [init, order]}"
    if sweep.baseline.train.seeding != ours and not isinstance(sweep.baseline.task, ForeignSpec):
        yield Issue(("baseline", "train", "seeding"), "what a seed decides is written under `seeds`", hint, at_key=True)
    text = "what a seed decides cannot differ between trials that are compared at equal seeds"
    for path in sorted(touched_paths(sweep)):
        if path != "train" and overlap(path, _FIELD):
            yield Issue(("space", path) if path in sweep.space else ("design",), text, hint, at_key=True)
    for path in sweep.blocks:
        if path != "train" and overlap(path, _FIELD):
            yield Issue(("blocks", path), text, hint, at_key=True)


def _forms(plan: SeedPlan) -> Iterator[Issue]:
    """Which seeds: `values`, `crossed`, or rounds with looks."""
    written = plan.model_fields_set
    forms = [name for name in ("values", "crossed") if getattr(plan, name) is not None]
    looks = [name for name in _OF_LOOKS if name in written]
    if len(forms) == 2:
        hint = "remove one of the two"
        yield Issue(("seeds", "values"), "`crossed` gives the number of seeds itself", hint, at_key=True)
    if forms and looks:
        hint = f"remove `{forms[0]}`, or {', '.join(f'`{name}`' for name in looks)}"
        yield Issue(("seeds", looks[0]), f"has no effect beside `{forms[0]}`: there are no looks", hint, at_key=True)
    if not forms and not looks:
        yield Issue(("seeds",), "does not say how many seeds there are", "write  values: 5")
    if plan.crossed is not None and plan.vary is not None:
        text = "has no effect beside `crossed`, whose sources vary and no others"
        yield Issue(("seeds", "vary"), text, "remove one of the two", at_key=True)


def _of_splits(sweep: Sweep, own: tuple[str, ...]) -> Iterator[Issue]:
    task = sweep.baseline.task
    is_drawn = task.dataset.draws_test_split
    if not task.val_fraction and not is_drawn:
        text = (
            f"`split` would vary nothing: {task.dataset.name} comes with its test split, and no validation split is "
            "held out"
        )
        hint = "hold one out:  task: {val_fraction: 0.1},  or remove `split`"
        yield Issue(own, text, hint, at_key=True)
    if sweep.blocks:
        text = "`split` gives every seed splits of its own, and blocks are trained on theirs with every seed"
        yield Issue(own, text, "remove `blocks`, or `split`", at_key=True)
    for path in sorted(touched_paths(sweep)):
        if any(overlap(path, each) for each in _SPLITS):
            place = ("space", path) if path in sweep.space else ("design",)
            text = "`split` gives every seed splits of its own, the same for all rows, and these have other data"
            yield Issue(place, text, "remove it, or `split` from `seeds`", at_key=True)
    for name in ("retune", "search"):
        if is_drawn and getattr(sweep, name) is not None:
            text = f"with `split` the images that `{name}` chooses by are test images of other seeds"
            hint = f"remove `{name}`, or `split` from `seeds`"
            yield Issue((name,), text, hint, at_key=True)
    for name in ("keep_predictions", "keep_samples"):
        if is_drawn and getattr(sweep, name):
            text = f"`split` gives every seed test images of its own, and `{name}` is for the same ones"
            yield Issue((name,), text, f"remove `{name}`, or `split` from `seeds`", at_key=True)


def _beside_crossed(sweep: Sweep) -> Iterator[Issue]:
    """A crossed design is of the baseline alone: its trainings share levels, so tests that take seeds as independent
    would make false claims."""
    if sweep.space or sweep.design.rows or sweep.search is not None:
        hint = (
            "write  design: factorial  without `space`; beside a comparison, as a study of its own:\n"
            "studies: {compare: {...}, sources: {design: factorial, seeds: {crossed: {init: 4, order: 4}}}}"
        )
        text = "trainings of a crossed design share levels, so they test no rows: it is of the baseline alone"
        yield Issue(("seeds", "crossed"), text, hint, at_key=True)
    for name in ("blocks", "retune", "prune"):
        if getattr(sweep, name):
            text = f"`{name}` has no place beside `seeds.crossed`, which trains the baseline with every combination"
            yield Issue((name,), text, f"remove `{name}`", at_key=True)
    if sweep.analysis.sequential is not None:
        text = "a crossed design tests nothing"
        yield Issue(("analysis", "sequential"), text, "remove `sequential`")
