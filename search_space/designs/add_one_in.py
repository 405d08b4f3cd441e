"""`add_one_in`: everything off, then one component on at a time - what each brings on its own."""

from __future__ import annotations

from collections.abc import Iterator

from search_space.designs.components import component_complaints, component_draft, components_of
from search_space.schema.sweep import Sweep
from search_space.settings.candidates import Complaint, Draft

__all__ = ["AddOneIn"]


class AddOneIn:
    """The reference row is the baseline with every component off."""

    def complaints(self, sweep: Sweep) -> Iterator[Complaint]:
        return component_complaints(sweep)

    def drafts(self, sweep: Sweep) -> Iterator[Draft]:
        none = dict.fromkeys(components_of(sweep), False)
        yield component_draft(sweep, none, "baseline")
        for name in none:
            yield component_draft(sweep, none | {name: True}, f"+ {name}")

    def count(self, sweep: Sweep) -> int:
        return 1 + len(sweep.space)
