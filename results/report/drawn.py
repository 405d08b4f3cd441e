"""A figure as a section of the page: a still picture, the data for a live one, and both as files to keep."""

from __future__ import annotations

from typing import Any

from results.figures.figure import Figure
from results.figures.files import figure_csv, figure_spec, figure_svg
from results.report.escaping import data_uri, script_json, text

__all__ = ["drawn"]

_MOST_ALIKE = 40


def drawn(key: str, figure: Figure) -> str:
    """The section; `key` is its id, unique in the page."""
    spec = figure_spec(figure)
    # Heatmaps have cells of a size; what has one continuous axis may be as wide as there is room.
    stretch = " data-stretch" if _is_stretchable(spec) else ""
    if "facet" in spec:
        stretch += f' data-panels="{figure.frame[spec["facet"]["field"]].nunique()}"'
    notes = "".join(f"<li>{text(note)}</li>" for note in figure.notes[:_MOST_ALIKE])
    if len(figure.notes) > _MOST_ALIKE:
        notes += f"<li>and {len(figure.notes) - _MOST_ALIKE} more</li>"
    picture = data_uri("image/svg+xml", figure_svg(figure))
    table = data_uri("text/csv;charset=utf-8", figure_csv(figure))
    return (
        f'<section class="drawn" id="{key}">\n<h2>{text(figure.title)}</h2>\n'
        f'<div class="chart" data-spec="{key}-spec"{stretch}>'
        f'<img src="{picture}" alt="{text(figure.title)}: {text(figure.caption)}"></div>\n'
        f'<p class="how">{text(figure.caption)}</p>\n'
        + (f'<ul class="notes">{notes}</ul>\n' if notes else "")
        + f'<p class="files"><a download="{key}.csv" href="{table}">data (CSV)</a>'
        f'<a download="{key}.svg" id="{key}-spec-svg" hidden>picture (SVG)</a></p>\n'
        f'<script type="application/json" id="{key}-spec">{script_json(spec)}</script>\n</section>\n'
    )


def _is_stretchable(spec: dict[str, Any]) -> bool:
    panel = spec.get("spec", spec)
    layers = [panel, *panel.get("layer", ())]
    encodings = [layer["encoding"]["x"] for layer in layers if "x" in layer.get("encoding", {})]
    return all(x.get("type") == "quantitative" for x in encodings)
