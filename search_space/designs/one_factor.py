"""One-factor-at-a-time design: the baseline, then one change at a time; the cheapest comparison of changes."""

from __future__ import annotations

from collections.abc import Iterator

from search_space.schema.sweep import Sweep
from search_space.settings.candidates import CandidateRow, Issue, count_one_at_a_time, unfold_one_at_a_time

__all__ = ["OneFactor"]


class OneFactor:
    """Design `one_factor`; a choice takes the first values of its own parameters, which then change one at a time."""

    def issues(self, sweep: Sweep) -> Iterator[Issue]:
        return iter(())

    def candidates(self, sweep: Sweep) -> Iterator[CandidateRow]:
        yield CandidateRow()
        for key in sweep.space:
            for values in unfold_one_at_a_time(sweep, key):
                yield CandidateRow(values)

    def count(self, sweep: Sweep) -> int:
        return 1 + sum(count_one_at_a_time(sweep.parameter_choices(key)) for key in sweep.space)
