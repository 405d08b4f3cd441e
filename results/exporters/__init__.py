"""Exporters of the ablation table. To add a format: a file with `write(table, stream)`, and a line in `EXPORTERS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TextIO

from results.exporters import csv, html, md, tex, text
from results.table.table import AblationTable
from search_space.plugins.families import extended

__all__ = ["EXPORTERS"]

EXPORTERS: Mapping[str, Callable[[AblationTable, TextIO], None]] = extended(
    "exporter",
    {
        "csv": csv.write,
        "html": html.write,
        "md": md.write,
        "tex": tex.write,
        "text": text.write,
    },
)
