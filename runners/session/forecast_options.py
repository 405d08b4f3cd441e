"""What a forecast of a plan may be asked, without importing torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runners.session.sweeps import run_dir_of
from search_space import SweepFile

__all__ = ["ForecastOptions"]


@dataclass(frozen=True, kw_only=True)
class ForecastOptions:
    """How a plan is forecast.

    Attributes:
        out: run directory with earlier durations; None: that of `archsweep run`.
        cache: folder of the trial cache; None: the user's own.
        probe: time a few training steps of every variant here.
        budget: refuse a plan above it: `40gpuh`, `30cpuh`, `2h`.
        trim: with a budget, plan fewer seeds instead.
        concurrent: trials at a time; None: as many as fit on this machine.
    """

    out: Path | None = None
    cache: Path | None = None
    uses_cache: bool = True
    probe: bool = False
    budget: str | None = None
    trim: bool = False
    concurrent: int | None = None

    def run_dir(self, file: SweepFile) -> Path:
        return self.out or run_dir_of(file)
