"""Exporters of the ablation table. To add a format: a file with `write(table, stream)`, and a line in `EXPORTERS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

from results.exporters import csv, html, md, tex, text
from results.table.table import AblationTable

__all__ = ["EXPORTERS"]

EXPORTERS: dict[str, Callable[[AblationTable, TextIO], None]] = {
    "csv": csv.write,
    "html": html.write,
    "md": md.write,
    "tex": tex.write,
    "text": text.write,
}
