"""Figures of a run. To add one: a file with `draw(evidence)`, and a line in `FIGURES`, in the order of the report.

Not imported by `results`: altair and pandas take a second to import, and `archsweep table` does not need them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

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
from search_space.plugins.contracts import member_failed, plugin_that_adds
from search_space.plugins.families import extended
from search_space.plugins.plugin import Plugin

__all__ = ["FIGURES", "Evidence", "Figure", "draw_figures", "failed"]

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
    """Figures of a run, and name -> reason for those whose data are insufficient, or whose plug-in failed."""
    figures: list[Figure] = []
    lacking: dict[str, str] = {}
    for name, draw in FIGURES.items():
        plugin = plugin_that_adds("figure", name)
        try:
            figure = draw(evidence) if plugin is None else _of_plugin(draw(evidence), name, plugin)
        except SpecError as err:
            lacking[name] = "; ".join(problem.message for problem in err.problems)
            continue
        except Exception as err:
            if plugin is None:
                raise
            lacking[name] = failed(name, err)
            continue
        if figure is not None:
            figures.append(figure)
    return tuple(figures), lacking


def failed(name: str, err: Exception) -> str:
    """What the report says of a figure whose plug-in failed; without folders of the machine, as all of it."""
    problem = member_failed("figure", name, err)
    return str(replace(problem, where=Path(problem.where).name))


def _of_plugin(drawn: object, name: str, plugin: Plugin) -> Figure | None:
    """What a plug-in has drawn, under the name in its table, with a note of where it is from."""
    if drawn is None:
        return None
    if not isinstance(drawn, Figure):
        raise SpecError(f"draw(evidence) gave an object of {type(drawn).__name__}, not a Figure or None")
    note = f"Drawn by the plug-in {plugin.name!r}."
    return replace(drawn, name=name.replace("/", "_"), notes=(*drawn.notes, note), plugin=plugin.name)
