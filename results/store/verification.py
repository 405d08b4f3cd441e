"""Verification of records: ids that follow from the spec, one result per trial, possible values, predictions
that give the accuracy.

Equal id means equal experiment, so a record under the id of another spec would enter the mean of another variant. A
spec is validated once per variant; the records of its other seeds are compared with it. Drivers write all sections of a
spec; one without them, or of a newer archsweep, gives no id and is not compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from results.predictions.correct_images import decode_correct
from results.store.ledger_line import LedgerLine
from results.store.records import TrialRecord
from search_space.schema.identity import canonical_json, imported_json, trial_id_of, variant_id_of
from search_space.schema.metrics import METRICS
from search_space.schema.trial import Setting

__all__ = ["RecordVerifier"]

_TOP1_SLACK = 1e-6  # relative: an accuracy may have been through single precision
_SLACK = 1e-4  # a cosine of equal vectors is 1.0000001 in single precision


class RecordVerifier:
    """Verifies the records of a ledger in their order."""

    def __init__(self) -> None:
        self._settings: dict[str, tuple[dict[str, Any], str | None]] = {}
        self._results: dict[tuple[str, ...], tuple[int, Mapping[str, float]]] = {}
        self._num_images: dict[tuple[str, str], tuple[int, int]] = {}

    def problem(self, record: LedgerLine | TrialRecord, line: int) -> str:
        """What is wrong with the record in this line; empty if nothing is."""
        return (
            self._wrong_id(record)
            or _impossible_value(record)
            or self._wrong_predictions(record, line)
            or self._second_result(record, line)
        )

    def _wrong_id(self, record: LedgerLine | TrialRecord) -> str:
        setting = {name: value for name, value in record.spec.items() if name != "seed"}
        known = self._settings.get(record.variant_id)
        if known is None or known[0] != setting:
            known = self._settings[record.variant_id] = (setting, _canonical(setting))
        canonical = known[1]
        if canonical is None:
            return ""
        if variant_id_of(canonical) != record.variant_id:
            return f"its spec is that of variant {variant_id_of(canonical)}, not of {record.variant_id}"
        expected = trial_id_of(canonical, record.seed)
        if record.trial_id != expected or record.spec.get("seed", 0) != record.seed:
            return f"its spec and seed are those of trial {expected}, not of {record.trial_id}"
        return ""

    def _wrong_predictions(self, record: LedgerLine | TrialRecord, line: int) -> str:
        if not record.correct:
            return ""
        try:
            images = decode_correct(record.correct)
        except ValueError as err:
            return f"`correct` is {err}"
        top1 = record.metrics.get("top1")
        if record.status != "completed" or top1 is None:
            return "`correct` has predictions, and only a completed trial with the metric top1 has any"
        if not math.isclose(images.percent, top1, rel_tol=_TOP1_SLACK, abs_tol=_TOP1_SLACK):
            return f"`correct` has {images.percent:.6g} % right of {images.num} images, and top1 is {top1:.6g} %"
        # Same data, same test set. Without a fingerprint nothing says that two records are of the same data.
        num, first = self._num_images.setdefault((record.data, _dataset(record)), (images.num, line))
        if record.data and num != images.num:
            return f"`correct` is of {images.num} images, and of {num} in line {first}, which has the same data"
        return ""

    def _second_result(self, record: LedgerLine | TrialRecord, line: int) -> str:
        if record.status != "completed":
            return ""
        key = (record.trial_id, record.role, record.data, record.code, record.software)
        first = self._results.setdefault(key, (line, record.metrics))
        if first[1] == record.metrics or _text(first[1]) == _text(record.metrics):
            return ""
        return f"trial {record.trial_id} has another result in line {first[0]}; one of the two is not its own"


def _canonical(setting: dict[str, Any]) -> str | None:
    if (imported := imported_json(setting)) is not None:
        return imported
    if not all(name in setting for name in Setting.model_fields):
        return None
    try:
        return canonical_json(Setting.model_validate(setting))
    except (ValidationError, RecursionError):
        return None


def _dataset(record: LedgerLine | TrialRecord) -> str:
    return repr(record.spec.get("task", {}).get("dataset"))


def _impossible_value(record: LedgerLine | TrialRecord) -> str:
    for name, value in record.metrics.items():
        metric = METRICS.get(name.removeprefix("val_").partition("@")[0])
        if metric is None or not math.isfinite(value):
            continue
        low, high = metric.range
        if not low - _SLACK <= value <= high + _SLACK:
            return f"{name} is {value:g}, and {metric.name} is between {low:g} and {high:g}"
    return ""


def _text(metrics: Mapping[str, float]) -> str:
    return repr(sorted(metrics.items()))  # NaN equals itself here
