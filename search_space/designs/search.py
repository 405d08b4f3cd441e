"""Search: an Optuna sampler suggests the variants (see `search_space/variants/suggestion.py`) instead of a design."""

from __future__ import annotations

from collections.abc import Iterator

from search_space.schema.sweep import Sweep
from search_space.settings.candidates import CandidateRow, Issue

__all__ = ["SearchDesign"]


class SearchDesign:
    """Design `search`, the only one with ranges."""

    def issues(self, sweep: Sweep) -> Iterator[Issue]:
        if not sweep.space:
            yield Issue(("space",), "the design 'search' has nothing to search: `space` is empty")
        if sweep.search is None:
            hint = "for example  search: {sampler: tpe, num_trials: 50}"
            yield Issue(("design",), "the design 'search' needs a `search` section", hint)

    def candidates(self, sweep: Sweep) -> Iterator[CandidateRow]:
        yield CandidateRow()

    def count(self, sweep: Sweep) -> int:
        return sweep.num_search_trials
