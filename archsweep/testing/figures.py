"""Contract of a figure: `draw(evidence)` gives a `Figure`, or None without data."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree

import pandas as pd

from archsweep.testing.example_run import empty_evidence, example_evidence
from archsweep.testing.member import expect
from results.figures.figure import Evidence, Figure
from results.figures.files import figure_csv, figure_svg
from search_space.parsing.errors import SpecError

__all__ = ["check_figure"]


def check_figure(draw: Callable[[Evidence], Figure | None], *, evidence: Evidence | None = None) -> None:
    """Check a figure: it has its texts, a frame and a chart that can be drawn, and is None for a run without records.

    Args:
        evidence: data of a run that the figure can be drawn from. Default: a one-factor study of four variants, three
            seeds, with curves and a failed trial.

    Raises:
        AssertionError: a condition does not hold; the message says which.
    """
    name = f"{draw.__module__}.{getattr(draw, '__name__', draw)}"
    figure = draw(evidence or example_evidence())
    hint = "give evidence= of a run that has what it needs" if evidence is None else "it is None"
    expect(isinstance(figure, Figure), name, f"no Figure is given for a run with records; {hint}")
    assert figure is not None
    for text in ("name", "title", "caption"):
        expect(bool(getattr(figure, text).strip()), name, f"the figure has no {text}")
    expect(isinstance(figure.frame, pd.DataFrame) and len(figure.frame) > 0, name, "the frame has no rows")
    lines = figure_csv(figure).splitlines()
    expect(len(lines) == len(figure.frame) + 1, name, "the CSV of the frame has another number of rows: line breaks")
    try:
        ElementTree.fromstring(figure_svg(figure))
    except Exception as err:
        raise AssertionError(f"{name}: the chart cannot be drawn: {type(err).__name__}: {err}") from err
    again = draw(evidence or example_evidence())
    same = again is not None and again.frame.equals(figure.frame)
    expect(same, name, "the same run gives another frame each time")
    try:
        without = draw(empty_evidence())
    except SpecError:
        return  # its message is shown in place of the figure
    expect(without is None, name, "a run without records gives a Figure; give None, or raise SpecError with a reason")
