"""A figure as a section of the page: a static picture, the data of an interactive one, and both as downloads."""

from __future__ import annotations

import gzip
from typing import Any

from results.figures.figure import Figure
from results.figures.files import figure_csv, figure_spec, figure_svg
from results.markup.html_templates import data_uri
from results.report.section import Section, section

__all__ = ["figure_section"]

_MOST_NOTES = 40
_ROOM = 40
_MOST_PLAIN = 100_000
_MOST_PACKED = 400_000


def figure_section(key: str, figure: Figure) -> Section:
    """The section; `key` is its id, unique in the page."""
    spec = figure_spec(figure)
    table = figure_csv(figure)
    return section(
        key,
        figure.title,
        "figure",
        is_figure=True,
        figure=figure,
        spec=spec,
        # Heatmaps have cells of fixed size; a chart with continuous axes may take the full width.
        is_stretchable=spec is not None and _is_stretchable(spec),
        panels=figure.frame[spec["facet"]["field"]].nunique() if spec is not None and "facet" in spec else None,
        picture=figure_svg(figure, room=_ROOM),
        notes=figure.notes[:_MOST_NOTES],
        more_notes=len(figure.notes) - _MOST_NOTES,
        link=_data_link(table),
        megabytes=len(table) / 1e6,
    )


def _data_link(table: str) -> tuple[str, str, str] | None:
    """Suffix, label and content of the table's download; compressed if large, None if it would be most of the file."""
    if len(table) <= _MOST_PLAIN:
        return "csv", "CSV", data_uri(table, "text/csv;charset=utf-8")
    packed = gzip.compress(table.encode(), mtime=0)
    if len(packed) <= _MOST_PACKED:
        return "csv.gz", "CSV, gzip", data_uri(packed, "application/gzip")
    return None


def _is_stretchable(spec: dict[str, Any]) -> bool:
    panel = spec.get("spec", spec)
    layers = [panel, *panel.get("layer", ())]
    encodings = [layer["encoding"]["x"] for layer in layers if "x" in layer.get("encoding", {})]
    return all(x.get("type") == "quantitative" for x in encodings)
