"""Shapley values at full precision (`shapley.csv`), one line per component; without rounding and without texts.

    component, seeds, value, low, high, level, p, p_corrected, correction, orders, order_error,
    alone, alone_low, alone_high, in_full, in_full_low, in_full_high,
    beyond_alone, beyond_alone_low, beyond_alone_high, beyond_in_full, beyond_in_full_low, beyond_in_full_high

`orders` is the number of sampled orders, 0 where the values are exact; `order_error` is empty then. A value is empty
where a coalition that it needs is missing: the table of the report names it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from results.effects.shapley import shapley
from results.markup.csv_cells import csv_line
from results.stats.hypothesis_tests import CORRECTION_NAMES
from results.stats.paired import PairedDelta
from results.table.table import AblationTable

__all__ = ["write_shapley_csv"]

_DELTAS = ("alone", "in_full", "beyond_alone", "beyond_in_full")
_HEADS = (
    *("component", "seeds", "value", "low", "high", "level", "p", "p_corrected", "correction", "orders", "order_error"),
    *(name + end for name in _DELTAS for end in ("", "_low", "_high")),
)


def write_shapley_csv(table: AblationTable, stream: TextIO) -> None:
    """Write the values of a table of the design `shapley`."""
    found = shapley(table)
    stream.write(csv_line(_HEADS))
    correction = CORRECTION_NAMES[table.analysis.correction]
    for one in found.values:
        num = 0 if one.value is None else one.value.num_pairs
        tests = (1 - table.analysis.alpha, one.p, one.p_corrected, correction, found.num_orders, one.order_error)
        deltas = [cell for name in _DELTAS for cell in _cells(getattr(one, name))]
        stream.write(csv_line([one.component, num, *_cells(one.value), *tests, *deltas]))


def _cells(delta: PairedDelta | None) -> Iterator[float | None]:
    yield from (None, None, None) if delta is None else (delta.mean, delta.low, delta.high)
