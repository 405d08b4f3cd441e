"""Progress of a running sweep in a notebook: one output of HTML that replaces itself.

rich's own live display needs ipywidgets in a notebook and prints a warning without it; HTML needs the kernel alone, and
an executed notebook keeps its last state.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from html import escape
from typing import Any

from results import RecordSummary, TrialRecord
from runners.display.tally import Count, Tally
from runners.trials.assignment import Assignment, Place
from search_space.parsing.visible import visible

__all__ = ["NotebookView", "in_notebook"]

_SECONDS = 0.5  # between two updates: a browser redraws each
_MOST_RUNNING = 16


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook; IPython is not imported for the answer."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")


class NotebookView:
    """Observer for notebooks: progress bar, counts, best trial, time left, and the running trials."""

    def __init__(self, *, title: str, planned: Count, earlier: Mapping[str, RecordSummary], metric: str) -> None:
        self._tally = Tally(planned, earlier, metric)
        self._title = title
        self._running: dict[str, tuple[Assignment, Mapping[str, float]]] = {}
        self._handle: Any = None
        self._shown = 0.0

    def __enter__(self) -> NotebookView:
        from IPython.display import HTML, display  # the kernel has imported it

        self._handle = display(HTML(self.html()), display_id=True)
        return self

    def __exit__(self, *exception: object) -> None:
        self._running = {}
        self._show(at_once=True)

    def on_trial_start(self, assignment: Assignment) -> None:
        self._running[assignment.trial_id] = (assignment, {})
        self._show()

    def on_trial_placed(self, assignment: Assignment, place: Place) -> None:
        pass

    def on_epoch_end(self, assignment: Assignment, metrics: Mapping[str, float]) -> None:
        self._running[assignment.trial_id] = (assignment, dict(metrics))
        self._show()

    def on_trial_end(self, assignment: Assignment, record: TrialRecord) -> None:
        self._tally.end(record)
        self._running.pop(assignment.trial_id, None)
        self._show()

    def html(self) -> str:
        """The present state. Names are text, never markup."""
        tally = self._tally
        counts = "  ".join(tally.count_texts(len(self._running)))
        lines = [
            f"<b>{_text(self._title)}</b> "
            f'<progress max="{max(1, tally.planned)}" value="{tally.done}"></progress> '
            f"{tally.done}/{tally.planned} trials {tally.time_left}".rstrip(),
            _text(counts),
            *([_text(tally.best_text)] if tally.best else []),
        ]
        lines += [_text(self._line(*entry)) for entry in list(self._running.values())[:_MOST_RUNNING]]
        if len(self._running) > _MOST_RUNNING:
            lines.append(f"and {len(self._running) - _MOST_RUNNING} more")
        return f"<div>{'<br>'.join(lines)}</div>"

    def _line(self, assignment: Assignment, metrics: Mapping[str, float]) -> str:
        epoch = f"epoch {int(metrics.get('epoch', 0))}/{assignment.spec.train.epochs}"
        value = self._tally.measured(metrics)
        shown = f", {self._tally.name(metrics)} {self._tally.show(value)}" if value is not None else ""
        return f"running: {assignment.variant.name}, seed {assignment.spec.seed}, {epoch}{shown}"

    def _show(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if not at_once and now - self._shown < _SECONDS:
            return
        from IPython.display import HTML

        self._shown = now
        if self._handle is not None:
            self._handle.update(HTML(self.html()))


def _text(words: str) -> str:
    return escape(visible(words))
