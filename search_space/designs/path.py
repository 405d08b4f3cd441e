"""Path design: from no component to all, the best one added at each step, and judged on seeds that did not choose it.

    design: path                                              half of the seeds choose, the others judge
    design: {name: path, choosing_seeds: 3, compare: false}   the first 3 choose; only the path is judged

Source:  Fawcett & Hoos, Analysing differences between algorithm configurations through ablation (Journal of Heuristics
         22, 2016): a path between two configurations on which each step makes the change that gains most.
Differs: steps are chosen and judged on different seeds, because the best of several noisy gains is too large at the
         seeds that made it the best.

Every combination is a variant, because any of them may be on the path. Which are trained follows from the results, a
step at a time (`results/table/asked/path.py`). The reference is the variant with every component off.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from search_space.designs.components import component_candidate, component_issues, components_of, idle_components
from search_space.designs.shapley import coalition_name
from search_space.schema.parameters import Range
from search_space.schema.sweep import Sweep
from search_space.settings.candidates import CandidateRow, Issue

__all__ = ["GreedyPath", "choosing_seeds"]

_FEWEST, _MOST = 2, 6


class GreedyPath:
    """Design `path`: every combination of components by its size, those of one size in file order."""

    def issues(self, sweep: Sweep) -> Iterator[Issue]:
        found = list(component_issues(sweep))
        yield from found
        if sweep.space and not _FEWEST <= len(sweep.space) <= _MOST:
            yield _of_their_number(len(sweep.space))
        elif not found and not any(isinstance(each, Range) for each in sweep.space.values()):
            yield from idle_components(sweep, "gain")
        yield from _of_seeds(sweep)
        yield from _beside_results(sweep)

    def candidates(self, sweep: Sweep) -> Iterator[CandidateRow]:
        names = tuple(components_of(sweep))
        for size in range(len(names) + 1):
            for on in itertools.combinations(names, size):
                yield component_candidate(sweep, {name: name in on for name in names}, coalition_name(on))

    def count(self, sweep: Sweep) -> int:
        return 2 ** len(sweep.space)


def choosing_seeds(sweep: Sweep) -> tuple[int, ...]:
    """The seeds of a sweep of this design that choose the steps; the others judge them."""
    given = sweep.design.choosing_seeds
    return sweep.seeds[: max(1, len(sweep.seeds) // 2) if given is None else given]


def _of_their_number(num: int) -> Issue:
    if num < _FEWEST:
        return Issue(("space",), "a path has steps to choose between, but there is one component", "add another one")
    message = f"a path has up to {_MOST} components, but got {num}: every combination of them is a variant"
    hint = (
        "let one component set several paths, as in  space: {recipe: {off: {...}, on: {train.mixup: 0.2, ...}}},\n"
        "or leave out those that a  design: add_one_in  shows to do nothing"
    )
    return Issue(("space",), message, hint)


def _of_seeds(sweep: Sweep) -> Iterator[Issue]:
    given, num = sweep.design.choosing_seeds, len(sweep.seeds)
    if sweep.rounds is not None:
        hint = "write a count of seeds, or compare rows: one_factor, leave_one_out, add_one_in, cumulative, list, zip"
        yield Issue(("seeds",), "a path has no looks: which rows get further seeds is decided by its steps", hint)
    elif num < 2:
        message = "a path needs a seed to choose its steps and another one to judge them, but got one seed"
        yield Issue(("seeds",), message, "write  seeds: 6:  three seeds to judge are the fewest with a test")
    elif given is not None and given >= num:
        message = f"{given} of {num} seeds choose, so that none is left to judge what they chose"
        hint = f"write at most {num - 1}, or more `seeds`; three seeds to judge are the fewest with a test"
        yield Issue(("design", "choosing_seeds"), message, hint)


def _beside_results(sweep: Sweep) -> Iterator[Issue]:
    """Sections that decide by results, too, or that need every row."""
    sections = {
        "prune": (sweep.prune, "a candidate that is stopped early has no value to be chosen by"),
        "retune": (sweep.retune, "every combination would be tuned, and a path trains few of them"),
    }
    for name, (section, reason) in sections.items():
        if section is not None:
            message = f"`{name}` does not go together with the design 'path': {reason}"
            yield Issue((name,), message, f"remove `{name}`, or choose another design", at_key=True)
    if sweep.blocks:
        message = "the design 'path' has no blocks here: each block would have a path of its own"
        yield Issue(("blocks",), message, "choose another design, or one block for each run", at_key=True)
    if sweep.analysis.sequential is not None:
        message = "a path tests each step once, on all of its judging seeds"
        yield Issue(("analysis", "sequential"), message, "remove `sequential`")
