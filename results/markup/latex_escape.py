"""Escaping of any text as one line of LaTeX that pdflatex sets, with no command of the text executed.

Characters without a glyph in Computer Modern (other scripts, emoji) are set as their code points, so that a table with
such names still compiles: `[U+6CE8]`.
"""

from __future__ import annotations

import re
import unicodedata

from search_space.parsing.visible import visible

__all__ = ["latex", "latex_number"]

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    '"': "{''}",  # as it is, some languages of babel would interpret it
    "`": "{`}",  # ?` and !` would become Spanish marks
    "\u00b1": r"$\pm$",
    "\u00d7": r"$\times$",
    "\u00b7": r"$\cdot$",
    "\u00a7": r"\S{}",
    "\u00b5": r"$\mu$",
    "\u00b0": r"$^\circ$",
    "\u2190": r"$\leftarrow$",
    "\u2192": r"$\rightarrow$",
    "\u2191": r"$\uparrow$",
    "\u2193": r"$\downarrow$",
    "\u2264": r"$\leq$",
    "\u2265": r"$\geq$",
    "\u2020": r"\dag{}",
    "\u2021": r"\ddag{}",
    "\u2013": r"\textendash{}",
    "\u2014": r"\textemdash{}",
    "\u2026": r"\ldots{}",
    "\u2713": r"\cmark{}",
    "\u2717": r"\xmark{}",
    "\u0394": r"$\Delta$",
    "\u00df": r"\ss{}",
}
_POWER = re.compile(r"\b(10)\\textasciicircum\{\}(\d+)")
_LIGATURE = re.compile(r"([-,'])(?=\1)")  # two of them would become a dash or a quotation mark
_MINUS = re.compile(r"-(?=\d)")
_GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau phi chi psi omega"
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0308": '"',
    "\u030a": "r",
    "\u0327": "c",
    "\u030c": "v",
}


def latex(text: str) -> str:
    """The text as LaTeX."""
    found = "".join(map(_set, visible(text)))
    found = _LIGATURE.sub(r"\1{}", _POWER.sub(r"\1$^{\2}$", found))
    # After the end of a line, a star or a bracket would be an argument of that line end.
    return f"{{}}{found}" if found.startswith(("[", "*")) else found


def latex_number(text: str) -> str:
    """A cell of numbers: as `latex`, with true minus signs and raised stars."""
    stars = len(text) - len(text.rstrip("*"))
    body = _MINUS.sub("$-$", latex(text.rstrip("*")))
    return body + (f"$^{{{'*' * stars}}}$" if stars else "")


def _set(character: str) -> str:
    if character in _SPECIAL:
        return _SPECIAL[character]
    if character.isascii():
        return character
    name = unicodedata.name(character, "").removeprefix("GREEK SMALL LETTER ").lower().replace("lamda", "lambda")
    if name in _GREEK.split():
        return f"$\\{name}$"
    base, *marks = unicodedata.normalize("NFD", character)
    if base.isascii() and base.isalpha() and len(marks) == 1 and marks[0] in _ACCENTS:
        dotless = {"i": r"\i", "j": r"\j"}.get(base, base)
        return f"\\{_ACCENTS[marks[0]]}{{{dotless}}}"
    return f"[U+{ord(character):04X}]"
