"""The table as one HTML file: sortable, readable on a phone and on paper, without any request to a network.

Everything that came from a sweep or a record is text, never markup. A click on a header sorts by the numbers at full
precision, a second one turns the order round, a third one restores it. `fragment` is the table alone, for a page that
brings `STYLE` and `SCRIPT` itself.
"""

from __future__ import annotations

from html import escape
from typing import TextIO

from results.layout.table_layout import Cell, Column, Layout, table_layout
from results.markup.html_assets import SCRIPT, STYLE
from results.table.table import AblationTable
from search_space.parsing.visible import visible

__all__ = ["SCRIPT", "STYLE", "fragment", "write"]

_EMPHASIS = {"": "{}", "bold": "<b>{}</b>", "underline": "<u>{}</u>"}
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def write(table: AblationTable, stream: TextIO) -> None:
    """Writes the table as an HTML document."""
    layout = table_layout(table)
    title = _text(layout.title)
    stream.write(
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    )
    stream.write(_fragment(layout))
    stream.write(f"<script>\n{SCRIPT}</script>\n</body>\n</html>\n")


def fragment(table: AblationTable) -> str:
    """The table with its caption and notes, as a `figure`."""
    return _fragment(table_layout(table))


def _fragment(layout: Layout) -> str:
    heads = "".join(
        f'<th scope="col" class="{column.align}"><button type="button">{_text(column.header)}</button></th>'
        for column in layout.columns
    )
    lines = ['<figure class="ablation">', '<div class="scroll">', "<table>", f"<thead><tr>{heads}</tr></thead>"]
    for group in layout.groups:
        lines.append("<tbody>")
        if group.title:
            lines.append(
                f'<tr class="group"><th colspan="{len(layout.columns)}" scope="rowgroup">{_text(group.title)}</th></tr>'
            )
        lines += [_row(layout, index) for index in range(group.start, group.stop)]
        lines.append("</tbody>")
    lines += ["</table>", "</div>", "<figcaption>"]
    lines.append(f"<p>{_text(' '.join(sentence.text for sentence in layout.caption))}</p>")
    if layout.footnotes:
        lines += ["<ul>", *(f"<li>{_text(note)}</li>" for note in layout.footnotes), "</ul>"]
    return "\n".join([*lines, "</figcaption>", "</figure>"]) + "\n"


def _row(layout: Layout, index: int) -> str:
    return f"<tr>{''.join(_cell(column, column.cells[index]) for column in layout.columns)}</tr>"


def _cell(column: Column, cell: Cell) -> str:
    key = "" if cell.sort_by is None else f' data-sort="{cell.sort_by!r}"'
    value = _EMPHASIS[cell.emphasis].format(_text(cell.value))
    change = f'<span class="change">{_text(cell.change)}</span>' if cell.change else ""
    return f'<td class="{column.align}"{key}>{value}{_text(cell.spread)}{change}</td>'


def _text(text: str) -> str:
    return escape(visible(text), quote=True)
