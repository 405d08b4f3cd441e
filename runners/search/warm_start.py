"""Warm start of a search (`search.warm_start`) from completed trials of earlier runs.

The sampler receives them before its first suggestion. A value from another training or other data would mislead it, so
only variants count that differ from this search's baseline in nothing but parameters of its space.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from results import Run, TrialRecord
from runners.search.suggestion_log import Suggestions, WarmStartTrial
from runners.trials.objectives import objective_values
from search_space import Problem, Setting, SpecError, Sweep, params_of

__all__ = ["warm_trials"]


def warm_trials(sweep: Sweep, suggestions: Suggestions) -> list[WarmStartTrial]:
    """Variants of earlier runs for the sampler; new ones are logged first.

    Raises:
        SpecError: a run is missing, or none of its variants can be used.
    """
    assert sweep.search is not None
    runs = sweep.search.warm_start
    known = {trial.warm_start for trial in suggestions.warm_start}
    for run in runs:
        if run not in known:
            found = list(_usable(sweep, run))
            suggestions.append(*(trial.model_dump() for trial in found))
            suggestions.warm_start += found
    return [trial for trial in suggestions.warm_start if trial.warm_start in runs]


def _usable(sweep: Sweep, run: str) -> Iterator[WarmStartTrial]:
    variants: dict[str, list[TrialRecord]] = {}
    for record in Run.open(Path(run)).deciding.values():
        if record.status == "completed" and not record.role:
            variants.setdefault(record.variant_id, []).append(record)
    used = 0
    for records in variants.values():
        params = _params(sweep, records[0])
        values = objective_values(records, sweep)
        if params is not None and values is not None:
            used += 1
            yield WarmStartTrial(warm_start=run, params=params, values=values)
    if not used:
        message = f"none of its {len(variants)} completed variants fits this search"
        hint = "a usable one differs from `baseline` in nothing but `space` and has every objective"
        raise SpecError(Problem(message, where=run, path="search.warm_start", hint=hint))
    left = f"; {len(variants) - used} others do not fit it" if used < len(variants) else ""
    print(f"archsweep: the search starts from {used} variants of {run}{left}", file=sys.stderr)


def _params(sweep: Sweep, record: TrialRecord) -> dict[str, Any] | None:
    try:
        setting = Setting.model_validate({key: record.spec[key] for key in ("arch", "task", "train")})
    except (KeyError, ValidationError):  # of another version of archsweep
        return None
    return params_of(sweep, setting)
