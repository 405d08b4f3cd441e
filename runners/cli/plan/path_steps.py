"""What a plan says of a greedy path: its trainings at most, which seeds choose and judge, and what it may not reach."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runners.planning.forecast import Forecast
from runners.planning.path_ahead import PathAhead

__all__ = ["path_as_json", "path_sentences", "path_warnings"]


def path_sentences(forecast: Forecast) -> Iterator[str]:
    """Nothing for other designs."""
    found = forecast.path
    if found is None:
        return
    steps = found.num_components
    compared = "; each component alone and all but each are judged, too" if found.compares else ""
    yield (
        f"path: {steps} steps, each chosen with {_seeds(found.choosing)} and judged with {_seeds(found.judging)}, "
        f"which choose nothing{compared}"
    )
    yield (
        f"  at most {found.num_trials} trials: {found.num_choosing} to choose, {found.num_judging} to judge; which "
        f"combinations they are is decided by the results"
    )


def path_warnings(forecast: Forecast) -> list[str]:
    """What makes a path less than it may seem."""
    found = forecast.path
    if found is None:
        return []
    said = []
    if not found.reaches_all:
        said.append("the combination of all components is dropped, so that the path ends before it")
    if len(found.judging) < 3:
        number = len(found.judging)
        judge = "1 seed judges" if number == 1 else f"{number} seeds judge"
        said.append(f"{judge} the steps, and fewer than 3 are not tested: raise `seeds`, or lower `choosing_seeds`")
    return said


def path_as_json(found: PathAhead | None) -> dict[str, Any] | None:
    """The same as values; None for other designs."""
    if found is None:
        return None
    return {
        "num_components": found.num_components,
        "choosing_seeds": list(found.choosing),
        "judging_seeds": list(found.judging),
        "compare": found.compares,
        "num_choosing": found.num_choosing,
        "num_judging": found.num_judging,
        "num_at_most": found.num_trials,
        "reaches_all": found.reaches_all,
    }


def _seeds(seeds: tuple[int, ...]) -> str:
    return f"seed{'s'[: len(seeds) - 1]} {', '.join(map(str, seeds))}"
