"""The table for a terminal: aligned, without colours, 100 columns wide where the names allow it."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence
from typing import TextIO

from results.layout.table_layout import VERDICT, Column, Layout, table_layout
from results.table.table import AblationTable
from search_space.parsing.errors import first_of
from search_space.parsing.visible import visible

__all__ = ["WIDTH", "write"]

WIDTH = 100
_GAP = "  "
_RULE = "\u2500"
_INDENT = 2
_NARROWEST = 14  # a name is broken, but into no narrower column
_WIDEST_WORD = 36
_MOST_LISTED = 8


def write(table: AblationTable, stream: TextIO) -> None:
    """Write the table as plain text."""
    layout = table_layout(table)
    shown, has_changes, left_out = _fitting(layout)
    headers, columns, widths = _set(shown, has_changes=has_changes)
    aligns = [column.align for column in shown]
    rule = _RULE * _total(widths) + "\n"
    stream.write(f"{visible(layout.title)}\n\n")
    wrapped = [_wrap(header, width, indent=0) for header, width in zip(headers, widths, strict=True)]
    height = max(map(len, wrapped))
    _write_lines(stream, [[""] * (height - len(lines)) + lines for lines in wrapped], widths, aligns)
    stream.write(rule)
    for group in layout.groups:
        if group.start:
            stream.write("\n")
        if group.title:
            stream.write(f"{visible(group.title)}:\n")
        for index in range(group.start, group.stop):
            cells = [texts[index] for texts in columns]
            lines = [
                _wrap(cell, width) if align == "left" else [cell]
                for cell, width, align in zip(cells, widths, aligns, strict=True)
            ]
            _write_lines(stream, lines, widths, aligns)
    stream.write(rule)
    for note in (*layout.notes(without={"print"} if has_changes else {"print", "optional"}), *left_out):
        stream.write("\n".join(_wrap(visible(note), WIDTH)) + "\n")


def _set(columns: Sequence[Column], *, has_changes: bool) -> tuple[list[str], list[list[str]], list[int]]:
    """Headers, cells and widths of the columns."""
    headers = [visible(column.header) for column in columns]
    texts = [_texts(column, has_changes=has_changes) for column in columns]
    return headers, texts, _fit(headers, texts, [column.align for column in columns])


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _fitting(layout: Layout) -> tuple[tuple[Column, ...], bool, tuple[str, ...]]:
    """The columns that fit the width, whether the changes of cost fit too, and notes on what was left out."""
    columns = layout.columns
    if _total(_set(columns, has_changes=True)[2]) <= WIDTH:
        return columns, True, ()
    gone = [column.header for column in columns if column.drop_priority == 1]
    gone += ["changes of cost"] if any(cell.change for column in columns for cell in column.cells) else []
    left_out = (f"Too wide for a terminal and left out: {', '.join(gone)}; see --format md.",) if gone else ()
    columns = tuple(column for column in columns if column.drop_priority != 1)
    verdict = next((column for column in columns if column.header == VERDICT and not column.is_name), None)
    if verdict is None or _total(_set(columns, has_changes=False)[2]) <= WIDTH:
        return columns, False, left_out
    names: dict[str, list[str]] = {}
    for cell, name in zip(verdict.cells, columns[0].cells, strict=True):
        if cell.value:
            names.setdefault(cell.value, []).append(name.value)
    listed = "; ".join(f"{word}: {first_of(found, _MOST_LISTED)}" for word, found in names.items())
    return tuple(column for column in columns if column is not verdict), False, (f"Verdicts: {listed}.", *left_out)


def _fit(headers: Sequence[str], columns: Sequence[Sequence[str]], aligns: Sequence[str]) -> list[int]:
    """Width of every column. Where the table gets too wide, headers break at spaces, then names break too."""
    gaps = len(_GAP) * (len(headers) - 1)
    widths = [max(map(_width, [header, *texts])) for header, texts in zip(headers, columns, strict=True)]
    if sum(widths) + gaps > WIDTH:
        words = [max(map(_width, header.split()), default=0) for header in headers]
        widths = [max([word, *map(_width, texts)]) for word, texts in zip(words, columns, strict=True)]
    for index in [index for index, align in enumerate(aligns) if align == "left"]:
        excess = sum(widths) + gaps - WIDTH
        longest = max((_width(word) for text in columns[index] for word in text.split()), default=0)
        narrowest = max(_NARROWEST, min(longest + _INDENT, _WIDEST_WORD))
        widths[index] = min(widths[index], max(narrowest, widths[index] - max(0, excess)))
    return widths


def _texts(column: Column, *, has_changes: bool) -> list[str]:
    """The cells of a column, with value and what follows it each aligned among themselves."""
    rests = [cell.spread + (cell.change if has_changes else "") for cell in column.cells]
    left = max((_width(cell.value) for cell, rest in zip(column.cells, rests, strict=True) if rest), default=0)
    right = max(map(_width, rests), default=0)
    return [
        cell.value.rjust(left) + rest.ljust(right) if right and cell.value else visible(cell.value)
        for cell, rest in zip(column.cells, rests, strict=True)
    ]


def _write_lines(stream: TextIO, cells: Sequence[Sequence[str]], widths: Sequence[int], aligns: Sequence[str]) -> None:
    """Write one row of cells of one or more lines each."""
    for number in range(max(map(len, cells))):
        parts = [lines[number] if number < len(lines) else "" for lines in cells]
        padded = [_pad(part, width, align) for part, width, align in zip(parts, widths, aligns, strict=True)]
        stream.write(_GAP.join(padded).rstrip() + "\n")


def _wrap(text: str, width: int, *, indent: int = _INDENT) -> list[str]:
    """Lines of at most `width`, the later ones indented. Never empty."""
    if _width(text) <= width:
        return [text]
    return textwrap.wrap(text, width, subsequent_indent=" " * indent, break_on_hyphens=False) or [""]


def _pad(text: str, width: int, align: str) -> str:
    space = max(0, width - _width(text))
    if align == "right":
        return " " * space + text
    if align == "center":
        return " " * (space // 2) + text + " " * (space - space // 2)
    return text + " " * space


def _width(text: str) -> int:
    """Columns a terminal needs: East Asian wide characters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
