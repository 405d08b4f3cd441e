"""User errors: location, cause and remedy of every problem in a sweep or a command.

`SpecError` is the only exception of archsweep that is meant for users. It carries every problem found, so that a file
can be repaired in one pass. The command line prints it without a traceback and exits with code 2.
"""

from __future__ import annotations

import difflib
import textwrap
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from search_space.parsing.secrets import masked
from search_space.parsing.visible import visible, visible_lines

__all__ = ["Problem", "SpecError", "did_you_mean", "first_of", "reason_of"]

_WIDTH = 112


@dataclass(frozen=True)
class Problem:
    """One problem of a sweep or a command, with its location.

    `where` is the readable location (`sweep.yaml:12:7` or `--set train.epochs`), `path` the dotted path inside the
    sweep, `excerpt` the offending line with a caret below it. All may quote untrusted input, so `str` escapes control
    characters that a terminal would interpret, and masks passwords and tokens.
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
        return masked("\n".join(lines))


def _wrap(line: str) -> list[str]:
    if len(line) <= _WIDTH:  # unchanged, because `textwrap` would collapse its spaces
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
    """Invalid user input. `problems` lists every problem found, in file order."""

    def __init__(self, problems: Iterable[Problem] | Problem | str) -> None:
        if isinstance(problems, str):
            problems = [Problem(problems)]
        elif isinstance(problems, Problem):
            problems = [problems]
        self.problems: tuple[Problem, ...] = tuple(problems)
        assert self.problems, "a SpecError without a problem"
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self):  # by default, an exception is unpickled from its message, which would lose `problems`
        return (SpecError, (self.problems,))


def did_you_mean(came: str, legal: Iterable[str]) -> str:
    """Legal names and the closest match: `known: a, b, c.  Did you mean 'b'?`; without a match only the first part."""
    names = sorted(legal)
    # `optimizer` is not a close match of `opt` for difflib, but starts with it
    starts = [name for name in names if len(name) > 2 and came.startswith(name)]
    close = difflib.get_close_matches(came, names, n=1, cutoff=0.6) or sorted(starts, key=len, reverse=True)
    known = f"known: {', '.join(names)}."
    return f"{known}  Did you mean {close[0]!r}?" if close else known


def first_of(names: Sequence[str], most: int) -> str:
    """The first names, and how many are left out: `a, b, c and 4 more`."""
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {left} more" if left > 0 else "")


def reason_of(err: BaseException) -> str:
    """Message of another library's exception; where it has none, the line that raised it: `assert depth > 0`."""
    text = str(err).strip()
    if text and text != "None":
        return text
    frames = traceback.extract_tb(err.__traceback__)
    line = frames[-1].line if frames else None
    return f"without a message, at the line `{line}`" if line else "without a message"
