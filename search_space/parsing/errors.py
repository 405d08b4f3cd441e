"""Errors for people: what is wrong with a sweep, where it stands, and what would be right.

`SpecError` is the only exception of archsweep that is meant for users. It carries every problem found, so one
look at the message is enough to repair a file. The command line prints it without a traceback and exits with 2.
"""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

from search_space.parsing.visible import visible, visible_lines

__all__ = ["Problem", "SpecError", "did_you_mean"]

_WIDTH = 112


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    `where` names the place for people (`sweep.yaml:12:7` or `--set train.epochs`), `path` the dotted path inside the
    sweep, `excerpt` the offending line with a caret below it. All may quote what a stranger wrote: as text, a problem
    holds no character that a terminal would obey.
    """

    message: str
    where: str = ""
    path: str = ""
    hint: str = ""
    excerpt: str = ""

    def __str__(self) -> str:
        head = (visible(self.where), visible(self.path), visible_lines(self.message))
        lines = [": ".join(part for part in head if part)]
        if self.excerpt:
            lines += ["    " + line for line in visible_lines(self.excerpt).split("\n")]
        if self.hint:
            for line in visible_lines(self.hint).split("\n"):
                lines += _wrap(line)
        return "\n".join(lines)


def _wrap(line: str) -> list[str]:
    if len(line) <= _WIDTH:  # as written, spaces included
        return ["  " + line]
    return textwrap.wrap(
        line,
        _WIDTH,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


class SpecError(ValueError):
    """What a user wrote cannot be carried out. `problems` lists everything found, in the order of the file."""

    def __init__(self, problems: Iterable[Problem] | Problem | str) -> None:
        if isinstance(problems, str):
            problems = [Problem(problems)]
        elif isinstance(problems, Problem):
            problems = [problems]
        self.problems: tuple[Problem, ...] = tuple(problems)
        assert self.problems, "a SpecError without a problem"
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self):  # exceptions with keyword state must say how they cross a process boundary
        return (SpecError, (self.problems,))


def did_you_mean(came: str, legal: Iterable[str]) -> str:
    """`known: a, b, c.  Did you mean 'b'?` - the second sentence only where something is close."""
    names = sorted(legal)
    # `optimizer` is no near match of `opt`, but starts with it
    starts = [name for name in names if len(name) > 2 and came.startswith(name)]
    close = difflib.get_close_matches(came, names, n=1, cutoff=0.6) or sorted(starts, key=len, reverse=True)
    known = f"known: {', '.join(names)}."
    return f"{known}  Did you mean {close[0]!r}?" if close else known
