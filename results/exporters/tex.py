r"""The table as LaTeX: a float with booktabs rules, ready to be \input into a paper.

The document needs `\usepackage{array,booktabs,graphicx,pifont,rotating}`. A table that would have to shrink below
80 % to fit a column spans both. One that would have to shrink below 80 % to fit the page, too, is rotated on a page of
its own, unless it is so long that caption and notes had no room beside it. A table of few rows is never rotated: where
it fits no column, or would shrink below 80 %, its cells take two lines (`97.00` above `+- 1.00`), and it stays upright.
One that is still too wide is scaled down; headers and long names wrap. The choice is made in the document, where widths
and fonts are defined.
Caption and notes are complete; nothing has to be typed by hand.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from typing import Literal, TextIO

from results.layout.cells import Cell
from results.layout.columns import Column
from results.layout.table_layout import Layout, table_layout
from results.markup.latex_escape import latex, latex_number
from results.table.table import AblationTable
from search_space.parsing.visible import visible

__all__ = ["PACKAGES", "write"]

PACKAGES = ("array", "booktabs", "graphicx", "pifont", "rotating")
_ALIGN = {"left": "l", "right": "r", "center": "c"}
_EMPHASIS = {"": "{}", "bold": r"\textbf{{{}}}", "underline": r"\underline{{{}}}"}
_LONG_NAME = 44  # characters, about 7 cm: what fits beside the numbers
_NAME_WIDTH = r">{\raggedright\arraybackslash}p{7cm}"
_STACKED_NAME = 20
_BRACKET = re.compile(r" (?=\()")  # what is in round brackets behind an interval takes a line of its own
_FEW_ROWS = 6  # in two lines a cell still a table of a dozen lines
_BOX, _STACKED, _HEIGHT, _FLOAT = r"\archsweepbox", r"\archsweepstacked", r"\archsweepheight", r"\archsweepfloat"
# At 80 % the 10 points of a paper are 8, the size of footnotes.
_CHOOSE_CELLS = rf"""\ifdim\wd{_BOX}>\columnwidth%
\ifdim\wd{_STACKED}>\columnwidth\ifdim0.8\wd{_BOX}>\columnwidth%
\ifdim0.8\wd{_STACKED}>\columnwidth\ifdim0.8\wd{_BOX}>\textwidth\sbox{_BOX}{{\usebox{_STACKED}}}\fi%
\else\sbox{_BOX}{{\usebox{_STACKED}}}\fi\fi%
\else\sbox{_BOX}{{\usebox{_STACKED}}}\fi\fi%
"""
_CHOOSE_FLOAT = rf"""\def{_FLOAT}{{table}}%
\ifdim0.8\wd{_BOX}>\columnwidth\def{_FLOAT}{{table*}}\fi%
"""
# Half of the text's width leaves caption and notes of a rotated table about fifteen lines.
_TURN = rf"""\dimendef{_HEIGHT}=0 {_HEIGHT}=\ht{_BOX}\advance{_HEIGHT}\dp{_BOX}%
\ifdim0.8\wd{_BOX}>\textwidth\ifdim2{_HEIGHT}<\textwidth\def{_FLOAT}{{sidewaystable*}}\fi\fi%
"""


def write(table: AblationTable, stream: TextIO) -> None:
    """Write the table as LaTeX."""
    layout = table_layout(table)
    write = stream.write
    write(f"% needs: \\usepackage{{{','.join(PACKAGES)}}}\n")
    write("\\providecommand{\\cmark}{\\ding{51}}\n\\providecommand{\\xmark}{\\ding{55}}\n")
    write(f"\\ifdefined{_BOX}\\else\\newsavebox{{{_BOX}}}\\fi\n")
    is_small = layout.is_transposed or len(layout.columns[0].cells) <= _FEW_ROWS
    is_stacked = is_small and any(
        len(_parts(column, cell, is_stacked=True)) > 1 for column in layout.columns for cell in column.cells
    )
    if is_stacked:
        write(f"\\ifdefined{_STACKED}\\else\\newsavebox{{{_STACKED}}}\\fi\n")
    write(f"\\begingroup\\setlength{{\\tabcolsep}}{{3pt}}%\n\\sbox{_BOX}{{%\n{_tabular(layout)}}}%\n")
    if is_stacked:
        write(f"% The same with two lines a cell, for a narrow column.\n\\sbox{_STACKED}{{%\n")
        write(f"{_tabular(layout, is_stacked=True)}}}%\n{_CHOOSE_CELLS}")
    write(f"{_CHOOSE_FLOAT}{'' if is_small else _TURN}\\expandafter\\begin\\expandafter{{{_FLOAT}}}\n\\centering\n")
    # The first sentence is the caption; the others are notes in small print, or they would be taller than the table.
    head, *rest = (sentence.text for sentence in layout.caption)
    notes = [" ".join(rest)] * bool(rest) + list(layout.footnotes)
    title = latex(layout.title)
    title = rf"\textbf{{{title}.}}" if not layout.has_caption else title if title[-1] in ".!?" else f"{title}."
    write(f"\\caption{{{title} {latex(head)}}}\n")
    if layout.label:
        write(f"\\label{{{layout.label}}}\n")
    write(f"\\smallskip\n\\ifdim\\wd{_BOX}>\\linewidth")
    write(f"\\resizebox{{\\linewidth}}{{!}}{{\\usebox{_BOX}}}\\else\\usebox{_BOX}\\fi\n")
    if notes:
        write("\n\\smallskip\n\\begin{minipage}{\\linewidth}\\footnotesize\\raggedright\n")
        write("\\par\n".join(map(latex, notes)) + "\n\\end{minipage}\n")
    write(f"\\expandafter\\end\\expandafter{{{_FLOAT}}}\\endgroup\n")


def _tabular(layout: Layout, *, is_stacked: bool = False) -> str:
    lines = [f"\\begin{{tabular}}{{{''.join(map(_specification, layout.columns))}}}\n\\toprule\n"]
    lines.append(_line([_header(column, is_stacked=is_stacked) for column in layout.columns]))
    for group in layout.groups:
        lines.append("\\midrule\n")
        if group.title:
            lines.append(f"\\multicolumn{{{len(layout.columns)}}}{{l}}{{\\emph{{{latex(group.title)}}}}} \\\\\n")
        for index in range(group.start, group.stop):
            lines.append(
                _line([_cell(column, column.cells[index], is_stacked=is_stacked) for column in layout.columns])
            )
    if not layout.groups:
        lines.append("\\midrule\n")
    return "".join([*lines, "\\bottomrule\n\\end{tabular}"])


def _header(column: Column, *, is_stacked: bool) -> str:
    """The header, in as many lines as it takes to be no wider than its cells, or than its longest word."""
    parts = [part for cell in column.cells for part in _parts(column, cell, is_stacked=is_stacked)]
    width = max([1, *map(len, visible(column.header).split()), *map(len, parts)])
    lines = textwrap.wrap(visible(column.header), width, break_long_words=False, break_on_hyphens=False)
    return latex(column.header) if len(lines) < 2 else _nested(column, map(latex, lines), "b")


def _nested(column: Column, lines: Iterable[str], place: Literal["t", "b"]) -> str:
    """Lines above each other in one cell, the first (`t`) or the last (`b`) on the line of the row."""
    return rf"\begin{{tabular}}[{place}]{{@{{}}{_ALIGN[column.align]}@{{}}}}" + r"\\".join(lines) + r"\end{tabular}"


def _specification(column: Column) -> str:
    is_long = column.align == "left" and max((len(cell.value) for cell in column.cells), default=0) > _LONG_NAME
    return _NAME_WIDTH if is_long else _ALIGN[column.align]


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + " \\\\\n"


def _cell(column: Column, cell: Cell, *, is_stacked: bool) -> str:
    set_text = latex_number if column.align == "right" else latex
    value = _EMPHASIS[cell.emphasis].format(set_text(cell.value))
    first, *further = _parts(column, cell, is_stacked=is_stacked)
    if not further:
        return value + set_text(cell.spread) + set_text(cell.change) + set_text(cell.paper)
    return _nested(column, [value if first == cell.value else set_text(first), *map(set_text, further)], "t")


def _parts(column: Column, cell: Cell, *, is_stacked: bool) -> list[str]:
    """The texts of a cell that take a line each."""
    if not is_stacked:
        return [str(cell)]
    if column.align == "left":
        return textwrap.wrap(visible(str(cell)), _STACKED_NAME, break_long_words=False, break_on_hyphens=False) or [""]
    parts = [cell.value, *_BRACKET.split(cell.spread), cell.change, cell.paper]
    return [part.strip() for part in parts if part.strip()] or [""]
