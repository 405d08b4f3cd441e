"""The list of all trials of a run, in pages: by their state, their variant, or their value."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from results.live.overview import Query
from results.live.part import Part, page
from results.live.run_state import RunState
from results.live.watched_run import WatchedRun
from results.markup.html_templates import render
from search_space.parsing.visible import visible

__all__ = ["trials_page", "trials_part"]

_PER_PAGE = 100
_COLUMNS = ("variant", "seed", "status", "value", "finished")


@dataclass(frozen=True)
class _Line:
    """One trial of the list; `value` is of the metric, None where it has none."""

    key: str
    variant: str
    seed: int
    status: str
    value: float | None
    finished: str
    reason: str


def trials_page(run: WatchedRun, state: RunState, query: Query) -> str:
    """The whole page."""
    trail = [("all runs", "/"), (visible(run.found.name), f"/run/{run.found.key}")]
    statuses = Counter(line.status for line in _lines(state))
    head = render("live/assets/trials_head.html.j2", query=query, statuses=sorted(statuses))
    title = f"Trials of {visible(run.found.name)}"
    return page(title, f"/run/{run.found.key}/trials", [trials_part(run, state, query)], trail=trail, head=head)


def trials_part(run: WatchedRun, state: RunState, query: Query, version: str = "") -> Part:
    """The list."""
    every = _lines(state)
    shown = [line for line in every if query.has(line.variant) and query.state in ("", line.status)]
    shown = _sorted(shown, query.sort)
    num_pages = max(1, -(-len(shown) // _PER_PAGE))
    number = min(query.number, num_pages)
    body = render(
        "live/assets/trials.html.j2",
        run_key=run.found.key,
        lines=shown[(number - 1) * _PER_PAGE : number * _PER_PAGE],
        heads=[(column, *query.sort_link(column)) for column in _COLUMNS],
        metric=state.run.plan.metric,
        num_trials=len(every),
        num_shown=len(shown),
        number=number,
        num_pages=num_pages,
        query=query,
    )
    return Part("trials", version, body)


def _lines(state: RunState) -> list[_Line]:
    metric = state.run.plan.metric
    found = []
    for key, record in state.records.items():
        if key in state.unfinished:
            continue
        reason = f"{record.failure.type}: {record.failure.message}" if record.failure else ""
        value, finished = record.metrics.get(metric), record.finished_at
        found.append(_Line(key, record.variant, record.seed, record.status, value, finished, reason))
    status = "running" if state.run.driver else "interrupted"
    for key, trial in state.unfinished.items():
        value = trial.curve[-1].get(metric) if trial.curve else None
        found.append(_Line(key, trial.variant, trial.seed, "waiting" if trial.has_ended else status, value, "", ""))
    return found


def _sorted(lines: Sequence[_Line], sort: str) -> list[_Line]:
    column, is_descending = sort.removeprefix("-"), sort.startswith("-")
    keys: dict[str, Callable[[_Line], float | str]] = {
        "variant": lambda line: line.variant,
        "seed": lambda line: line.seed,
        "status": lambda line: line.status,
        "finished": lambda line: line.finished,
    }
    if column in keys:
        return sorted(lines, key=keys[column], reverse=is_descending)
    if column == "value":
        with_value = [line for line in lines if line.value is not None and math.isfinite(line.value)]
        ordered = sorted(with_value, key=lambda line: line.value or 0.0, reverse=is_descending)
        return ordered + [line for line in lines if line.value is None or not math.isfinite(line.value)]
    return list(reversed(lines))  # the latest first
