"""Export of a figure: SVG and PDF for a paper, CSV of its data. Works without a browser and without network."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from results.figures.figure import Figure, Picture
from results.markup.csv_cells import csv_line
from results.store.files import atomic_write, readable_write_errors
from search_space.parsing.visible import visible_lines

__all__ = ["figure_csv", "figure_pdf", "figure_spec", "figure_svg", "write_figures"]

_DIGITS = 6


def figure_spec(figure: Figure) -> dict[str, Any] | None:
    """Vega-Lite specification of a figure, including its data; None of a picture."""
    if isinstance(figure.chart, Picture):
        return None
    with alt.data_transformers.disable_max_rows():  # figures limit their rows themselves
        spec = figure.chart.to_dict()
    return _lean(spec)


def figure_svg(figure: Figure, *, room: int = 0) -> str:
    """SVG of a figure; text is kept as text, so its width depends on the reader's fonts.

    Args:
        room: free pixels beside long names, for readers with wider fonts than the ones measured with.
    """
    if isinstance(figure.chart, Picture):
        return figure.chart.svg
    spec = figure_spec(figure)
    assert spec is not None
    config = spec.setdefault("config", {})
    config["aria"] = False  # descriptions of every mark would be most of the file
    if room:
        spec["padding"] = {"left": room, "top": 5, "right": 5, "bottom": 5}
        config.setdefault("legend", {})["columnPadding"] = room
    return vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])


def figure_pdf(figure: Figure) -> bytes:
    """PDF of a figure, with embedded fonts."""
    if isinstance(figure.chart, Picture):
        return vl_convert.svg_to_pdf(figure.chart.svg)
    spec = figure_spec(figure)
    assert spec is not None
    return vl_convert.vegalite_to_pdf(spec, allowed_base_urls=[])


def figure_csv(figure: Figure) -> str:
    """CSV of a figure's frame at full precision; missing values are empty cells."""
    frame = figure.frame
    lines = [csv_line(frame.columns)]
    for values in frame.astype(object).itertuples(index=False, name=None):
        # A missing number is NaN in a frame, and NaN is not equal to itself.
        lines.append(csv_line(None if value is None or value != value else value for value in values))
    return "".join(lines)


def write_figures(figures: Iterable[tuple[str, Figure]], directory: Path) -> tuple[Path, ...]:
    """Write NAME.svg, NAME.pdf and NAME.csv for each name and figure; returns their paths. Creates the directory.

    Raises:
        SpecError: the directory cannot be written.
    """
    with readable_write_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name, figure in figures:
        contents = {"svg": figure_svg(figure), "pdf": figure_pdf(figure), "csv": figure_csv(figure)}
        for suffix, content in contents.items():
            path = directory / f"{name}.{suffix}"
            atomic_write(path, content)
            written.append(path)
    return tuple(written)


def _lean(node: Any) -> Any:
    """Specification with rounded numbers, null for NaN and infinity, which JSON lacks (trials diverge), and escapes for
    invisible characters, which a plug-in's data may hold and SVG may not."""
    if isinstance(node, dict):
        return {key: _lean(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_lean(value) for value in node]
    if isinstance(node, float):
        return float(f"{node:.{_DIGITS}g}") if math.isfinite(node) else None
    return visible_lines(node) if isinstance(node, str) else node
