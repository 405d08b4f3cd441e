"""What a caption says of the computation: time of all trainings, devices, precision, and whether a seed repeats it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from results.store.records import TrialRecord
from results.table.table import AblationTable

__all__ = ["compute_sentences"]


def compute_sentences(table: AblationTable) -> Iterable[str]:
    """Time, devices and precision of all trainings of a table, and whether a seed repeats them to the bit."""
    records = table.records
    timed = [record for record in records if record.train_seconds is not None]
    if not timed:
        return
    # Trials that were measured in one training have its seconds in common: those of another trial of the table.
    own = {record.trial_id for record in timed if not record.trained_by}
    shared = {record.trained_by: record for record in timed if record.trained_by and record.trained_by not in own}
    trained = [record for record in timed if not record.trained_by] + list(shared.values())
    seconds = [record.train_seconds or 0.0 for record in trained]
    trials = "1 trial" if len(timed) == 1 else f"{len(timed)} trials"
    if table.is_untrained:
        spent, trials = "nothing was trained", f"{trials} measured weights"
    else:
        spent = f"{_hours(math.fsum(seconds))} of optimisation in all"
        if len(trained) < len(timed):
            trials += ", 1 training" if len(trained) == 1 else f", {len(trained)} trainings"
    devices = sorted({record.device for record in records if record.device})
    where = f", on {', '.join(devices)}" if devices else ""
    yield f"Compute: {spent} ({trials}){where}{_precision(records)}."
    yield from _fused(timed)
    yield from _repeatable(records)


def _fused(timed: Sequence[TrialRecord]) -> Iterable[str]:
    """Which trials trained as one stacked model with others; nothing where none did."""
    number = sum(record.numerics == "fused" for record in timed)
    if number:
        which = "All trials" if number == len(timed) else f"{number} of {len(timed)} trials"
        yield f"{which} trained fused, as one stacked model with others of their shape."


def _precision(records: Sequence[TrialRecord]) -> str:
    """What was computed with; nothing where it is float32 alone, which a reader expects."""
    found = sorted({record.precision for record in records if record.precision})
    if found in ([], ["float32"]):
        return ""
    maps = {record.spec.get("train", {}).get("map_precision", "float32") for record in records}
    is_known = all(
        record.precision for record in records if record.device
    )  # older records had maps as autocast had them
    exact = "; attention maps that a mechanism transforms in float32" if maps == {"float32"} and is_known else ""
    return f", in {' and '.join(found)}{exact}"


def _repeatable(records: Sequence[TrialRecord]) -> Iterable[str]:
    on_gpus = [record for record in records if record.device not in ("", "cpu")]
    if any(not record.spec.get("train", {}).get("deterministic", False) for record in on_gpus):
        yield "Kernels of a GPU could add in any order (deterministic: false), so a seed repeats to rounding only."


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 36_000 else f"{seconds / 3600:.2g} h"
