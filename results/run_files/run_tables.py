"""The tables as files of the run directory, made anew from its ledger whenever somebody asks."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from results.exporters import csv, html, md, tex
from results.run_files.tidy_csv import write_curves_csv, write_long_csv
from results.store.files import atomic_write
from results.store.run import Run
from results.table.build import ablation_table

__all__ = ["write_tables"]


def write_tables(run_dir: str | Path) -> tuple[Path, ...]:
    """Writes table.csv, .md, .tex and .html, trials.csv and curves.csv into the run directory; returns their paths.

    Each file is replaced in one step.

    Raises:
        SpecError: there is no run, or its directory cannot be written.
    """
    run = Run.open(run_dir)
    table = ablation_table(run.plan, run.records)
    files: dict[str, Callable[[TextIO], None]] = {
        "table.csv": lambda stream: csv.write(table, stream),
        "table.md": lambda stream: md.write(table, stream),
        "table.tex": lambda stream: tex.write(table, stream),
        "table.html": lambda stream: html.write(table, stream),
        "trials.csv": lambda stream: write_long_csv(run, stream),
        "curves.csv": lambda stream: write_curves_csv(run, stream),
    }
    for name, write in files.items():
        stream = io.StringIO(newline="")
        write(stream)
        atomic_write(run.path / name, stream.getvalue())
    return tuple(run.path / name for name in files)
