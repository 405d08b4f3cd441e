"""The table for a terminal: aligned, without colours, as wide as the terminal where the names allow it.

What has no room is named in a note, never cut in silence: first standard deviations of the differences, changes of
cost and what a paper says beside a number, then the column of the verdicts, which a note then lists, then probes,
changed values, costs and published values.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TextIO

from results.layout.columns import Column
from results.layout.table_layout import Layout, table_layout
from results.table.table import AblationTable
from search_space.parsing.errors import first_of
from search_space.parsing.visible import visible

__all__ = ["WIDTH", "write", "write_to_width"]

WIDTH = 100
_NO_LIMIT = 1_000_000
_NARROWEST_TERMINAL = 40
_GAP = "  "
_RULE = "\u2500"
_INDENT = 2
_NARROWEST = 14  # a name is broken, but into no narrower column
_WIDEST_WORD = 36
_MOST_LISTED = 8


def write(table: AblationTable, stream: TextIO) -> None:
    """Write the table as plain text, 100 columns wide where the names allow it."""
    _write(_fitting(table, WIDTH), WIDTH, stream)


def write_to_width(table: AblationTable, stream: TextIO, width: int | None) -> None:
    """Write the table for a terminal of this many columns; None: no limit, for a file or a pipe."""
    limit = _NO_LIMIT if width is None else max(width, _NARROWEST_TERMINAL)
    _write(_without_excess(table, _fitting(table, limit), limit), limit, stream)


def _write(fitting: _Fitting, limit: int, stream: TextIO) -> None:
    layout, shown, has_changes = fitting.layout, fitting.columns, fitting.has_changes
    headers, columns, widths = _set(shown, limit, has_changes=has_changes, in_parts=not layout.is_transposed)
    aligns = [column.align for column in shown]
    rule = _RULE * _total(widths) + "\n"
    of_notes = min(limit, WIDTH)
    stream.write("\n".join(_wrap(visible(layout.title), of_notes, indent=0)) + "\n\n")
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
    for note in (*layout.notes(without={"print", *fitting.lacks}), *fitting.notes):
        stream.write("\n".join(_wrap(visible(note), of_notes)) + "\n")


def _set(
    columns: Sequence[Column], limit: int, *, has_changes: bool, in_parts: bool = True
) -> tuple[list[str], list[list[str]], list[int]]:
    """Headers, cells and widths of the columns."""
    headers = [visible(column.header) for column in columns]
    texts = [_texts(column, has_changes=has_changes, in_parts=in_parts) for column in columns]
    return headers, texts, _fit(headers, texts, [column.align for column in columns], limit)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


@dataclass(frozen=True)
class _Fitting:
    """What fits the width: columns, and whether the changes of cost fit too; else what is left out or a note."""

    layout: Layout
    columns: tuple[Column, ...]
    has_changes: bool = True
    verdicts: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def lacks(self) -> tuple[str, ...]:
        """Parts of the table that need no sentence of the caption."""
        has_spread = self.layout.is_transposed or any(column.name == "delta_std" for column in self.columns)
        return ("spread",) * (not has_spread) + ("changes",) * (not self.has_changes)

    @property
    def notes(self) -> tuple[str, ...]:
        if not self.left_out:
            return self.verdicts
        return (*self.verdicts, f"Too wide for a terminal and left out: {', '.join(self.left_out)}; see --format md.")


def _fitting(table: AblationTable, limit: int) -> _Fitting:
    layout = table_layout(table)
    columns = layout.columns
    if _fits(layout, columns, limit, has_changes=True):
        return _Fitting(layout, columns)
    gone = [] if layout.is_transposed else [column for column in columns if column.drop_priority == 1]
    columns = tuple(column for column in columns if column not in gone)
    changes = ["changes of cost"] if any(cell.change for column in columns for cell in column.cells) else []
    if any(cell.paper for column in columns for cell in column.cells):
        changes.append("published values beside others, and differences to them")
    verdicts: tuple[str, ...] = ()
    verdict = next((column for column in columns if column.name == "verdict"), None)
    if verdict is not None and not _fits(layout, columns, limit, has_changes=False):
        columns = tuple(column for column in columns if column is not verdict)
        verdicts = _listed(verdict, next((one for one in layout.columns if one.name == "variant"), layout.columns[0]))
    return _Fitting(layout, columns, False, verdicts, (*(column.header for column in gone), *changes))


def _without_excess(table: AblationTable, fitting: _Fitting, limit: int) -> _Fitting:
    """The same without further columns where it is still too wide; the rows' names and the metric always stay."""
    layout, columns = fitting.layout, fitting.columns
    if _fits(layout, columns, limit, has_changes=fitting.has_changes):
        return fitting
    # From the most important on: a narrow column may fit where a wide one before it did not.
    kept = [column for column in columns if not column.drop_priority]
    for column in sorted(columns, key=lambda column: -column.drop_priority):
        wider = [one for one in columns if one in kept or one is column]
        if column.drop_priority and _fits(layout, wider, limit, has_changes=False):
            kept = wider
    hidden = sorted((one for one in columns if one not in kept), key=lambda column: column.drop_priority)
    columns = tuple(one for one in columns if one in kept)
    if hidden and not layout.is_transposed:
        # What is said about a hidden column goes with it; the verdicts are still there, as a note.
        layout = table_layout(table, hidden={column.name for column in hidden})
    left_out = (*fitting.left_out, *(column.header for column in hidden))
    return replace(fitting, layout=layout, columns=columns, has_changes=False, left_out=left_out)


def _fits(layout: Layout, columns: Sequence[Column], limit: int, *, has_changes: bool) -> bool:
    widths = _set(columns, limit, has_changes=has_changes, in_parts=not layout.is_transposed)[2]
    return _total(widths) <= limit


def _listed(verdict: Column, rows: Column) -> tuple[str, ...]:
    """A note with the verdicts, by the names of the rows."""
    names: dict[str, list[str]] = {}
    for cell, name in zip(verdict.cells, rows.cells, strict=True):
        if cell.value:
            names.setdefault(cell.value, []).append(name.value)
    listed = "; ".join(f"{word}: {first_of(found, _MOST_LISTED)}" for word, found in names.items())
    return (f"Verdicts: {listed}.",)


def _fit(headers: Sequence[str], columns: Sequence[Sequence[str]], aligns: Sequence[str], limit: int) -> list[int]:
    """Width of every column. Where the table gets too wide, headers break at spaces, then names break too."""
    gaps = len(_GAP) * (len(headers) - 1)
    widths = [max(map(_width, [header, *texts])) for header, texts in zip(headers, columns, strict=True)]
    if sum(widths) + gaps > limit:
        words = [max(map(_width, header.split()), default=0) for header in headers]
        widths = [max([word, *map(_width, texts)]) for word, texts in zip(words, columns, strict=True)]
    for index in [index for index, align in enumerate(aligns) if align == "left"]:
        excess = sum(widths) + gaps - limit
        longest = max((_width(word) for text in columns[index] for word in text.split()), default=0)
        narrowest = max(_NARROWEST, min(longest + _INDENT, _WIDEST_WORD))
        widths[index] = min(widths[index], max(narrowest, widths[index] - max(0, excess)))
    return widths


def _texts(column: Column, *, has_changes: bool, in_parts: bool) -> list[str]:
    """The cells of a column, with value and what follows it each aligned among themselves (`in_parts`)."""
    rests = [cell.spread + (cell.change + cell.paper if has_changes else "") for cell in column.cells]
    if not in_parts:
        return [visible(cell.value) + rest for cell, rest in zip(column.cells, rests, strict=True)]
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
