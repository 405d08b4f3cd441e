"""Selection of the evaluated weights: one rule per sweep, chosen before the run and stated in the caption.

    last        after the last epoch                                     metrics: top1
    best-val    at the epoch that was best on the validation split       metrics: top1@best_val
    ema         moving average of the weights, after the last epoch      metrics: top1@ema

A table with different rules for different trials would compare selections, not variants; so a trial without a value
under the chosen rule is an error, and is never filled from another rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from results.store.records import TrialRecord
from search_space.parsing.errors import Problem, SpecError, first_of

__all__ = ["SUFFIXES", "check_selection", "selected_metrics"]

SUFFIXES = {"last": "", "best-val": "@best_val", "ema": "@ema"}
_HINTS = {
    "best-val": "hold out a validation split (`task.val_fraction`) and run the trials again, or select `last`",
    "ema": "average the weights (`train.ema_decay`) and run the trials again, or select `last`",
}
_MOST_NAMED = 5


def selected_metrics(metrics: Mapping[str, float], selection: str) -> dict[str, float]:
    """Metrics of a trial under the selection rule, by their plain names."""
    suffix = SUFFIXES[selection]
    if not suffix:
        return {name: value for name, value in metrics.items() if "@" not in name}
    return {name.removesuffix(suffix): value for name, value in metrics.items() if name.endswith(suffix)}


def check_selection(records: Iterable[TrialRecord], metric: str, selection: str) -> None:
    """Check that every completed trial has the metric under the selection rule.

    Raises:
        SpecError: some trials lack it; the message names them.
    """
    key = metric + SUFFIXES[selection]
    if selection == "last":  # a footnote reports missing values; they cannot be confused with another rule's
        return
    lacking = [f"{r.variant} seed {r.seed}" for r in records if r.status == "completed" and key not in r.metrics]
    if lacking:
        raise SpecError(
            Problem(
                f"{selection!r} needs {key!r} of every completed trial; without it: " + first_of(lacking, _MOST_NAMED),
                path="analysis.selection",
                hint=_HINTS[selection],
            )
        )
