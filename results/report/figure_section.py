"""A figure as a section of the page: a still picture, the data for a live one, and both as files to keep."""

from __future__ import annotations

import gzip
from typing import Any

from results.figures.figure import Figure
from results.figures.files import figure_csv, figure_spec, figure_svg
from results.report.assets import data_uri, script_json, text

__all__ = ["drawn"]

_MOST_NOTES = 40
_ROOM = 40
_MOST_PLAIN = 100_000
_MOST_PACKED = 400_000


def drawn(key: str, figure: Figure) -> str:
    """The section; `key` is its id, unique in the page."""
    spec = figure_spec(figure)
    # Heatmaps have cells of a size; what has one continuous axis may be as wide as there is room.
    stretch = " data-stretch" if _is_stretchable(spec) else ""
    if "facet" in spec:
        stretch += f' data-panels="{figure.frame[spec["facet"]["field"]].nunique()}"'
    notes = "".join(f"<li>{text(note)}</li>" for note in figure.notes[:_MOST_NOTES])
    if len(figure.notes) > _MOST_NOTES:
        notes += f"<li>and {len(figure.notes) - _MOST_NOTES} more</li>"
    picture = data_uri("image/svg+xml", figure_svg(figure, room=_ROOM))
    return (
        f'<section class="drawn" id="{key}">\n<h2>{text(figure.title)}</h2>\n'
        f'<div class="chart" data-spec="{key}-spec"{stretch}>'
        f'<img src="{picture}" alt="{text(figure.title)}: {text(figure.caption)}"></div>\n'
        f'<p class="how">{text(figure.caption)}</p>\n'
        + (f'<ul class="notes">{notes}</ul>\n' if notes else "")
        + f'<p class="files">{_data_link(key, figure_csv(figure))}'
        f'<a download="{key}.svg" id="{key}-spec-svg" hidden>picture (SVG)</a></p>\n'
        f'<script type="application/json" id="{key}-spec">{script_json(spec)}</script>\n</section>\n'
    )


def _data_link(key: str, table: str) -> str:
    """The table to keep; packed where it is large, and a word instead where it would be most of the file."""
    if len(table) <= _MOST_PLAIN:
        return f'<a download="{key}.csv" href="{data_uri("text/csv;charset=utf-8", table)}">data (CSV)</a>'
    packed = gzip.compress(table.encode(), mtime=0)
    if len(packed) <= _MOST_PACKED:
        return f'<a download="{key}.csv.gz" href="{data_uri("application/gzip", packed)}">data (CSV, gzip)</a>'
    return f"data: {len(table) / 1e6:.0f} MB of CSV, written by <code>archsweep report --figures DIR</code> "


def _is_stretchable(spec: dict[str, Any]) -> bool:
    panel = spec.get("spec", spec)
    layers = [panel, *panel.get("layer", ())]
    encodings = [layer["encoding"]["x"] for layer in layers if "x" in layer.get("encoding", {})]
    return all(x.get("type") == "quantitative" for x in encodings)
