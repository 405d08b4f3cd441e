"""Steps of a greedy path at full precision (`path.csv`), one line per step; without rounding and without texts.

    step, component, candidates, seeds, gain, low, high, level, p, p_corrected, correction, verdict,
    choosing_seeds, choosing_gain, alone, alone_low, alone_high, in_full, in_full_low, in_full_high

`seeds` is the number of judging seeds that both rows of the step have, and `choosing_seeds` that of the seeds that
chose it, 0 where there was no choice; `choosing_gain` is empty where the step before was not trained with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from results.effects.path import path_effects
from results.markup.csv_cells import csv_line
from results.stats.hypothesis_tests import CORRECTION_NAMES
from results.stats.paired import PairedDelta
from results.table.table import AblationTable

__all__ = ["write_path_csv"]

_HEADS = (
    *("step", "component", "candidates", "seeds", "gain", "low", "high", "level", "p", "p_corrected", "correction"),
    *("verdict", "choosing_seeds", "choosing_gain"),
    *(name + end for name in ("alone", "in_full") for end in ("", "_low", "_high")),
)


def write_path_csv(table: AblationTable, stream: TextIO) -> None:
    """Write the steps of a table of the design `path`.

    Raises:
        SpecError: the table is of another design.
    """
    found = path_effects(table)
    num_choosing = 0 if table.path is None else len(table.path.choosing)
    correction = CORRECTION_NAMES[table.analysis.correction]
    stream.write(csv_line(_HEADS))
    for one in found.steps:
        num = 0 if one.gain is None else one.gain.num_pairs
        tests = (1 - table.analysis.alpha, one.p, one.p_corrected, correction, one.verdict)
        choice = (num_choosing if one.num_candidates > 1 else 0, one.choosing_gain)
        cells = [*_cells(one.gain), *tests, *choice, *_cells(one.alone), *_cells(one.in_full)]
        stream.write(csv_line([one.place, one.component, one.num_candidates, num, *cells]))


def _cells(delta: PairedDelta | None) -> Iterator[float | None]:
    yield from (None, None, None) if delta is None else (delta.mean, delta.low, delta.high)
