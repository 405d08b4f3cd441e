"""Progress display of a running sweep: a live view on a terminal, HTML in a notebook, one line per finished trial
elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from results import RecordSummary, TrialRecord
from runners.display.notebook import NotebookView, in_notebook
from runners.display.tally import Count, Tally
from runners.trials.assignment import Assignment, Place
from runners.trials.objectives import objective
from search_space.parsing.visible import visible

__all__ = ["LiveView", "TrialLines", "progress_view"]


class TrialLines:
    """Observer for logs and pipes: one line per finished trial."""

    def __init__(self, console: Console, *, planned: Count, earlier: Mapping[str, RecordSummary], metric: str) -> None:
        self._console = console
        self._tally = Tally(planned, earlier, metric)

    def on_trial_start(self, assignment: Assignment) -> None:
        pass

    def on_trial_placed(self, assignment: Assignment, place: Place) -> None:
        pass

    def on_epoch_end(self, assignment: Assignment, metrics: Mapping[str, float]) -> None:
        pass

    def on_trial_end(self, assignment: Assignment, record: TrialRecord) -> None:
        self._tally.end(record)
        tally = self._tally
        width = len(str(tally.planned))
        parts = [f"[{tally.done:{width}}/{tally.planned}]", f"{record.status:9}", record.variant, f"seed={record.seed}"]
        if record.status == "completed":
            parts.append(f"{tally.name(record.metrics)}={tally.show(tally.value(record))}")
        elif record.failure:
            first = record.failure.message.strip().partition("\n")[0]
            parts.append(f"{record.failure.type}: {first}")
        else:
            parts.append(f"after epoch {record.epochs}" if record.epochs else "not started: given up after other seeds")
        if record.total_seconds:
            parts.append(f"{record.total_seconds:.1f} s")
        self._console.print("  ".join(map(visible, parts)), highlight=False, markup=False, soft_wrap=True)


class LiveView:
    """Observer for terminals: progress bar, counts, best trial, time left, and the trial of every worker."""

    def __init__(
        self,
        console: Console,
        *,
        title: str,
        planned: Count,
        earlier: Mapping[str, RecordSummary],
        metric: str,
    ) -> None:
        self._tally = Tally(planned, earlier, metric)
        self._title = title
        self._running: dict[str, tuple[int, Assignment, Mapping[str, float]]] = {}
        self._live = Live(
            console=console, get_renderable=self._render, refresh_per_second=4,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip

    def __enter__(self) -> LiveView:
        self._live.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.__exit__(None, None, None)

    def on_trial_start(self, assignment: Assignment) -> None:
        taken = {slot for slot, _, _ in self._running.values()}
        slot = next(number for number in range(len(taken) + 1) if number not in taken)
        if assignment.trained_by in self._running:  # measured by the worker that trains
            slot = self._running[assignment.trained_by][0]
        self._running = {**self._running, assignment.trial_id: (slot, assignment, {})}

    def on_trial_placed(self, assignment: Assignment, place: Place) -> None:
        pass

    def on_epoch_end(self, assignment: Assignment, metrics: Mapping[str, float]) -> None:
        slot = self._running[assignment.trial_id][0]
        self._running = {**self._running, assignment.trial_id: (slot, assignment, dict(metrics))}

    def on_trial_end(self, assignment: Assignment, record: TrialRecord) -> None:
        self._tally.end(record)
        self._running = {key: value for key, value in self._running.items() if key != assignment.trial_id}

    def _render(self) -> Group:
        # Called from rich's refresh thread: it reads immutable snapshots, which the driver thread replaces as a whole.
        tally, running = self._tally, self._running
        head = Table.grid(padding=(0, 1))
        head.add_row(
            Text(self._title, style="bold"),
            ProgressBar(total=max(1, tally.planned), completed=tally.done, width=30),
            f"{tally.done}/{tally.planned} trials",
            tally.time_left,
        )
        lines = [head, Text("  ".join(tally.count_texts(len(running))))]
        if tally.best:
            lines.append(Text(tally.best_text))
        if running:
            lines.append(self._workers(running))
        return Group(*lines)

    def _workers(self, running: Mapping[str, tuple[int, Assignment, Mapping[str, float]]]) -> Table:
        table = Table(box=None, padding=(0, 2), header_style="dim")
        names = {self._tally.name(metrics) for _, _, metrics in running.values() if metrics}
        # Variants with and without a validation split may run side by side: then each value has its name.
        title = names.pop() if len(names) == 1 else self._tally.metric.name
        for column in ("worker", "variant", "seed", "epoch", title):
            table.add_column(column, no_wrap=True, overflow="ellipsis")
        for slot, assignment, metrics in sorted(running.values(), key=lambda entry: entry[0]):
            last = assignment.spec.num_epochs
            epoch = f"{int(metrics.get('epoch', 0))}" + (f"/{last}" if last else "")
            value = self._tally.show(objective(metrics, self._tally.metric.name))
            value = f"{self._tally.name(metrics)} {value}" if names and value else value
            table.add_row(str(slot), Text(visible(assignment.variant.name)), str(assignment.spec.seed), epoch, value)
        return table


@contextmanager
def progress_view(
    console: Console, *, title: str, planned: Count, earlier: Mapping[str, RecordSummary], metric: str
) -> Iterator[LiveView | NotebookView | TrialLines]:
    """The observer that suits the console: a live view on a terminal, HTML in a notebook, lines elsewhere.

    Args:
        planned: trials that the sweep asks for.
        earlier: trial id -> summary of trials that have a record already.
    """
    if in_notebook():
        with NotebookView(title=title, planned=planned, earlier=earlier, metric=metric) as view:
            yield view
    elif not console.is_terminal:
        yield TrialLines(console, planned=planned, earlier=earlier, metric=metric)
    else:
        with LiveView(console, title=title, planned=planned, earlier=earlier, metric=metric) as view:
            yield view
