"""Layout of `archsweep watch`: the state of a run, for a terminal of any width.

A function of the run alone, so that it can be tested without a terminal and independently of reading.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from results import Run, RunStatus, RunSummary, format_status, run_status
from results.store.progress import UnfinishedTrial
from results.views.pace import pace_line
from runners.machine.gpus import GpuInfo
from runners.trials.objectives import objective, objective_name
from search_space.parsing.visible import visible

__all__ = ["BLOCKS", "PLAIN", "Screen", "sparkline", "view"]

_Run = Run | RunSummary
_MOST_FAILURES = 5
_NARROW = 80
_LONGEST_BAR = 60
_EPOCH_BAR = 8
_LONGEST_CURVE = 24
_MIB_PER_GIB = 1024


@dataclass(frozen=True)
class Screen:
    """Size of the terminal in columns and lines (None: unlimited), and whether it can show Unicode."""

    width: int
    height: int | None = None
    has_unicode: bool = True


def view(run: _Run, screen: Screen, *, now: float, gpus: Sequence[GpuInfo] = (), host: str = "") -> RenderableType:
    """View of the run at the time `now` (seconds since 1970); `gpus` are those of this machine, named `host`."""
    return Group(*_parts(run, screen, now, gpus, host))


def _parts(run: _Run, screen: Screen, now: float, gpus: Sequence[GpuInfo], host: str) -> Iterator[RenderableType]:
    status = run_status(run, now=now)
    # Trials get a table of their own.
    head, *lines = [line for line in format_status(status).splitlines() if not line.startswith("  running: ")]
    done, planned = status.num_planned - status.num_missing, status.num_planned
    if status.tuning and status.is_tuning:
        done, planned = status.tuning.num_done, status.tuning.num_planned
    yield Text(head, style="bold")
    bar = Table.grid()
    bar.add_row(ProgressBar(total=max(1, planned), completed=done, width=min(_LONGEST_BAR, screen.width)))
    yield bar
    if status.driver is not None:
        lines.append(f"  {pace_line(run.progress, now)}")
    lines += _gpus_in_use(status)
    for line in lines:
        # Long lines wrap with the same indentation.
        yield Padding(Text(line.strip()), (0, 0, 0, 2), expand=False)
    trials = status.running
    if status.driver is None:
        trials = tuple(trial for trial in run.unfinished if not trial.has_ended)
        yield from _crash(trials, now)
    yield from _trials(trials, run, screen, now)
    yield from _gpus(gpus, host, status, screen)
    yield from _failures(run)


def _crash(trials: Sequence[UnfinishedTrial], now: float) -> Iterator[RenderableType]:
    """Message for a crashed driver: an orderly one records an end event for every trial."""
    if not trials:
        return
    number = "1 trial was" if len(trials) == 1 else f"{len(trials)} trials were"
    latest = _duration(max(0.0, now - max(trial.last_seen for trial in trials)))
    text = f"the driver died while {number} running; its last progress event is {latest} old"
    yield Padding(Text(text, style="red"), (0, 0, 0, 2), expand=False)


def _trials(trials: Sequence[UnfinishedTrial], run: _Run, screen: Screen, now: float) -> Iterator[RenderableType]:
    if not trials:
        return
    is_narrow = screen.width < _NARROW
    most = len(trials)
    if screen.height is not None:  # half of the screen; the other half is for the parts above and below
        most = max(3, screen.height // (4 if is_narrow else 2))
    yield Text("")
    yield _stacked(trials[:most], run, screen, now) if is_narrow else _table(trials[:most], run, screen, now)
    if len(trials) > most:
        yield Text(f"and {len(trials) - most} more")


def _table(trials: Sequence[UnfinishedTrial], run: _Run, screen: Screen, now: float) -> Table:
    """Table with one line per trial; long names are wrapped, not truncated."""
    curve = min(_LONGEST_CURVE, screen.width // 6)
    has_places = any(trial.gpus for trial in trials) or len({trial.worker for trial in trials}) > 1
    title = "running" if run.driver is not None else "interrupted"
    columns = [
        title,
        "seed",
        "epoch",
        "",
        _shown_metric(trials, run),
        "curve",
        "for" if run.driver is not None else "after",
    ]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in columns + (["on"] if has_places else []):
        justify: Any = "right" if name in ("seed", "for", "after") else "left"
        table.add_column(name, no_wrap=name not in (title, "on"), overflow="fold", justify=justify)
    for trial in trials:
        bar, epoch, value, line, seconds = _cells(trial, run, screen, now, curve)
        place = [Text(visible(trial.place))] if has_places else []
        table.add_row(Text(visible(trial.variant)), str(trial.seed), bar, epoch, value, line, seconds, *place)
    return table


def _stacked(trials: Sequence[UnfinishedTrial], run: _Run, screen: Screen, now: float) -> RenderableType:
    """List with several lines per trial, for narrow terminals."""
    title = "running" if run.driver is not None else "interrupted"
    shown: list[RenderableType] = [Text(f"{title}:", style="dim")]
    for trial in trials:
        row = Table.grid(padding=(0, 1, 0, 0))
        for _ in range(5):
            row.add_column(no_wrap=True)
        row.add_row(*_cells(trial, run, screen, now, max(4, screen.width - 34)))
        place = f", {trial.place}" if trial.gpus else ""
        shown.append(Text(visible(f"{trial.variant}, seed {trial.seed}{place}")))
        shown.append(Padding(row, (0, 0, 0, 2), expand=False))
    return Group(*shown)


def _cells(
    trial: UnfinishedTrial, run: _Run, screen: Screen, now: float, curve: int
) -> tuple[RenderableType, str, str, Text, str]:
    """Cells of a trial: bar and number of epochs, latest value, curve, duration."""
    values = _curve(trial, run.plan.metric)
    epochs = run.plan.epochs
    bar = ProgressBar(total=epochs, completed=trial.epoch, width=_EPOCH_BAR) if epochs else ""
    until = now if run.driver is not None else trial.last_seen
    return (
        bar,
        f"{trial.epoch}/{epochs}" if epochs else str(trial.epoch),
        f"{values[-1]:.4g}" if values else "",
        Text(sparkline(values, width=curve, letters=BLOCKS if screen.has_unicode else PLAIN)),
        _duration(max(0.0, until - trial.started)),
    )


def _curve(trial: UnfinishedTrial, metric: str) -> list[float]:
    """Values that searches and pruners use: the validation metric where there is one."""
    found = (objective(point, metric) for point in trial.curve)
    return [value for value in found if value is not None]


def _shown_metric(trials: Sequence[UnfinishedTrial], run: _Run) -> str:
    """Name of the latest values of the trials, by their split; of both splits where trials differ."""
    names = dict.fromkeys(objective_name(trial.curve[-1], run.plan.metric) for trial in trials if trial.curve)
    return " or ".join(sorted(names, key=len)) or run.plan.metric


def _gpus_in_use(status: RunStatus) -> Iterator[str]:
    """GPUs in use on all nodes, as reported by the trials' place events."""
    used: dict[str, set[str]] = {}
    for trial in status.running:
        used.setdefault(trial.worker, set()).update(trial.gpus)
    number = sum(map(len, used.values()))
    if number:
        nodes = "; ".join(f"{visible(host)}: {visible(_listed(ids))}" for host, ids in sorted(used.items()) if ids)
        yield f"  GPUs in use: {number} ({nodes})"


