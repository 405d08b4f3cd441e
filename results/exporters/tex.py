r"""The table as LaTeX: a `table` float with booktabs rules, ready to be \input into a paper.

The document needs `\usepackage{array,booktabs,graphicx,pifont}`. A table wider than the line is scaled down to it; long
names wrap. Caption and notes answer what reviewers ask; nothing is left to be typed by hand.
"""

from __future__ import annotations

from typing import TextIO

from results.latex import latex, latex_number
from results.layout import Cell, Column, table_layout
from results.table import AblationTable

__all__ = ["PACKAGES", "write"]

PACKAGES = ("array", "booktabs", "graphicx", "pifont")
_ALIGN = {"left": "l", "right": "r", "center": "c"}
_EMPHASIS = {"": "{}", "bold": r"\textbf{{{}}}", "underline": r"\underline{{{}}}"}
_LONG_NAME = 44  # characters, about 7 cm: what fits beside the numbers
_NAME_WIDTH = r">{\raggedright\arraybackslash}p{7cm}"
_BOX = r"\archsweepbox"


def write(table: AblationTable, stream: TextIO) -> None:
    """Writes the table as LaTeX."""
    layout = table_layout(table)
    write = stream.write
    write(f"% needs: \\usepackage{{{','.join(PACKAGES)}}}\n")
    write("\\providecommand{\\cmark}{\\ding{51}}\n\\providecommand{\\xmark}{\\ding{55}}\n")
    write(f"\\ifdefined{_BOX}\\else\\newsavebox{{{_BOX}}}\\fi\n")
    write("\\begin{table}[tbp]\n\\centering\n")
    # The first sentence is the caption; the others are notes in small print, or they would be taller than the table.
    head, *rest = (sentence.text for sentence in layout.caption)
    notes = [" ".join(rest)] * bool(rest) + list(layout.footnotes)
    write(f"\\caption{{\\textbf{{{latex(layout.title)}.}} {latex(head)}}}\n")
    write("\\setlength{\\tabcolsep}{3pt}\n\\smallskip\n")
    write(f"\\sbox{_BOX}{{%\n\\begin{{tabular}}{{{''.join(map(_specification, layout.columns))}}}\n\\toprule\n")
    write(_line([latex(column.header) for column in layout.columns]))
    for group in layout.groups:
        write("\\midrule\n")
        if group.title:
            write(f"\\multicolumn{{{len(layout.columns)}}}{{l}}{{\\emph{{{latex(group.title)}}}}} \\\\\n")
        for index in range(group.start, group.stop):
            write(_line([_cell(column, column.cells[index]) for column in layout.columns]))
    if not layout.groups:
        write("\\midrule\n")
    write(f"\\bottomrule\n\\end{{tabular}}}}%\n\\ifdim\\wd{_BOX}>\\linewidth")
    write(f"\\resizebox{{\\linewidth}}{{!}}{{\\usebox{_BOX}}}\\else\\usebox{_BOX}\\fi\n")
    if notes:
        write("\n\\smallskip\n\\begin{minipage}{\\linewidth}\\footnotesize\\raggedright\n")
        write("\\par\n".join(map(latex, notes)) + "\n\\end{minipage}\n")
    write("\\end{table}\n")


def _specification(column: Column) -> str:
    is_long = column.align == "left" and max((len(cell.value) for cell in column.cells), default=0) > _LONG_NAME
    return _NAME_WIDTH if is_long else _ALIGN[column.align]


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + " \\\\\n"


def _cell(column: Column, cell: Cell) -> str:
    set_text = latex_number if column.align == "right" else latex
    return _EMPHASIS[cell.emphasis].format(set_text(cell.value)) + set_text(cell.spread) + set_text(cell.change)
