"""The overview: one line for each run of the folder, filtered, sorted and in pages."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args
from urllib.parse import urlencode

from results.live.library import Shelf
from results.live.part import Part, page
from results.live.remade import Seen
from results.live.run_state import STATES, RunState, State, iso_time
from results.live.watched_run import WatchedRun
from results.markup.html_templates import render
from search_space.parsing.visible import visible

__all__ = ["Query", "overview_page", "overview_part"]

_PER_PAGE = 100
_SORTS = ("name", "state", "progress", "changed")
_LONGEST_QUERY = 200
_LATEST = 1e12  # seconds, more than any time of a file
_Line = tuple[WatchedRun, Seen[RunState]]


@dataclass(frozen=True)
class Query:
    """What a list shows, from the words of an address; what is not legal there counts as not given.

    Attributes:
        words: all must be part of the name, in any case.
        state: of the run, or of the trial.
        sort: a column; a minus sorts descending.
        number: of the page, from 1.
    """

    words: str = ""
    state: str = ""
    sort: str = ""
    number: int = 1

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Query:
        number = given.get("page", "")
        return cls(
            words=given.get("q", "")[:_LONGEST_QUERY],
            state=given.get("state", "")[:_LONGEST_QUERY],
            sort=given.get("sort", "")[:_LONGEST_QUERY],
            number=max(1, int(number)) if number.isascii() and number.isdigit() and len(number) < 7 else 1,
        )

    def address(self, **changed: str | int) -> str:
        """The address of the same list with some things changed, `?q=vit&page=2`."""
        values = {"q": self.words, "state": self.state, "sort": self.sort, "page": self.number} | changed
        return "?" + urlencode(
            {name: value for name, value in values.items() if value and (name, value) != ("page", 1)}
        )

    def has(self, name: str) -> bool:
        """Whether the name holds all the words."""
        lower = name.lower()
        return all(word in lower for word in self.words.lower().split())

    def sort_link(self, column: str) -> tuple[str, str]:
        """Address and state (`ascending`, `descending` or empty) of the header of a column."""
        if self.sort == column:
            return self.address(sort=f"-{column}", page=1), "ascending"
        return self.address(sort=column, page=1), "descending" if self.sort == f"-{column}" else ""


def overview_page(shelf: Shelf, query: Query, folder: str) -> str:
    """The whole page."""
    head = render("live/assets/overview_head.html.j2", query=query, states=get_args(State))
    return page(f"Runs in {visible(folder)}", "", [overview_part(shelf, query)], head=head)


def overview_part(shelf: Shelf, query: Query) -> Part:
    """The list."""
    shown = [line for line in shelf.runs if _is_wanted(line, query)]
    shown = _sorted(shown, query.sort if query.sort.removeprefix("-") in _SORTS else "-")
    num_pages = max(1, -(-len(shown) // _PER_PAGE))
    number = min(query.number, num_pages)
    on_page = shown[(number - 1) * _PER_PAGE : number * _PER_PAGE]
    states = Counter(seen.value.state for _, seen in shelf.runs if seen.value)
    body = render(
        "live/assets/overview.html.j2",
        found=shelf.found,
        lines=[_cells(*line) for line in on_page],
        heads=[(column, *query.sort_link(column)) for column in _SORTS],
        counts=[(states[state], state, STATES[state]) for state in STATES if states[state]],
        num_runs=len(shelf.runs),
        num_shown=len(shown),
        num_unread=sum(not seen.version for _, seen in shelf.runs),
        number=number,
        num_pages=num_pages,
        query=query,
    )
    return Part("runs", hashlib.sha256(body.encode()).hexdigest()[:16], body)


def _cells(run: WatchedRun, seen: Seen[RunState]) -> dict[str, object]:
    state = seen.value
    return {
        "key": run.found.key,
        "name": run.found.name,
        "state": state.state if state else "",
        "error": seen.error.problems[0].message if seen.error else "",
        "counts": list(state.counts.items()) if state else [],
        "done": state.num_done if state else 0,
        "planned": state.num_planned if state else 0,
        "is_tuning": bool(state and state.status.is_tuning),
        "best": state.status.best if state else None,
        "changed": iso_time(state.changed) if state and state.changed is not None else "",
    }


def _is_wanted(line: _Line, query: Query) -> bool:
    run, seen = line
    state = seen.value.state if seen.value else ""
    return query.has(run.found.name) and (query.state not in STATES or state == query.state)


def _sorted(lines: Sequence[_Line], sort: str) -> list[_Line]:
    column, is_descending = sort.removeprefix("-"), sort.startswith("-")
    if column == "name":
        return sorted(lines, key=lambda line: line[0].found.name, reverse=is_descending)
    keys: dict[str, Callable[[RunState], float | str]] = {
        "state": lambda state: state.state,
        "progress": lambda state: state.num_done / state.num_planned if state.num_planned else 0.0,
        "changed": lambda state: state.changed or 0.0,
        # Without a wish: what goes on first, then the latest.
        "": lambda state: (state.changed or 0.0) + (_LATEST if state.state == "running" else 0.0),
    }
    values = [(keys[column](seen.value), (run, seen)) for run, seen in lines if seen.value is not None]
    ordered = [line for _, line in sorted(values, key=lambda pair: pair[0], reverse=is_descending)]
    # Runs that cannot be read have no value: they come last in both orders.
    return ordered + [line for line in lines if line[1].value is None]
