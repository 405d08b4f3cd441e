"""A run directory for Python: its table, its trials, its state. Reads only; the run may be at work meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import results
from archsweep.tables import AblationTable, frame, table_with_options
from results.run_files.tidy_csv import curve_rows, trial_rows
from results.store.ledger import gc_paused
from results.store.run import read_plan
from results.store.run_layout import RunDir
from results.table.in_plan import trials_in_plan
from results.table.table_options import TableOptions

if TYPE_CHECKING:
    import pandas

__all__ = ["Records", "Run", "open_run", "table_of_runs"]


class Records(Sequence[results.TrialRecord]):
    """The trials of the plan that have ended, in the order in which they did: of each its deciding record."""

    def __init__(self, run: results.Run) -> None:
        self._run = run
        in_plan = trials_in_plan(run)
        self._records = tuple(record for key, record in run.deciding.items() if key in in_plan)

    def to_pandas(self) -> pandas.DataFrame:
        """One row per trial, with the columns of `trials.csv`: every path that some variant changes, every metric.

        As that file, it has the trials that have not ended, too, with the status `running` or `interrupted`.
        """
        return _framed(*trial_rows(self._run))

    def curves(self) -> pandas.DataFrame:
        """One row per trial and epoch, with the columns of `curves.csv`."""
        return _framed(*curve_rows(self._run))

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> results.TrialRecord: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[results.TrialRecord, ...]: ...
    def __getitem__(self, index: int | slice) -> results.TrialRecord | tuple[results.TrialRecord, ...]:
        return self._records[index]

    def __repr__(self) -> str:
        return f"<{len(self)} records of {self._run.path}>"


class Run:
    """A run directory. Every method reads it as it is then, so that a run at work can be looked at again and again.
    Usable as its path (`os.PathLike`), also for `archsweep.load_model`.

    Attributes:
        path: the run directory.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        read_plan(RunDir(self.path))  # a directory without a run is refused at once

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def plan(self) -> results.RunPlan:
        """The plan of its latest start: variants, seeds, metric, analysis."""
        return read_plan(RunDir(self.path))

    @property
    def status(self) -> results.RunStatus:
        """Counts of its trials, those that are running, the best one, the time left."""
        return results.run_status(results.open_summary(self.path), now=time.time())

    @property
    def failed(self) -> tuple[results.TrialRecord, ...]:
        """Records of the trials that failed, each with its `failure`."""
        return tuple(record for record in self.records() if record.status == "failed")

    def table(
        self,
        *,
        columns: Sequence[str] | None = None,
        rename: Mapping[str, str] | None = None,
        digits: Mapping[str, int] | None = None,
        sort: str | None = None,
        label: str | None = None,
        caption: str | None = None,
        transpose: bool | None = None,
    ) -> AblationTable:
        """Its ablation table.

        Args:
            columns: in this order; also restricts CSV and data frames (`variant`, `top1`, `delta`, `arch.depth`, ...).
            rename: column -> text.
            digits: metric -> decimals; `"*"`: of every metric.
            sort: `COLUMN`, `COLUMN:asc` or `COLUMN:desc`; the baseline stays first.
            label: of the LaTeX table.
            caption: title instead of the sweep's name; explanations stay.
            transpose: a column for every variant.

        Raises:
            SpecError: the run cannot be read, or an option names no column.
        """
        options = TableOptions(
            columns=None if columns is None else tuple(columns),
            rename=rename or {},
            digits=digits or {},
            sort=sort,
            label=label,
            caption=caption,
            transpose=transpose,
        )
        return _table([self], options)

    def records(self) -> Records:
        """Its trials."""
        with gc_paused():
            return Records(results.Run.open(self.path))

    def report(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Write the report of `archsweep report` to a file (default: `report.html` of the run); returns its path."""
        from results.store.files import readable_write_errors
        from runners.session.reports import report_of  # altair and pandas

        made, target = report_of([self.path]), Path(path) if path is not None else RunDir(self.path).report
        with readable_write_errors(target):
            target.write_text(made.html, encoding="utf-8")
        return target

    def __repr__(self) -> str:
        return f"<Run {self.path}>\n{results.format_status(self.status)}"

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def open_run(path: str | os.PathLike[str]) -> Run:
    """The run at `path`, finished or not.

    Raises:
        SpecError: there is no run; the message names runs nearby.
    """
    return Run(path)


def table_of_runs(runs: Sequence[Run | str | os.PathLike[str]], **options: Any) -> AblationTable:
    """One table of several runs, each compared with its own baseline.

    Args:
        options: as of `Run.table`.

    Raises:
        SpecError: they differ in metric or analysis, or one cannot be read.
    """
    return _table([run if isinstance(run, Run) else Run(run) for run in runs], TableOptions(**options))


def _table(runs: Sequence[Run], options: TableOptions) -> AblationTable:
    with gc_paused():
        opened = [results.Run.open(run.path, curves=False) for run in runs]
        return table_with_options(results.table_of_runs(opened), options)


def _framed(names: Sequence[str], rows: Iterator[Any]) -> pandas.DataFrame:
    values = [list(row) for row in rows]
    return frame({name: [row[index] for row in values] for index, name in enumerate(names)})
