"""`search`: an Optuna sampler proposes the trials (see `search_space/suggestion.py`); there is nothing to enumerate."""

from __future__ import annotations

from collections.abc import Iterator

from search_space.schema.sweep import Sweep
from search_space.settings.candidates import Complaint, Draft

__all__ = ["SearchDesign"]


class SearchDesign:
    """The only design with ranges."""

    def complaints(self, sweep: Sweep) -> Iterator[Complaint]:
        if not sweep.space:
            yield Complaint(("space",), "the design 'search' has nothing to search: `space` is empty")
        if sweep.search is None:
            hint = "for example  search: {sampler: tpe, num_trials: 50}"
            yield Complaint(("design",), "the design 'search' needs a `search` section", hint)

    def drafts(self, sweep: Sweep) -> Iterator[Draft]:
        yield Draft()

    def count(self, sweep: Sweep) -> int:
        return sweep.num_search_trials
