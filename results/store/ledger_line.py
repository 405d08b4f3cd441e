"""A line of the ledger, decoded by msgspec by the rules of pydantic's validation in a fraction of its time.

`TrialRecord` defines a record. `decode_line` accepts a subset only: what drivers write. It rejects a line on which the
two could disagree (NaN, a number as text, a field of a newer archsweep, deep nesting, ...), and its caller then
validates with pydantic, whose result and messages hold. tests/results/store/test_ledger_line.py compares the two.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

import msgspec

from results.plan.stored import Numerics
from results.store.records import RECORD_VERSION, Failure, Status, TrialRecord, check_curve, check_spec

__all__ = ["LedgerLine", "decode_line"]

# pydantic refuses JSON that is nested 200 deep, msgspec does not. Deep nesting has many opening brackets.
_MOST_BRACKETS = 100
_Amount = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]


class _Failure(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    type: str
    message: str
    traceback: str = ""
    epoch: int | None = None


class LedgerLine(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """The fields of a `TrialRecord`, in its order. No field is skipped, because msgspec validates what it skips less
    strictly than pydantic."""

    version: int = 1
    trial_id: str
    variant_id: str
    variant: str
    changes: dict[str, Any] = {}
    seed: int
    spec: dict[str, Any]
    status: Status
    epochs: int = 0
    metrics: dict[str, float] = {}
    curve: list[dict[str, float]] = []
    params_m: _Amount | None = None
    trainable_params_m: _Amount | None = None
    gmacs: _Amount | None = None
    train_seconds: _Amount | None = None
    total_seconds: _Amount | None = None
    finished_at: str = ""
    device: str = ""
    precision: str = ""
    host: str = ""
    number: int | None = None
    params: dict[str, Any] = {}
    attempt: int = 1
    session: str = ""
    role: Literal["", "retune"] = ""
    resumed_from_epoch: int | None = None
    cached_from: str = ""
    trained_by: str = ""
    numerics: Numerics = "single"
    failure: _Failure | None = None
    data: str = ""
    code: str = ""
    software: str = ""
    correct: str = ""
    block: str = ""
    notes: list[str] = []

    def record(self) -> TrialRecord:
        """The record that pydantic makes of the same line, without a second validation."""
        fields = msgspec.structs.asdict(self)
        for name in _SHARED:
            fields[name] = sys.intern(fields[name])
        if self.failure is not None:
            fields["failure"] = Failure(**msgspec.structs.asdict(self.failure))
        record = TrialRecord.__new__(TrialRecord)
        # As in unpickling: `model_construct` takes as long as validation. The set of fields is shared by all
        # records, which are frozen.
        record.__setstate__(
            {
                "__dict__": fields,
                "__pydantic_extra__": {},
                "__pydantic_fields_set__": _ALL_FIELDS,
                "__pydantic_private__": None,
            }
        )
        return record


# The same few texts in a hundred thousand records: one copy of each.
_SHARED = (
    "variant_id",
    "variant",
    "block",
    "device",
    "precision",
    "host",
    "session",
    "cached_from",
    "data",
    "code",
    "software",
)
_ALL_FIELDS = set(TrialRecord.model_fields)
_decode = msgspec.json.Decoder(LedgerLine).decode


def decode_line(line: bytes) -> LedgerLine | None:
    """The decoded line, or None where `TrialRecord` has to validate it."""
    try:
        found = _decode(line)
        check_curve(found.curve)
        check_spec(found.spec)
    except (msgspec.DecodeError, ValueError, RecursionError):  # a check raises ValueError
        return None
    if found.version > RECORD_VERSION or _num_brackets(line) - len(found.curve) > _MOST_BRACKETS:
        return None
    return found


def _num_brackets(line: bytes) -> int:
    # `replace` looks for a byte ten times as fast as `count` does.
    return 2 * len(line) - len(line.replace(b"{", b"")) - len(line.replace(b"[", b""))
