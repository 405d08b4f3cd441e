"""Leave-one-out design: every component on, then one off at a time; the contribution of each to the full model."""

from __future__ import annotations

from collections.abc import Iterator

from search_space.designs.components import component_candidate, component_issues, components_of, num_placebos, placebos
from search_space.schema.sweep import Sweep
from search_space.settings.candidates import CandidateRow, Issue

__all__ = ["LeaveOneOut"]


class LeaveOneOut:
    """Design `leave_one_out`; the reference variant is `full`, not the baseline as written."""

    def issues(self, sweep: Sweep) -> Iterator[Issue]:
        return component_issues(sweep)

    def candidates(self, sweep: Sweep) -> Iterator[CandidateRow]:
        full = dict.fromkeys(components_of(sweep), True)
        yield component_candidate(sweep, full, "full")
        for name in full:
            yield component_candidate(sweep, full | {name: False}, f"- {name}")
            yield from placebos(sweep, name, full, f"- {name} (placebo)")

    def count(self, sweep: Sweep) -> int:
        return 1 + len(sweep.space) + num_placebos(sweep)
