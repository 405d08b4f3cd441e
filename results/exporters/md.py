"""The table as GitHub Markdown, with the footnotes as a list below it. Names are escaped, so they show as they are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TextIO

from results.layout.columns import Column
from results.layout.table_layout import table_layout
from results.table.table import AblationTable
from search_space.parsing.visible import visible

__all__ = ["escape", "write"]

_EMPHASIS = {"": ("", ""), "bold": ("**", "**"), "underline": ("<ins>", "</ins>")}  # GitHub strips <u>
_RULES = {"left": ":---", "right": "---:", "center": ":---:"}
# Only active markup is escaped, so that the source stays readable: underscores and stars inside words mark
# nothing up, brackets are a link only before another bracket, an ampersand is an entity only with its semicolon.
_MARKUP = re.compile(r"([\\`<>|~$]|\](?=[(\[])|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])|(?<!\w)\*|\*(?!\w))")


def write(table: AblationTable, stream: TextIO) -> None:
    """Write the table as Markdown."""
    layout = table_layout(table)
    if layout.has_caption:
        stream.write(f"**{escape(layout.title).strip()}**\n\n")
    stream.write(_line(escape(column.header) for column in layout.columns))
    stream.write(_line(_RULES[column.align] for column in layout.columns))
    for group in layout.groups:
        if group.title:
            title = f"*{escape(group.title)}*"
            stream.write(_line([title, *[""] * (len(layout.columns) - 1)]))
        for index in range(group.start, group.stop):
            stream.write(_line(_cell(column, index) for column in layout.columns))
    stream.write("\n")
    for note in layout.notes():
        stream.write(f"- {escape(note)}\n")


def escape(text: str) -> str:
    """The text escaped so that Markdown shows it unchanged, on one line."""
    return _MARKUP.sub(r"\\\1", visible(text))


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |\n"


def _cell(column: Column, index: int) -> str:
    cell = column.cells[index]
    opening, closing = _EMPHASIS[cell.emphasis]
    return opening + escape(cell.value) + closing + escape(cell.spread + cell.change + cell.paper)
