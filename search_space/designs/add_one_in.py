"""Add-one-in design: every component off, then one on at a time; the effect of each component on its own."""

from __future__ import annotations

from collections.abc import Iterator

from search_space.designs.components import component_candidate, component_issues, components_of, num_placebos, placebos
from search_space.schema.sweep import Sweep
from search_space.settings.candidates import CandidateRow, Issue

__all__ = ["AddOneIn"]


class AddOneIn:
    """Design `add_one_in`; the reference variant is the baseline with every component off."""

    def issues(self, sweep: Sweep) -> Iterator[Issue]:
        return component_issues(sweep)

    def candidates(self, sweep: Sweep) -> Iterator[CandidateRow]:
        none = dict.fromkeys(components_of(sweep), False)
        yield component_candidate(sweep, none, "baseline")
        for name in none:
            added = none | {name: True}
            yield component_candidate(sweep, added, f"+ {name}")
            yield from placebos(sweep, name, added, f"+ {name} (placebo)")

    def count(self, sweep: Sweep) -> int:
        return 1 + len(sweep.space) + num_placebos(sweep)
