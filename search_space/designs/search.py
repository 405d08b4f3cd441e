"""`search`: an Optuna sampler proposes the trials (see `search_space/suggestion.py`); there is nothing to enumerate."""

from __future__ import annotations

from collections.abc import Iterator

from search_space.drafts import Complaint, Draft
from search_space.sweep import Sweep

__all__ = ["SearchDesign"]


class SearchDesign:
    """The only design with ranges."""

    def complaints(self, sweep: Sweep) -> Iterator[Complaint]:
        if not sweep.space:
            yield Complaint(("space",), "the design 'search' has nothing to search: `space` is empty")
        if sweep.search is None:
            hint = "for example  search: {sampler: tpe, num_trials: 50}"
            yield Complaint(("design",), "the design 'search' needs a `search` section", hint)
        if len(sweep.seeds) != 1:
            message = f"a search trains every suggestion with one seed, but got {len(sweep.seeds)} seeds"
            hint = "write  seeds: 1  and confirm the best suggestions in a sweep with  design: list  and more seeds"
            yield Complaint(("seeds",), message, hint)

    def drafts(self, sweep: Sweep) -> Iterator[Draft]:
        yield Draft()

    def count(self, sweep: Sweep) -> int:
        return sweep.search.num_trials if sweep.search else 0
