"""Rows with the sampling error that the test set gives their differences, where predictions are kept.

Predictions are those of `top1` without a suffix, so the table must be of that metric: after the last epoch, which with
averaged weights is the same as `ema`. An arm needs them at every seed of its difference, in its own records and in
those of the baseline: else the error would be that of another difference. The rows of a search were selected by their
values, so theirs is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from results.plan.run_plan import RunPlan
from results.predictions.correct_images import decode_correct
from results.store.records import TrialRecord
from results.table.table import Row
from search_space.parsing.errors import Problem, SpecError

__all__ = ["check_predictions", "with_image_errors"]

_MOST_PROBLEMS = 10


def check_predictions(plan: RunPlan, records: Sequence[TrialRecord]) -> None:
    """Check that predictions are of as many images as the test set of the plan has.

    Raises:
        SpecError: they are not; the message names the trials.
    """
    if plan.num_test_images is None:
        return
    problems = [
        Problem(
            f"{record.variant} seed {record.seed}: predictions of {num} images, and the test set has "
            f"{plan.num_test_images}",
            where=f"trial {record.trial_id}",
            hint="was the ledger or the plan edited? Move the record out of the ledger; its trial is then run again",
        )
        for record in records
        if record.correct and (num := decode_correct(record.correct).num) != plan.num_test_images
    ]
    if problems:
        raise SpecError(problems[:_MOST_PROBLEMS])


def with_image_errors(rows: Sequence[Row], plan: RunPlan, *, metric: str) -> list[Row]:
    """The rows, with `image_error` where their predictions give it."""
    baseline = next((row for row in rows if row.is_baseline), None)
    if baseline is None or metric != "top1" or plan.analysis.selection == "best-val" or plan.design == "search":
        return list(rows)
    if plan.blocks is not None:
        return list(rows)  # each block has a test split of its own
    theirs = _by_seed(baseline, metric)
    return [
        row if row.is_baseline else replace(row, image_error=_image_error(_by_seed(row, metric), theirs))
        for row in rows
    ]


def _by_seed(row: Row, metric: str) -> dict[int, str]:
    """Predictions of the completed seeds that enter a difference; empty texts where there are none."""
    return {r.seed: r.correct for r in row.records if r.status == "completed" and metric in r.metrics}


def _image_error(ours: dict[int, str], theirs: dict[int, str]) -> float | None:
    pairs = [(ours[seed], theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())]
    if not pairs or not all(arm and base for arm, base in pairs):
        return None
    # Imported here: it needs numpy, and tables without predictions do not.
    from results.stats.image_error import paired_image_error

    return paired_image_error([(decode_correct(arm), decode_correct(base)) for arm, base in pairs])
