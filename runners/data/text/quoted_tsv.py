"""TSV files whose values are in quotes, as writers of CSV make them with a tab between values.

pandas (`to_csv(sep="\\t")`), Hugging Face datasets and R put a value into quotes where it has a quote, a tab or a line
break inside, or put all into quotes, and double the quotes inside. In the files of GLUE a quote is a character like any
other. Read in the wrong way, every such text has other quotes than its author wrote. So a file counts as quoted if

    every value with a quote in it begins and ends with one, and has only doubled ones inside,
    every row has as many values as the first one,
    no value in quotes has whole rows in it (one that begins with a quote, and one far below that ends with one), and
    quotes were needed somewhere (one inside a value, a tab, a line break), or all names of the columns are in quotes.

`"yes"` alone is no evidence: a writer that needs no quotes there writes none, and of the quotes in the text it would
make `\"\"\"yes\"\"\"`.
"""

from __future__ import annotations

import re

__all__ = ["quoted_rows"]

_VALUE = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"|([^"\t\r\n]*))(\t|\r?\n|\Z)')
_NEEDS_QUOTES = re.compile(r'["\t\r\n]')


def quoted_rows(text: str) -> list[tuple[int, list[str]]] | None:
    """Rows with the line in which each begins, of a file that counts as quoted; None for any other.

    >>> quoted_rows('text\\tlabel\\n"He said ""no""."\\t1\\n')
    [(1, ['text', 'label']), (2, ['He said "no".', '1'])]
    """
    if '"' not in text:
        return None
    rows: list[tuple[int, list[str]]] = []
    row: list[str] = []
    at, line, begin, num_quoted, is_evident = 0, 1, 1, 0, False
    long: list[str] = []
    while at < len(text):
        found = _VALUE.match(text, at)
        if found is None:
            return None
        quoted, plain, end = found.groups()
        row.append(plain if quoted is None else quoted.replace('""', '"'))
        num_quoted += quoted is not None
        is_evident |= quoted is not None and _NEEDS_QUOTES.search(quoted) is not None
        long += [quoted] if quoted is not None and "\t" in quoted and "\n" in quoted else []
        line, at = line + found.group().count("\n"), found.end()
        if end == "\t" and at < len(text):
            continue
        row += [""] * (end == "\t")  # the file ends with a tab: the last value is empty
        if row != [""]:
            is_evident |= not rows and num_quoted == len(row)
            rows.append((begin, row))
        row, begin, num_quoted = [], line, 0
    widths = {len(values) for _, values in rows}
    if not is_evident or len(widths) > 1:
        return None
    [width] = widths
    return None if any(text.count("\t") == text.count("\n") * (width - 1) for text in long) else rows
