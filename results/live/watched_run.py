"""A run whose pages are open: its state, its table and its figures, each read or made again once its files changed.

The state is read by a `RunFollower`, which reads only what was appended. Table and figures need whole records; they are
made from the ledger again, in the background, and only their HTML is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from markupsafe import Markup

from results.exporters.html import fragment
from results.live.file_tail import file_stamp
from results.live.found_runs import FoundRun
from results.live.remade import Remade, Workers
from results.live.run_state import RunState, state_of
from results.report.document import Subject, sections_of_run
from results.report.section import Section
from results.report.trials import trial_sections
from results.store.driver_lock import running_driver
from results.store.ledger import gc_paused
from results.store.links import refuse_linked_sources
from results.store.run import Run
from results.store.run_follower import RunFollower
from results.table.merge import table_of_runs

__all__ = ["Subjects", "TableView", "WatchedRun"]

Subjects = Callable[[Run], Subject]
"""Makes a run the subject of a report, with the importances of its parameters."""

_MOST_ROWS = 500
_SECONDS = 15  # after which the time left of a running sweep is estimated again, if nothing was written
_NEEDS_CURVES = "pruned"  # the list of pruned trials shows the ends of curves


@dataclass(frozen=True)
class TableView:
    """The ablation table and the lists of trials outside every mean, as HTML.

    Attributes:
        num_records: number of records of the ledger that it was made from.
    """

    table: Markup
    sections: tuple[Section, ...]
    num_records: int


class WatchedRun:
    """The views of one run."""

    def __init__(
        self, found: FoundRun, subjects: Subjects, *, readers: Workers, makers: Workers, drawers: Workers
    ) -> None:
        self.found = found
        self._subjects = subjects
        self._follower = RunFollower(found.files)
        self.state: Remade[RunState] = Remade(self._state_stamp, self._look, readers)
        self.table: Remade[TableView] = Remade(self._stamp, self._table, makers)
        self.figures: Remade[tuple[Section, ...]] = Remade(self._stamp, self._figures, drawers)

    def open(self, *, curves: bool) -> Run:
        """The whole run, now.

        Raises:
            SpecError: it cannot be read, or one of its files is a link that leads out of it.
        """
        refuse_linked_sources(self.found.files)
        with gc_paused():
            return Run.open(self.found.files, curves=curves)

    def subject(self) -> Subject:
        """The whole run as the subject of a report.

        Raises:
            SpecError: as `open`.
        """
        return self._subjects(self.open(curves=True))

    def plan_version(self) -> str:
        """Changes with the plan and with the report that was written into the run."""
        return f"{file_stamp(self.found.files.plan)} {file_stamp(self.found.files.report)}"

    def _stamp(self) -> Hashable:
        files = self.found.files
        return file_stamp(files.plan), file_stamp(files.ledger)

    def _state_stamp(self) -> Hashable:
        files = self.found.files
        driver = running_driver(files)
        tick = int(time.time() / _SECONDS) if driver else 0
        return self._stamp(), file_stamp(files.progress), driver, tick

    def _look(self) -> RunState:
        refuse_linked_sources(self.found.files)
        state = state_of(self._follower.look(), now=time.time())
        if state.run.driver is None:  # nothing is appended any more, so nothing need be remembered for it
            self._follower = RunFollower(self.found.files)
        return state

    def _table(self) -> TableView:
        run = self.open(curves=False)
        table = table_of_runs([run])
        sections = tuple(each for each in trial_sections(table) if each.key != _NEEDS_CURVES)
        return TableView(fragment(table, most_rows=_MOST_ROWS), sections, len(run.records))

    def _figures(self) -> tuple[Section, ...]:
        subject = self.subject()
        made = sections_of_run(subject, table_of_runs([subject.run]))
        pruned = tuple(each for each in made.trials if each.key == _NEEDS_CURVES)
        return (*made.analyses, *made.drawn, *pruned, *made.about)
