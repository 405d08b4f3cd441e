"""The sweeps that archsweep brings along, as a file to start from: `archsweep init --from NAME`."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from archsweep.own_packages import ROOT
from search_space.parsing.errors import Problem, SpecError, did_you_mean

__all__ = ["header_notes", "question_of", "shipped_sweep", "shipped_sweeps"]

_SCHEMA = re.compile(r"\A# yaml-language-server: .*\n")
_NOTE = re.compile(r"# ([A-Z][a-z]+): +(.*)")
_FIRST = "quickstart"


def shipped_sweeps() -> dict[str, Path]:
    """Name -> file, the one to begin with first.

    In a wheel they are data of the package `archsweep`; a checkout has them at its top.
    """
    installed = Path(ROOT) / "archsweep" / "sweeps"
    folder = installed if installed.is_dir() else Path(ROOT) / "sweeps"
    files = {path.relative_to(folder).with_suffix("").as_posix(): path for path in folder.rglob("*.yaml")}
    return dict(sorted(files.items(), key=lambda item: (item[0] != _FIRST, "/" in item[0], item[0])))


def shipped_sweep(name: str, target: Path) -> str:
    """The text of the sweep as a file of its own at `target`: what its header says of files is true there.

    Raises:
        SpecError: there is no such sweep.
    """
    sweeps = shipped_sweeps()
    if name not in sweeps:
        raise SpecError(
            Problem(f"no shipped sweep is called {name!r}", where="--from", hint=did_you_mean(name, sweeps))
        )
    text = sweeps[name].read_text(encoding="utf-8")
    first = f"# Copied from the shipped sweep {name}; `archsweep schema` prints a JSON Schema for your editor.\n"
    return _SCHEMA.sub(first, text).replace(f"sweeps/{name}.yaml", shlex.quote(str(target)))


def question_of(path: Path) -> str:
    """What the header of a sweep asks, on one line; empty without one."""
    return header_notes(path.read_text(encoding="utf-8")).get("Question", "")


def header_notes(text: str) -> dict[str, str]:
    """`Question`, `Expected` and so on of the comment that a sweep file begins with, each on one line."""
    found: dict[str, str] = {}
    word = ""
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if begin := _NOTE.match(line):
            word = begin[1]
            found[word] = begin[2].strip()
        elif word:
            found[word] += " " + line.removeprefix("#").strip()
    return found