def _listed(ids: set[str]) -> str:
    return ", ".join(sorted(ids, key=lambda name: (not name.isdigit(), len(name), name)))


def _gpus(gpus: Sequence[GpuInfo], host: str, status: RunStatus, screen: Screen) -> Iterator[RenderableType]:
    """Table of this machine's GPUs, including use by other processes, which may fill the memory."""
    if not gpus:
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in ("GPU here", "", "memory", "busy", "trials"):
        table.add_column(
            name, no_wrap=name != "trials", overflow="fold", justify="right" if name in ("memory", "busy") else "left"
        )
    for gpu in gpus:
        names = [
            f"{trial.variant} seed {trial.seed}"
            for trial in status.running
            if trial.worker == host and any(map(gpu.is_called, trial.gpus))
        ]
        busy = "" if gpu.utilisation is None else f"{gpu.utilisation:.0f} %"
        bar: RenderableType = ""
        memory = ""
        if gpu.used_mib is not None and gpu.total_mib:
            bar = ProgressBar(total=gpu.total_mib, completed=gpu.used_mib, width=_EPOCH_BAR)
            memory = f"{gpu.used_mib / _MIB_PER_GIB:.1f}/{gpu.total_mib / _MIB_PER_GIB:.0f} GiB"
        label = gpu.index if screen.width < _NARROW else f"{gpu.index} {gpu.name}"
        table.add_row(Text(visible(label)), bar, memory, busy, Text(visible(", ".join(names))))
    yield Text("")
    yield table


def _failures(run: _Run) -> Iterator[RenderableType]:
    failures = [record for record in run.deciding.values() if record.status == "failed"]
    if failures:
        yield Text("")
    for record in failures[-_MOST_FAILURES:]:
        reason = ""
        if record.failure:
            first = (record.failure.message.strip().splitlines() or [""])[0]
            reason = f"{record.failure.type}: {first}"
        yield Text(f"failed: {visible(record.variant)}, seed {record.seed}: {visible(reason)}", style="red")
    if len(failures) > _MOST_FAILURES:
        yield Text(f"and {len(failures) - _MOST_FAILURES} more; archsweep ls RUN --filter \"status == 'failed'\"")


def _duration(seconds: float) -> str:
    """Duration as text: `42 s`, `7 min`, `3 h 05 min`, `2 d 4 h`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


BLOCKS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
PLAIN = "_.-=+*#@"
"""Letters of a sparkline for a terminal without Unicode."""
_WIDTH = 24


def sparkline(values: Sequence[float], *, width: int = _WIDTH, letters: str = BLOCKS) -> str:
    """Sparkline of the values: at most `width` letters of growing height, the last value always included.

    Equal values have half the height; a value that is not finite is a blank.
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
