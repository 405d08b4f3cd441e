"""`factorial`: every combination of every value - the full grid, the baseline before it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from search_space.schema.sweep import Sweep
from search_space.settings.candidates import CandidateRow, Issue, count_combinations, lazy_product, unfold

__all__ = ["Factorial"]


class Factorial:
    """Parameters that belong to a choice are multiplied out inside that choice only."""

    def issues(self, sweep: Sweep) -> Iterator[Issue]:
        return iter(())

    def candidates(self, sweep: Sweep) -> Iterator[CandidateRow]:
        yield CandidateRow()
        for values in lazy_product([lambda key=key: unfold(sweep, key) for key in sweep.space]):
            yield CandidateRow(values)

    def count(self, sweep: Sweep) -> int:
        return 1 + math.prod(count_combinations(sweep.parameter_choices(key)) for key in sweep.space)
