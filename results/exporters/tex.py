r"""The table as LaTeX: a float with booktabs rules, ready to be \input into a paper.

The document needs `\usepackage{array,booktabs,graphicx,pifont,rotating}`. A table too wide for a column spans both.
One that would have to shrink below 80 % to fit the page is rotated on a page of its own, unless it is so long that
caption and notes had no room beside it. One that is still too wide is scaled down; long names wrap. The choice is made
in the document, where widths and fonts are defined. Caption and notes are complete; nothing has to be typed by hand.
"""

from __future__ import annotations

from typing import TextIO

from results.layout.table_layout import Cell, Column, Layout, table_layout
from results.markup.latex_escape import latex, latex_number
from results.table.table import AblationTable

__all__ = ["PACKAGES", "write"]

PACKAGES = ("array", "booktabs", "graphicx", "pifont", "rotating")
_ALIGN = {"left": "l", "right": "r", "center": "c"}
_EMPHASIS = {"": "{}", "bold": r"\textbf{{{}}}", "underline": r"\underline{{{}}}"}
_LONG_NAME = 44  # characters, about 7 cm: what fits beside the numbers
_NAME_WIDTH = r">{\raggedright\arraybackslash}p{7cm}"
_BOX, _HEIGHT, _FLOAT = r"\archsweepbox", r"\archsweepheight", r"\archsweepfloat"
# At 80 % the 10 points of a paper are 8, the size of footnotes. Half of the text's width leaves caption and notes of a
# rotated table about fifteen lines.
_CHOOSE_FLOAT = rf"""\def{_FLOAT}{{table}}%
\ifdim\wd{_BOX}>\columnwidth\def{_FLOAT}{{table*}}\fi%
\dimendef{_HEIGHT}=0 {_HEIGHT}=\ht{_BOX}\advance{_HEIGHT}\dp{_BOX}%
\ifdim0.8\wd{_BOX}>\textwidth\ifdim2{_HEIGHT}<\textwidth\def{_FLOAT}{{sidewaystable*}}\fi\fi%
"""


def write(table: AblationTable, stream: TextIO) -> None:
    """Write the table as LaTeX."""
    layout = table_layout(table)
    write = stream.write
    write(f"% needs: \\usepackage{{{','.join(PACKAGES)}}}\n")
    write("\\providecommand{\\cmark}{\\ding{51}}\n\\providecommand{\\xmark}{\\ding{55}}\n")
    write(f"\\ifdefined{_BOX}\\else\\newsavebox{{{_BOX}}}\\fi\n")
    write(f"\\begingroup\\setlength{{\\tabcolsep}}{{3pt}}%\n\\sbox{_BOX}{{%\n{_tabular(layout)}}}%\n")
    write(f"{_CHOOSE_FLOAT}\\expandafter\\begin\\expandafter{{{_FLOAT}}}\n\\centering\n")
    # The first sentence is the caption; the others are notes in small print, or they would be taller than the table.
    head, *rest = (sentence.text for sentence in layout.caption)
    notes = [" ".join(rest)] * bool(rest) + list(layout.footnotes)
    write(f"\\caption{{\\textbf{{{latex(layout.title)}.}} {latex(head)}}}\n")
    write(f"\\smallskip\n\\ifdim\\wd{_BOX}>\\linewidth")
    write(f"\\resizebox{{\\linewidth}}{{!}}{{\\usebox{_BOX}}}\\else\\usebox{_BOX}\\fi\n")
    if notes:
        write("\n\\smallskip\n\\begin{minipage}{\\linewidth}\\footnotesize\\raggedright\n")
        write("\\par\n".join(map(latex, notes)) + "\n\\end{minipage}\n")
    write(f"\\expandafter\\end\\expandafter{{{_FLOAT}}}\\endgroup\n")


def _tabular(layout: Layout) -> str:
    lines = [f"\\begin{{tabular}}{{{''.join(map(_specification, layout.columns))}}}\n\\toprule\n"]
    lines.append(_line([latex(column.header) for column in layout.columns]))
    for group in layout.groups:
        lines.append("\\midrule\n")
        if group.title:
            lines.append(f"\\multicolumn{{{len(layout.columns)}}}{{l}}{{\\emph{{{latex(group.title)}}}}} \\\\\n")
        for index in range(group.start, group.stop):
            lines.append(_line([_cell(column, column.cells[index]) for column in layout.columns]))
    if not layout.groups:
        lines.append("\\midrule\n")
    return "".join([*lines, "\\bottomrule\n\\end{tabular}"])


def _specification(column: Column) -> str:
    is_long = column.align == "left" and max((len(cell.value) for cell in column.cells), default=0) > _LONG_NAME
    return _NAME_WIDTH if is_long else _ALIGN[column.align]


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + " \\\\\n"


def _cell(column: Column, cell: Cell) -> str:
    set_text = latex_number if column.align == "right" else latex
    return _EMPHASIS[cell.emphasis].format(set_text(cell.value)) + set_text(cell.spread) + set_text(cell.change)
