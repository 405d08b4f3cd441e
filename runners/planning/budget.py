"""Check of a plan against a budget (`archsweep plan --budget 40gpuh`), and the number of seeds that would fit.

Trimming removes seeds, the last ones first, never below three (or the number of the sweep, if that is smaller): fewer
seeds would not be tested, and only the author of the sweep can decide which variants to drop.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runners.planning.detection.power import MIN_SEEDS
from runners.planning.forecast import Forecast
from search_space import Problem, SpecError

__all__ = ["Budget", "fit_budget", "parse_budget"]

_UNITS = {"gpuh": "GPU hours", "cpuh": "CPU hours", "h": "hours"}


@dataclass(frozen=True)
class Budget:
    amount: float
    unit: str

    def needed(self, forecast: Forecast) -> float | None:
        """Amount that the rest of the plan needs, in the budget's unit."""
        return {"gpuh": forecast.gpu_hours, "cpuh": forecast.cpu_hours, "h": forecast.hours}[self.unit]

    def __str__(self) -> str:
        return f"{self.amount:g} {_UNITS[self.unit]}"


def parse_budget(text: str) -> Budget:
    """Parse a budget: `40gpuh`, `30 cpuh` or `2h`.

    Raises:
        SpecError: it has none of these forms.
    """
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(gpuh|cpuh|h)\s*", text)
    if found is None or float(found[1]) <= 0:
        hint = "write GPU hours (40gpuh), CPU hours (30cpuh) or hours of wall-clock time (2h)"
        raise SpecError(Problem(f"{text!r} is no budget", where="--budget", hint=hint))
    return Budget(float(found[1]), found[2])


def fit_budget(
    budget: Budget, forecast_of: Callable[[Sequence[int]], Forecast], seeds: Sequence[int], *, trim: bool
) -> Forecast:
    """Forecast of the plan within the budget, with fewer seeds if it has to be trimmed.

    Raises:
        SpecError: it does not fit, or no trial duration is known.
    """
    whole = forecast_of(seeds)
    needed = budget.needed(whole)
    where = f"--budget {budget.amount:g}{budget.unit}"
    if needed is None:
        hint = "add --probe to measure a few steps here, or run some trials first (archsweep run ... --limit 2)"
        raise SpecError(Problem("no trial duration known", where=where, hint=hint))
    if budget.unit == "gpuh" and not whole.uses_gpus:
        hint = "set resources.gpus, or give the budget in cpuh or h"
        raise SpecError(Problem("the trials use no GPU", where=where, hint=hint))
    if needed <= budget.amount:
        return whole
    sweep = whole.plan.sweep
    # Fewer seeds of a search are another search, rounds of seeds have fewer by themselves, the seeds of a path have
    # two purposes, and a part of a crossed design has no shares.
    is_whole = sweep.search or sweep.asks_by_results or sweep.baseline.train.seeding.crossed
    least = len(seeds) if is_whole else min(MIN_SEEDS, len(seeds))
    for number in range(len(seeds) - 1, least - 1, -1):
        trimmed = forecast_of(seeds[:number])
        if (budget.needed(trimmed) or 0.0) <= budget.amount:
            if trim:
                return trimmed
            raise SpecError(Problem(_too_much(whole, budget), where=where, hint=_would_fit(trimmed, budget)))
    hint = "fewer variants, epochs or pixels would help; so would pruning"
    if least < len(seeds):
        fewest = budget.needed(forecast_of(seeds[:least])) or 0.0
        hint = f"even with {least} seeds it needs {_amount(fewest)}, and fewer are not tested\n{hint}"
    raise SpecError(Problem(_too_much(whole, budget), where=where, hint=hint))


def _too_much(whole: Forecast, budget: Budget) -> str:
    # An upper bound: the run measures shares of a GPU, but a budget is checked before the run.
    is_bound = (budget.unit == "gpuh" and whole.is_gpu_bound) or whole.plan.sweep.asks_by_results
    needs = "may need up to" if is_bound else "needs"
    amount = f"{_amount(budget.needed(whole) or 0.0)} {_UNITS[budget.unit]}"
    return f"the plan {needs} {amount}, more than the {budget.amount:g} of the budget"


def _would_fit(trimmed: Forecast, budget: Budget) -> str:
    number = len(trimmed.seeds)
    return f"with {number} seeds it needs {_amount(budget.needed(trimmed) or 0.0)}; add --trim to plan these"


def _amount(hours: float) -> str:
    return f"{hours:.3g}"
