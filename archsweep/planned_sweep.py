"""The plan of a sweep for Python: variants as data, cost, time, what the seeds can detect."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import runners.planning.plan
from archsweep.sweep_source import Overrides, Source, load_again_with, load_sweep
from archsweep.tables import frame
from runners.cli.plan.as_json import plan_as_json
from runners.cli.plan.as_text import plan_sentences, plan_warnings
from runners.session.forecast import PlannedRun, forecast_of
from runners.session.forecast_options import ForecastOptions
from runners.session.sweeps import knowing_runs, study_run_dirs
from search_space import SweepFile, Variant

if TYPE_CHECKING:
    import pandas

__all__ = ["Plan", "plan"]


class Plan:
    """What a sweep would run: its variants with their cost, and those that are dropped.

    Attributes:
        made: the plan that `archsweep.run` carries out.
    """

    def __init__(self, planned: PlannedRun) -> None:
        self._planned = planned
        self.made: runners.planning.plan.Plan = planned.plan

    @property
    def sweep(self) -> SweepFile:
        return self.made.file

    @property
    def variants(self) -> list[Variant]:
        """Variants that would run, in table order; empty for a search, which chooses them while it runs."""
        return self.made.variants

    @property
    def num_trials(self) -> int:
        return self._planned.forecast.num_trials

    @property
    def warnings(self) -> list[str]:
        """What makes the numbers of such a run worse than they look."""
        return plan_warnings(self._planned.forecast)

    @property
    def _cache_dir(self) -> str | None:
        return None if self._planned.cache_dir is None else str(self._planned.cache_dir)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values: one of the `plans` of `archsweep plan --json` (docs/plan.md has the keys)."""
        return plan_as_json(
            self._planned.forecast,
            run_dir=str(self._planned.run_dir),
            cache_dir=self._cache_dir,
            warnings=self.warnings,
        )

    def to_pandas(self) -> pandas.DataFrame:
        """One row per variant, dropped ones included, with the keys of `variants` in the JSON as columns."""
        rows = self.to_dict()["variants"]
        names = list(rows[0]) if rows else []
        return frame({name: [row[name] for row in rows] for name in names})

    def __repr__(self) -> str:
        return "\n".join([f"<Plan {self.made.sweep.name}: {self.num_trials} trials>", *self._sentences()])

    def _repr_html_(self) -> str:
        from html import escape

        shown = self.to_pandas()
        columns = ["name", "params_m", "gmacs", "seconds_per_trial", "num_trials", "dropped"]
        table = shown[columns].to_html(index=False, na_rep="", border=0) if len(shown) else ""
        lines = "".join(f"<li>{escape(line)}</li>" for line in self._sentences())
        return f"<b>{escape(self.made.sweep.name)}</b>{table}<ul>{lines}</ul>"

    def _sentences(self) -> list[str]:
        forecast, path = self._planned.forecast, str(self._planned.run_dir)
        return [*plan_sentences(forecast, run_dir=path, cache_dir=self._cache_dir), *self.warnings]


def plan(
    sweep: SweepFile | Source,
    *,
    overrides: Overrides = (),
    out: str | os.PathLike[str] | None = None,
    probe: bool = False,
    concurrent: int | None = None,
    cache: bool | str | os.PathLike[str] = True,
) -> Plan:
    """The plan of a sweep, as `archsweep plan` makes it. Trains nothing; `run` can carry it out.

    Args:
        sweep: of `load_sweep`, or what it takes.
        overrides: further values in place of the sweep's.
        out: run directory with earlier durations. Default: that of `run`.
        probe: time a few training steps of every variant in this process.
        concurrent: trials at a time. Default: as many as fit on this machine.
        cache: the trial cache: False for none, or its folder.

    Raises:
        SpecError: the sweep cannot be run.
    """
    file = load_again_with(sweep if isinstance(sweep, SweepFile) else load_sweep(sweep), overrides)
    siblings = study_run_dirs(file)
    options = ForecastOptions(
        out=None if out is None else Path(out),
        cache=None if isinstance(cache, bool) else Path(cache),
        uses_cache=cache is not False,
        probe=probe,
        concurrent=concurrent,
    )
    quiet = forecast_of(knowing_runs(file, siblings), options, siblings=siblings, planned=set(), say=_say_nothing)
    return Plan(quiet)


def _say_nothing(text: str) -> None:
    """By name, so that a plan can be pickled."""
