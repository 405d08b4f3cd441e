"""A figure as files: SVG and PDF for a paper, CSV for those who draw it anew. No browser takes part, and no network."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from results.csv_cells import csv_line
from results.durable_files import replace_file, write_errors_in_words
from results.figures.figure import Figure

__all__ = ["figure_csv", "figure_pdf", "figure_spec", "figure_svg", "write_figures"]


def figure_spec(figure: Figure) -> dict[str, Any]:
    """The Vega-Lite specification with its data."""
    with alt.data_transformers.disable_max_rows():  # figures thin what they draw
        spec = figure.chart.to_dict()
    return _finite(spec)


def figure_svg(figure: Figure) -> str:
    return vl_convert.vegalite_to_svg(figure_spec(figure), allowed_base_urls=[])


def figure_pdf(figure: Figure) -> bytes:
    return vl_convert.vegalite_to_pdf(figure_spec(figure), allowed_base_urls=[])


def figure_csv(figure: Figure) -> str:
    """The frame at full precision; what is not there is an empty cell."""
    frame = figure.frame
    lines = [csv_line(frame.columns)]
    for values in frame.astype(object).itertuples(index=False, name=None):
        # A missing number is NaN in a frame; NaN equals nothing, itself included.
        lines.append(csv_line(None if value is None or value != value else value for value in values))
    return "".join(lines)


def write_figures(figures: Iterable[tuple[str, Figure]], directory: Path) -> tuple[Path, ...]:
    """Writes NAME.svg, NAME.pdf and NAME.csv for each name and figure; returns their paths. Creates the directory.

    Raises:
        SpecError: the directory cannot be written.
    """
    with write_errors_in_words(directory):
        directory.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name, figure in figures:
        contents = {"svg": figure_svg(figure), "pdf": figure_pdf(figure), "csv": figure_csv(figure)}
        for suffix, content in contents.items():
            path = directory / f"{name}.{suffix}"
            replace_file(path, content)
            written.append(path)
    return tuple(written)


def _finite(node: Any) -> Any:
    """The same without numbers that JSON has no word for: a diverged trial is a gap in a line."""
    if isinstance(node, dict):
        return {key: _finite(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_finite(value) for value in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node
