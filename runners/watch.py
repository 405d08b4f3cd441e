"""`archsweep watch`: a live view of any run directory, read from its files alone.

It needs no driver in its own process: it works from another shell, over ssh, on a run that crashed or ended long ago.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from results import Run, RunStatus, TrialRecord, format_status, run_status
from results.progress import ProgressEvent, UnfinishedTrial
from search_space.visible import visible

__all__ = ["sparkline", "throughput", "watch"]

_RECENT_SECONDS = 900.0
_BLOCKS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
_PLAIN = "_.-=+*#@"  # a terminal without Unicode
_SPARKS = 24
_MOST_FAILURES = 5
_LEAST_SECONDS = 1.0
_SHARE_OF_READING = 0.2  # of the time, at most, a large run is being read


def watch(run_dir: Path, console: Console, *, once: bool = False) -> None:
    """Shows the run until nobody works on it; once where the output is no terminal.

    Raises:
        SpecError: there is no run, or it cannot be read.
    """
    run = Run.open(run_dir)
    if once or not console.is_terminal:
        console.print(_view(run, time.time(), console), soft_wrap=True)
        return
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            live.update(_view(run, time.time(), console), refresh=True)
            if run.driver is None:
                return
            began = time.monotonic()
            time.sleep(_LEAST_SECONDS)
            reading = time.monotonic()
            run = Run.open(run_dir)
            cost = time.monotonic() - reading
            time.sleep(max(0.0, cost / _SHARE_OF_READING - (time.monotonic() - began)))


def sparkline(values: Sequence[float], *, width: int = _SPARKS, letters: str = _BLOCKS) -> str:
    """The values as letters of growing height, at most `width` of them, the last value always among them.

    Equal values stand in the middle; a value that is no number is a blank.
    """
    count = min(width, len(values))
    shown = [values[round(index * (len(values) - 1) / max(1, count - 1))] for index in range(count)]
    shown = shown if count != 1 else [values[-1]]
    finite = [value for value in shown if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)

    def letter(value: float) -> str:
        if not math.isfinite(value):
            return " "
        height = 0.5 if high == low else (value - low) / (high - low)
        return letters[min(len(letters) - 1, int(height * len(letters)))]

    return "".join(map(letter, shown))


def throughput(events: Sequence[ProgressEvent], now: float) -> tuple[float, float]:
    """Trials per hour and epochs per minute, of the last quarter of an hour or since the run began, if that is less."""
    recent = [event for event in events if now - _RECENT_SECONDS <= event.t <= now]
    if not recent:
        return 0.0, 0.0
    seconds = max(1.0, now - min(event.t for event in recent))
    ended = sum(event.event == "end" for event in recent)
    epochs = sum(event.event == "epoch" for event in recent)
    return 3600 * ended / seconds, 60 * epochs / seconds


def _view(run: Run, now: float, console: Console) -> RenderableType:
    status = run_status(run, now=now)
    letters = _BLOCKS if (console.encoding or "").lower().startswith("utf") else _PLAIN
    return Group(*_parts(run, status, now, letters))


def _parts(run: Run, status: RunStatus, now: float, letters: str) -> Iterator[RenderableType]:
    # The running trials get a table of their own.
    lines = [line for line in format_status(status).splitlines() if not line.startswith("  running: ")]
    done, planned = status.num_planned - status.num_missing, status.num_planned
    if status.tuning and status.is_tuning:
        done, planned = status.tuning.num_done, status.tuning.num_planned
    yield Text(lines[0], style="bold")
    bar = Table.grid()
    bar.add_row(ProgressBar(total=max(1, planned), completed=done, width=60))
    yield bar
    yield Text("\n".join(lines[1:]))
    if status.driver is not None:
        trials, epochs = throughput(run.progress, now)
        yield Text(f"  pace: {trials:.3g} trials per hour, {epochs:.3g} epochs per minute")
    if status.running:
        yield Text("")
        yield _running(status, run.plan.metric, now, letters)
    failures = [record for record in run.deciding.values() if record.status == "failed"]
    if failures:
        yield Text("")
        yield from _failures(failures)


def _running(status: RunStatus, metric: str, now: float, letters: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("running", "seed", "epoch", metric, "curve", "for"):
        table.add_column(name, header_style="dim", no_wrap=True, justify="right" if name in ("seed", "for") else "left")
    for trial in status.running:
        values = _curve(trial, metric)
        of = f"/{status.epochs}" if status.epochs else ""
        table.add_row(
            Text(visible(trial.variant)),
            str(trial.seed),
            f"{trial.epoch}{of}",
            f"{values[-1]:.4g}" if values else "",
            Text(sparkline(values, letters=letters) if values else ""),
            f"{max(0.0, now - trial.started):.0f} s",
        )
    return table


def _curve(trial: UnfinishedTrial, metric: str) -> list[float]:
    """What searches and pruners look at: the validation metric where there is one."""
    found = (point.get(f"val_{metric}", point.get(metric)) for point in trial.curve)
    return [value for value in found if value is not None]


def _failures(failures: Sequence[TrialRecord]) -> Iterator[RenderableType]:
    for record in failures[-_MOST_FAILURES:]:
        reason = ""
        if record.failure:
            first = (record.failure.message.strip().splitlines() or [""])[0]
            reason = f"{record.failure.type}: {first}"
        yield Text(f"failed: {visible(record.variant)}, seed {record.seed}: {visible(reason)}", style="red")
    if len(failures) > _MOST_FAILURES:
        yield Text(f"and {len(failures) - _MOST_FAILURES} more; archsweep ls RUN --filter \"status == 'failed'\"")
