"""Cumulative design: every component off, then each variant adds the next component of the file."""

from __future__ import annotations

from collections.abc import Iterator

from search_space.designs.components import component_candidate, component_issues, components_of, num_placebos, placebos
from search_space.schema.sweep import Sweep
from search_space.settings.candidates import CandidateRow, Issue

__all__ = ["Cumulative"]


class Cumulative:
    """Design `cumulative`: file order decides on top of which others a component is added.

    A variant's name lists all components that are on, because a name states the difference to the baseline.
    """

    def issues(self, sweep: Sweep) -> Iterator[Issue]:
        return component_issues(sweep)

    def candidates(self, sweep: Sweep) -> Iterator[CandidateRow]:
        states = dict.fromkeys(components_of(sweep), False)
        yield component_candidate(sweep, states, "baseline")
        for name in tuple(states):
            states = states | {name: True}
            shown = " ".join(f"+ {on}" for on, is_on in states.items() if is_on)
            yield component_candidate(sweep, states, shown)
            yield from placebos(sweep, name, states, f"{shown} (placebo)")

    def count(self, sweep: Sweep) -> int:
        return 1 + len(sweep.space) + num_placebos(sweep)
