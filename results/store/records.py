"""Records of trials, and the files of a run directory.

    runs/<sweep>/
      plan.json         RunPlan of the latest start: which variants, in which order, what was dropped (results/plan)
      ledger.jsonl      one TrialRecord a line, append-only; the source of all results (see ledger.py)
      progress.jsonl    epochs as they happen, for other shells; a view that may be lost
      sweep.yaml, provenance.jsonl, trials/<trial_id>/train.log

A reader of a newer file keeps unknown fields (`extra = allow`); a changed meaning raises `RECORD_VERSION`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from results.plan.stored import Amount, ForeignText, Numerics, Origin, Stored

__all__ = [
    "CONTINUED_NOTE",
    "IMPORTED_NOTE",
    "RECORD_VERSION",
    "Failure",
    "Status",
    "TrialRecord",
    "check_curve",
    "check_spec",
]

RECORD_VERSION = 2
"""The newest format that is read. 2: records may be `preempted`; all others are still written as format 1."""
CONTINUED_NOTE = "continued from the weights of "
"""Beginning of a record's note on a training that continues another one; captions state it."""
IMPORTED_NOTE = "imported from "
"""Beginning of a record's note on its place in the source; the caption names the source."""
Status = Literal["completed", "pruned", "infeasible", "failed", "preempted"]
_MOST_EPOCHS = 1e9


class Failure(Stored):
    """Why a trial failed or is infeasible. `type` is the exception's name, `NonFiniteLoss`, `OutOfMemory`, `Killed`,
    `WorkerDied`, `DeviceMissing`, `TimeLimit` or `Infeasible`; `traceback` holds its last lines."""

    type: str
    message: ForeignText
    traceback: ForeignText = ""
    epoch: int | None = None


def check_curve(curve: list[dict[str, float]]) -> list[dict[str, float]]:
    """The curve, if every entry has its epoch, else a ValueError."""
    if not all(0 <= point.get("epoch", -1) < _MOST_EPOCHS for point in curve):
        raise ValueError("an entry of the curve without its epoch")
    return curve


def check_spec(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec, if its sections are mappings, else a ValueError."""
    for name in ("arch", "task", "train"):
        if not isinstance(spec.get(name, {}), dict):
            raise ValueError(f"`{name}` of the spec is no mapping")
    if not isinstance(spec.get("task", {}).get("dataset", {}), dict):
        raise ValueError("`task.dataset` of the spec is no mapping")
    return spec


class TrialRecord(Stored):
    """The outcome of one trial. Only `completed` records enter a mean. A `preempted` one decides nothing: the trial was
    asked to make room and continues later."""

    version: int = 1
    trial_id: str
    variant_id: str
    variant: str = Field(description="readable name: what differs from the baseline")
    changes: dict[str, Any] = Field(default_factory=dict, description="path -> value, relative to the baseline")
    seed: int
    spec: Annotated[dict[str, Any], AfterValidator(check_spec)] = Field(description="the TrialSpec")
    status: Status
    epochs: int = Field(default=0, description="epochs finished")
    metrics: dict[str, float] = Field(
        default_factory=dict,
        description="final metrics; empty unless completed; other selections as `top1@best_val`, `top1@ema`",
    )
    curve: Annotated[list[dict[str, float]], AfterValidator(check_curve)] = Field(
        default_factory=list, description="one entry per epoch: epoch, train_loss, metrics"
    )
    params_m: Amount | None = None
    trainable_params_m: Amount | None = Field(
        default=None,
        # Not written where it is not known: records without a training are as those of older versions.
        exclude_if=lambda amount: amount is None,
        description="parameters that the training changed, in millions: without those of `train.freeze`",
    )
    gmacs: Amount | None = None
    train_seconds: Amount | None = Field(default=None, description="optimisation only, without start-up and evaluation")
    total_seconds: Amount | None = None
    finished_at: str = Field(default="", description="ISO 8601, UTC")
    device: str = ""
    precision: str = Field(
        default="",
        # Not written where it is empty: trials without an outcome have none, as those of older versions.
        exclude_if=lambda text: not text,
        description="`float32`, `tf32`, `bfloat16` or `float16`: what `train.amp` became on the device; empty: unknown",
    )
    host: str = ""
    number: int | None = Field(default=None, description="Optuna's trial number in a search")
    params: dict[str, Any] = Field(default_factory=dict, description="Optuna's parameters in a search")
    attempt: int = Field(default=1, description="1 + number of earlier failed records of the same trial")
    session: str = Field(default="", description="which start of the driver; see provenance.jsonl")
    role: Literal["", "retune"] = Field(
        default="", description="`retune`: tuned a variant before the comparison; in no table"
    )
    resumed_from_epoch: int | None = Field(
        default=None, description="epochs that a checkpoint brought over an interruption; None: trained in one go"
    )
    cached_from: str = Field(
        default="", description="the run directory whose record was taken over instead of training again"
    )
    trained_by: str = Field(
        default="",
        # Not written where it is empty: records of sweeps without evaluation-only axes are as they always were.
        exclude_if=lambda text: not text,
        description="the trial in whose training this one was measured, with the same `train_seconds`; empty: its own",
    )
    numerics: Numerics = "single"
    failure: Failure | None = None
    data: str = Field(default="", description="fingerprint of the dataset; empty: of an archsweep before 0.3")
    code: str = Field(default="", description="version of archsweep's code that took part: common part, whole")
    software: str = Field(default="", description="versions of the packages that compute, as text")
    correct: str = Field(
        default="",
        # Not written where it is empty: records of sweeps that keep no predictions are as they always were.
        exclude_if=lambda text: not text,
        description="with `keep_predictions`, which test images were right in the evaluation that gave `top1`: number "
        "of images, colon, base64 of one bit per image in the order of the dataset, packed as by numpy.packbits",
    )
    block: str = Field(default="", exclude_if=lambda text: not text, description="of the design; empty: it has none")
    notes: list[ForeignText] = Field(
        default_factory=list,
        exclude_if=lambda notes: not notes,
        description="what a reader of the numbers must know, a phrase each: a collapse, weights that were left out",
    )

    @property
    def origin(self) -> Origin:
        """Data, code and software that the trial was trained and measured with."""
        return Origin(data=self.data, code=self.code, software=self.software)
