"""`search.warm_start`: completed trials of earlier runs, told to the sampler before its first suggestion.

A value found under another training or on other data would teach the sampler something false. So only variants count
that could stand in this search: nothing but its space tells them from its baseline.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from results import Run, TrialRecord
from runners.search.suggestion_log import Suggestions, Told
from runners.trials.objectives import objective_values
from search_space import Problem, Setting, SpecError, Sweep, params_of

__all__ = ["warm_trials"]


def warm_trials(sweep: Sweep, suggestions: Suggestions) -> list[Told]:
    """What the sampler is told. What is new is written down first.

    Raises:
        SpecError: a run that is not there, or of which nothing can be used.
    """
    assert sweep.search is not None
    runs = sweep.search.warm_start
    known = {told.warm_start for told in suggestions.told}
    for run in runs:
        if run not in known:
            found = list(_usable(sweep, run))
            suggestions.append(*(told.model_dump() for told in found))
            suggestions.told += found
    return [told for told in suggestions.told if told.warm_start in runs]


def _usable(sweep: Sweep, run: str) -> Iterator[Told]:
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
            yield Told(warm_start=run, params=params, values=values)
    if not used:
        message = f"none of its {len(variants)} completed variants could stand in this search"
        hint = "a usable one differs from `baseline` in nothing but `space` and has every objective"
        raise SpecError(Problem(message, where=run, path="search.warm_start", hint=hint))
    left = f"; {len(variants) - used} others could not stand in it" if used < len(variants) else ""
    print(f"archsweep: the search starts from {used} variants of {run}{left}", file=sys.stderr)


def _params(sweep: Sweep, record: TrialRecord) -> dict[str, Any] | None:
    try:
        setting = Setting.model_validate({key: record.spec[key] for key in ("arch", "task", "train")})
    except (KeyError, ValidationError):  # of another version of archsweep
        return None
    return params_of(sweep, setting)
