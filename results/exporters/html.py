"""The table as one HTML file: sortable, readable on a phone and on paper, without any request to a network.

Everything that came from a sweep or a record is text, never markup. A click on a header sorts by the numbers at full
precision, a second one turns the order round, a third one restores it. `fragment` is the table alone, for a page that
contains `table.css` and `table.js` itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TextIO

from markupsafe import Markup

from results.layout.table_layout import table_layout
from results.markup.html_templates import render
from results.table.table import AblationTable

__all__ = ["fragment", "write"]


def write(table: AblationTable, stream: TextIO) -> None:
    """Write the table as an HTML document."""
    stream.write(render("exporters/assets/table_page.html.j2", layout=table_layout(table)))


def fragment(table: AblationTable, *, most_rows: int | None = None) -> Markup:
    """The table with its caption and notes, as a `figure`.

    Args:
        most_rows: rows after these are left out, with a note; caption and notes stay those of the whole table.
    """
    layout = table_layout(table)
    num_rows = layout.groups[-1].stop if layout.groups else 0
    if most_rows is None or num_rows <= most_rows:
        return render("exporters/assets/table.html.j2", layout=layout)
    groups = tuple(replace(each, stop=min(each.stop, most_rows)) for each in layout.groups if each.start < most_rows)
    note = f"The first {most_rows} of {num_rows} rows are shown here; the CSV file has all."
    layout = replace(layout, groups=groups, footnotes=(*layout.footnotes, note))
    return render("exporters/assets/table.html.j2", layout=layout)
