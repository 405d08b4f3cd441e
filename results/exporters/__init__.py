"""Exporters of the ablation table. To add a format: a file with `write(table, stream)`, and a line in `EXPORTERS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

from results.exporters import csv, html, md, tex, text
from results.table.table import AblationTable
from search_space.parsing.errors import Problem, SpecError, did_you_mean

__all__ = ["EXPORTERS", "exporter"]

EXPORTERS: dict[str, Callable[[AblationTable, TextIO], None]] = {
    "csv": csv.write,
    "html": html.write,
    "md": md.write,
    "tex": tex.write,
    "text": text.write,
}


def exporter(name: str) -> Callable[[AblationTable, TextIO], None]:
    """The exporter of that name.

    Raises:
        SpecError: there is none; the message lists those there are.
    """
    if name not in EXPORTERS:
        raise SpecError(Problem(f"unknown table format {name!r}", hint=did_you_mean(name, EXPORTERS)))
    return EXPORTERS[name]
