"""Full factorial design: the baseline, then every combination of all values."""

from __future__ import annotations

import math
from collections.abc import Iterator

from search_space.schema.sweep import Sweep
from search_space.settings.candidates import CandidateRow, Issue, count_combinations, lazy_product, unfold

__all__ = ["Factorial"]


class Factorial:
    """Design `factorial`; the parameters of a choice are combined within that choice only."""

    def issues(self, sweep: Sweep) -> Iterator[Issue]:
        return iter(())

    def candidates(self, sweep: Sweep) -> Iterator[CandidateRow]:
        yield CandidateRow()
        for values in lazy_product([lambda key=key: unfold(sweep, key) for key in sweep.space]):
            yield CandidateRow(values)

    def count(self, sweep: Sweep) -> int:
        return 1 + math.prod(count_combinations(sweep.parameter_choices(key)) for key in sweep.space)
