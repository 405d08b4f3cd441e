"""The tables as files of the run directory, made from its ledger on every request."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from results.exporters import csv, html, md, tex
from results.run_files.path_csv import write_path_csv
from results.run_files.shapley_csv import write_shapley_csv
from results.run_files.tidy_csv import write_curves_csv, write_long_csv
from results.store.files import atomic_write
from results.store.run import Run
from results.table.build import ablation_table

__all__ = ["write_tables"]


def write_tables(run_dir: str | os.PathLike[str]) -> tuple[Path, ...]:
    """Write table.csv, .md, .tex and .html, trials.csv and curves.csv into the run directory; returns their paths.
    A run of the design `shapley` has its values in shapley.csv, too, and one of `path` its steps in path.csv.

    Each file is replaced in one step.

    Raises:
        SpecError: there is no run, or its directory cannot be written.
    """
    run = Run.open(run_dir)
    table = ablation_table(run.plan, run.records)
    files: dict[Path, Callable[[TextIO], None]] = {
        run.files.table("csv"): lambda stream: csv.write(table, stream),
        run.files.table("md"): lambda stream: md.write(table, stream),
        run.files.table("tex"): lambda stream: tex.write(table, stream),
        run.files.table("html"): lambda stream: html.write(table, stream),
        run.files.trials_csv: lambda stream: write_long_csv(run, stream),
        run.files.curves_csv: lambda stream: write_curves_csv(run, stream),
    }
    if table.design == "shapley":
        files[run.files.shapley_csv] = lambda stream: write_shapley_csv(table, stream)
    if table.path is not None:
        files[run.files.path_csv] = lambda stream: write_path_csv(table, stream)
    for path, write in files.items():
        stream = io.StringIO(newline="")
        write(stream)
        atomic_write(path, stream.getvalue())
    return tuple(files)
