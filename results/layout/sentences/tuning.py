"""What tuning (`retune`) gained for each arm, as a note below the table; the caption says what was chosen on what.

No test and no verdict: the tuning seeds chose the setting, if on another split, so the gap is a little too large.
"""

from __future__ import annotations

from collections.abc import Iterable

from results.stats.numbers import delta_texts, level_percent
from results.table.table import AblationTable, Row, Tuned
from search_space.settings.naming import format_value

__all__ = ["tuning_notes"]


def tuning_notes(table: AblationTable) -> Iterable[str]:
    """The gap between each arm's own and its tuned setting: a sentence for each study."""
    for part in table.parts:
        tuned = [(row, row.tuned) for row in part.rows if row.tuned is not None]
        if not tuned or part.retuned is None:
            continue
        of = f" of {part.rows[0].study}" if table.studies else ""
        seeds = part.retuned.seeds
        at = f"seed{'s'[: len(seeds) - 1]} {', '.join(map(str, seeds))}"
        interval = f", in brackets its {level_percent(part.analysis.alpha)} % t-interval" if len(seeds) > 1 else ""
        yield (
            f"Tuned minus own setting{of}, {part.metric.name} on the test split, which chose nothing, at {at}{interval}"
            f": {'; '.join(_gap(row, found, part) for row, found in tuned)}."
        )


def _gap(row: Row, tuned: Tuned, table: AblationTable) -> str:
    if tuned.is_own:
        return f"{row.name}: its own setting is the best of {row.num_tried}"
    if tuned.gap is None:
        return f"{row.name}: its own setting has no trial"
    changed = ", ".join(
        f"{path.removeprefix('train.')} {_short(before)} -> {_short(after)}"
        for path, (before, after) in tuned.changed.items()
    )
    return f"{row.name} {' '.join(delta_texts(tuned.gap, table.metric.decimals)).strip()} ({changed})"


def _short(value: object) -> str:
    """Four digits of a number that a sampler drew; the whole one is in `trials.csv`."""
    return f"{value:.4g}" if isinstance(value, float) else format_value(value)
