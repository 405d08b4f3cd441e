"""Effects as CSV: one line per term, full precision.

    term, estimate, low, high, df, f_value, partial_eta_squared, p, p_corrected, aliased_with (JSON)

`low` and `high` bound the 95 % interval; `aliased_with` maps terms to correlations. Terms that the design cannot
estimate follow with nothing but their names.
"""

from __future__ import annotations

from typing import TextIO

from results.effects.design_matrix import term_name
from results.effects.effects import Effects
from results.markup.csv_cells import csv_line

__all__ = ["write_effects_csv"]

_COLUMNS = (
    "term",
    "estimate",
    "low",
    "high",
    "df",
    "f_value",
    "partial_eta_squared",
    "p",
    "p_corrected",
    "aliased_with",
)


def write_effects_csv(effects: Effects, stream: TextIO) -> None:
    """Write the effects in the order of the analysis."""
    stream.write(csv_line(_COLUMNS))
    for one in effects.effects:
        aliases = {term_name(term): size for term, size in one.aliased_with.items()}
        numbers = (one.estimate, one.low, one.high, one.df, one.f_value, one.share, one.p, one.p_corrected)
        stream.write(csv_line([one.name, *numbers, aliases or None]))
    for term in effects.not_estimated:
        stream.write(csv_line([term_name(term), *[None] * (len(_COLUMNS) - 1)]))
