"""Figures of a run. To add one: a file with `draw(evidence)`, and a line in `FIGURES`, in the order of the report.

Not imported by `results`: altair and pandas take a second to import, and `archsweep table` does not need them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from results.figures import (
    attention_similarity,
    contributions,
    cost,
    curves,
    deltas,
    importances,
    interactions,
    main_effects,
    samples,
    search_history,
    seeds,
)
from results.figures.figure import Evidence, Figure
from search_space.parsing.errors import SpecError
from search_space.plugins.families import extended

__all__ = ["FIGURES", "Evidence", "Figure", "draw_figures"]

FIGURES: Mapping[str, Callable[[Evidence], Figure | None]] = extended(
    "figure",
    {
        "deltas": deltas.draw,
        "seeds": seeds.draw,
        "search_history": search_history.draw,
        "importances": importances.draw,
        "cost": cost.draw,
        "main_effects": main_effects.draw,
        "interactions": interactions.draw,
        "contributions": contributions.draw,
        "curves": curves.draw,
        "attention_similarity": attention_similarity.draw,
        "samples": samples.draw,
    },
)


def draw_figures(evidence: Evidence) -> tuple[tuple[Figure, ...], dict[str, str]]:
    """Figures of a run, and name -> reason for those whose data are insufficient."""
    figures: list[Figure] = []
    lacking: dict[str, str] = {}
    for name, draw in FIGURES.items():
        try:
            figure = draw(evidence)
        except SpecError as err:
            lacking[name] = "; ".join(problem.message for problem in err.problems)
            continue
        if figure is not None:
            figures.append(figure)
    return tuple(figures), lacking
