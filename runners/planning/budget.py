"""`archsweep plan --budget 40gpuh`: does the plan fit, and if not, with how many seeds would it.

Trimming takes seeds away, the last ones first, never below three (or what the sweep has, if that is fewer): fewer seeds
would not be tested, and which rows are dispensable only the author of the sweep can say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runners.planning.forecast import Forecast
from runners.planning.power import MIN_SEEDS
from search_space import Problem, SpecError

__all__ = ["Budget", "fit_budget", "parse_budget"]

_UNITS = {"gpuh": "GPU hours", "cpuh": "CPU hours", "h": "hours"}


@dataclass(frozen=True)
class Budget:
    amount: float
    unit: str

    def needed(self, forecast: Forecast) -> float | None:
        """What is left of the plan takes so much of the budget's unit."""
        return {"gpuh": forecast.gpu_hours, "cpuh": forecast.cpu_hours, "h": forecast.hours}[self.unit]

    def __str__(self) -> str:
        return f"{self.amount:g} {_UNITS[self.unit]}"


def parse_budget(text: str) -> Budget:
    """`40gpuh`, `30 cpuh` or `2h`.

    Raises:
        SpecError: it is none of them.
    """
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(gpuh|cpuh|h)\s*", text)
    if found is None or float(found[1]) <= 0:
        hint = "write hours of GPUs (40gpuh), of CPUs (30cpuh) or of your life (2h)"
        raise SpecError(Problem(f"{text!r} is no budget", where="--budget", hint=hint))
    return Budget(float(found[1]), found[2])


def fit_budget(
    budget: Budget, forecast_of: Callable[[Sequence[int]], Forecast], seeds: Sequence[int], *, trim: bool
) -> Forecast:
    """The forecast of the plan, with fewer seeds if it has to be trimmed.

    Raises:
        SpecError: it does not fit, or nobody knows.
    """
    whole = forecast_of(seeds)
    needed = budget.needed(whole)
    where = f"--budget {budget.amount:g}{budget.unit}"
    if needed is None:
        hint = "add --probe to measure a few steps here, or run a part first (archsweep run ... --limit 2)"
        raise SpecError(Problem("nothing tells how long a trial takes", where=where, hint=hint))
    if budget.unit == "gpuh" and not whole.uses_gpus:
        hint = "set resources.gpus, or give the budget in cpuh or h"
        raise SpecError(Problem("the trials use no GPU", where=where, hint=hint))
    if needed <= budget.amount:
        return whole
    least = min(MIN_SEEDS, len(seeds)) if not whole.plan.sweep.search else len(seeds)
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
    # Whether less would do is known when the run has measured its trials; a budget is a promise before that.
    needs = "may need up to" if budget.unit == "gpuh" and whole.is_gpu_bound else "needs"
    amount = f"{_amount(budget.needed(whole) or 0.0)} {_UNITS[budget.unit]}"
    return f"the plan {needs} {amount}, more than the {budget.amount:g} there are"


def _would_fit(trimmed: Forecast, budget: Budget) -> str:
    number = len(trimmed.seeds)
    return f"with {number} seeds it needs {_amount(budget.needed(trimmed) or 0.0)}; --trim plans it so"


def _amount(hours: float) -> str:
    return f"{hours:.3g}"
