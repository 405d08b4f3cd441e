"""Types of the files of a run directory: the plan (the variants to train) and the records (the outcomes of trials).

    runs/<sweep>/
      plan.json         RunPlan of the latest start: which variants, in which order, what was dropped
      ledger.jsonl      one TrialRecord a line, append-only; the source of all results (see ledger.py)
      progress.jsonl    epochs as they happen, for other shells; a view that may be lost
      sweep.yaml, provenance.jsonl, trials/<trial_id>/train.log

A reader of a newer file keeps unknown fields (`extra = allow`); a changed meaning raises `RECORD_VERSION`.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from search_space.schema.metrics import Metric, define_metrics

__all__ = [
    "CONTINUED_NOTE",
    "IMPORTED_NOTE",
    "RECORD_VERSION",
    "Analysis",
    "BlockedDesign",
    "Decision",
    "Failure",
    "Imported",
    "MajorityClass",
    "Measured",
    "Numerics",
    "Origin",
    "PlannedVariant",
    "PublishedRow",
    "Retuned",
    "RunPlan",
    "Status",
    "TableFormat",
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
# Not written where it is `single`: records and plans of trials by themselves are as they always were.
Numerics = Annotated[Literal["single", "fused"], Field(exclude_if=lambda form: form == "single")]
"""Form of a training: by itself, or as one stacked model with others of its shape, which rounds differently."""
Status = Literal["completed", "pruned", "infeasible", "failed", "preempted"]


class _Stored(BaseModel):
    # A diverged trial has NaN in its curve: as a string it stays valid JSON and reads back as the number.
    # `defer_build`: each is built when it is first read or written, and a view reads few of them.
    model_config = ConfigDict(frozen=True, extra="allow", ser_json_inf_nan="strings", defer_build=True)


def _encodable(value: Any) -> Any:
    # Messages may quote file names that are not UTF-8; recording a failure must not fail.
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


# Larger numbers are no measurements, and their sums would overflow.
_MOST_EPOCHS = 1e9
_Amount = Annotated[float, Field(ge=-1e15, le=1e15)]
_ForeignText = Annotated[str, BeforeValidator(_encodable)]


class Failure(_Stored):
    """Why a trial failed or is infeasible. `type` is the exception's name, `NonFiniteLoss`, `OutOfMemory`, `Killed`,
    `WorkerDied`, `DeviceMissing`, `TimeLimit` or `Infeasible`; `traceback` holds its last lines."""

    type: str
    message: _ForeignText
    traceback: _ForeignText = ""
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


class TrialRecord(_Stored):
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
    params_m: _Amount | None = None
    trainable_params_m: _Amount | None = Field(
        default=None,
        # Not written where it is not known: records without a training are as those of older versions.
        exclude_if=lambda amount: amount is None,
        description="parameters that the training changed, in millions: without those of `train.freeze`",
    )
    gmacs: _Amount | None = None
    train_seconds: _Amount | None = Field(
        default=None, description="optimisation only, without start-up and evaluation"
    )
    total_seconds: _Amount | None = None
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
    notes: list[_ForeignText] = Field(
        default_factory=list,
        exclude_if=lambda notes: not notes,
        description="what a reader of the numbers must know, a phrase each: a collapse, weights that were left out",
    )

    @property
    def origin(self) -> Origin:
        """Data, code and software that the trial was trained and measured with."""
        return Origin(data=self.data, code=self.code, software=self.software)


class Origin(_Stored):
    """What a record is of beside its spec. Records of different data never share a mean; those of different code or
    software only where the user asks for it (`archsweep run --changed keep`)."""

    data: str = ""
    code: str = ""
    software: str = ""


class PlannedVariant(_Stored):
    """One row of the plan."""

    name: str
    variant_id: str
    changes: dict[str, Any] = Field(default_factory=dict)
    components: dict[str, bool] = Field(default_factory=dict, description="component -> on, for component designs")
    is_baseline: bool = False
    params_m: _Amount | None = None
    gmacs: _Amount | None = None
    dropped: str = Field(default="", description="why it is not run; empty if it is")
    added_after: int = Field(
        default=0, ge=0, description="completed trials of the comparison when it was added; 0: planned before them"
    )
    num_tried: int | None = Field(default=None, description="different settings that `retune` tried for it")
    study: str = Field(
        default="", description="the study it belongs to, where a sweep holds several; the baseline is shared"
    )
    numerics: Numerics = "single"
    # Not written where they are empty: plans without blocks are as they always were.
    block: str = Field(default="", exclude_if=lambda text: not text, description="of the design; `name` ends with it")
    treatment: str = Field(
        default="", exclude_if=lambda text: not text, description="id in the first block: of one row"
    )


class Decision(_Stored):
    """A decision about the comparison that was made, or changed, after results were seen."""

    what: str = Field(description="`seeds`, `metric`, `analysis.alpha`, ..., or `variant NAME`")
    before: Any = Field(description="as planned before the first result; None where it was not known")
    after: Any = Field(description="as it is now; None for a variant that was removed")
    num_results: int = Field(ge=0, description="completed trials of the comparison when it was changed")


class PublishedRow(_Stored):
    """Published numbers of a paper, shown beside the measured ones."""

    when: dict[str, Any] = Field(description="the row they belong to: path -> value")
    values: dict[str, float]
    source: str


class Analysis(_Stored):
    """The comparison of variants with the baseline; chosen before the run, stated in the caption."""

    correction: Literal["holm", "bh", "dunnett", "none"] = "holm"
    alpha: float = Field(default=0.05, gt=0, lt=1)
    margin: float | None = Field(
        default=None, gt=0, description="smallest difference that matters, in the metric's unit"
    )
    selection: Literal["last", "best-val", "ema"] = Field(default="last", description="which weights are measured")
    interval: Literal["unadjusted", "simultaneous"] = Field(
        default="unadjusted", description="intervals of each difference by itself, or of all of a study together"
    )


class TableFormat(_Stored):
    """Columns, order and texts of a table for readers; `search_space/settings/table_columns.py` has the names."""

    columns: tuple[str, ...] = ()
    rename: dict[str, str] = Field(default_factory=dict)
    digits: dict[str, int] = Field(default_factory=dict, description="metric (`*`: every one), delta or cost")
    sort: str | None = None
    label: str | None = None
    caption: str | None = None
    transpose: bool = False


class MajorityClass(_Stored):
    """The most frequent class of a training split, and what always predicting it reaches on the test split."""

    name: str
    metrics: dict[str, float] = Field(description="those of the task that are defined for it")


class DataSummary(_Stored):
    """A dataset that trials of the run train on and are measured on, as it was when the run was started."""

    dataset: str = Field(description="its name, with what it varies in where there are several")
    num_classes: int = Field(description="0: labels are numbers to predict")
    train_images: int = Field(description="without those of the validation split")
    val_images: int = 0
    test_images: int
    majority: float | None = Field(
        default=None, ge=0, le=1, description="share of the most frequent class of the test split; None: not looked at"
    )
    majority_class: MajorityClass | None = Field(
        default=None,
        # Not written where it is not known: plans of such data are as they always were.
        exclude_if=lambda known: known is None,
        description="None: samples have no single class, or the labels were not looked at",
    )
    labelled: Literal["images", "pixels", "objects", "texts"] = Field(
        default="images", description="what has one label each"
    )
    notes: list[str] = Field(default_factory=list, description="what a reader of the numbers must know, as sentences")


class BlockedDesign(_Stored):
    """The blocks of a design, each of which has every variant at every seed."""

    path: str = Field(description="what differs between them: a path of the settings")
    names: list[str] = Field(min_length=2, description="of the blocks, in their order")
    kind: Literal["folds", "splits", "datasets", "settings"] = Field(
        description="`folds` or random `splits` of one dataset; `datasets` of different names; any other `settings`"
    )
    num_folds: int | None = Field(default=None, description="folds that the dataset is divided into; None: no folds")
    train_images: list[int] = Field(default_factory=list, description="of each fold or split")
    test_images: list[int] = Field(default_factory=list, description="the same")

    @property
    def is_resampled(self) -> bool:
        """Whether the blocks draw their splits from the images of one dataset."""
        return self.kind in ("folds", "splits")

    @property
    def test_per_train(self) -> float:
        """Images to test per image to train, over all blocks."""
        return sum(self.test_images) / max(1, sum(self.train_images))


class Retuned(_Stored):
    """The tuning of every variant's own training parameters before the comparison."""

    parameters: list[str] = Field(description="paths below the setting")
    space: dict[str, str] = Field(default_factory=dict, description="path -> the values to try, as text")
    num_trials: int = Field(description="settings to try for every variant; equal ones are trained once")
    seeds: list[int] = Field(description="of the tuning trials; none of the reported ones")
    sampler: str


class Measured(_Stored):
    """A metric of a training of the user's own, as the sweep defines it."""

    direction: Literal["maximize", "minimize"]
    unit: str = ""
    decimals: int = 4
    meaning: str = ""


class Imported(_Stored):
    """Where the runs of a plan come from that another program trained: `archsweep import-runs`."""

    source: str = Field(description="names of the files and folders, without where they were")
    kind: str = Field(description="`csv`, `wandb`, `mlflow`, `tensorboard`, or several of these")
    date: str = Field(description="of the import, ISO 8601")
    value: Literal["last", "best"] = Field(
        default="last", description="the last value of a run, or the best one of its history by the metric"
    )
    baseline: str = Field(default="", description="configuration of the baseline, as far as it varies")


class RunPlan(_Stored):
    """The plan of the driver's latest start in this run directory."""

    version: int = 1
    sweep: str
    profile: str = ""
    design: str
    metric: str
    seeds: list[int]
    variants: list[PlannedVariant] = Field(default_factory=list, description="in table order; empty for a search")
    num_trials: int | None = Field(default=None, description="budget of a search, or share of a shard, in trials")
    objectives: list[str] = Field(default_factory=list, description="of a search for a Pareto front, else empty")
    published: list[PublishedRow] = Field(default_factory=list)
    dataset: str = ""
    epochs: int | None = None
    steps: int | None = Field(default=None, description="updates of a training; None: its epochs go through the data")
    num_test_images: int | None = Field(default=None, description="of every variant; None: unknown, or not the same")
    analysis: Analysis = Analysis()
    decided_later: list[Decision] = Field(
        default_factory=list, description="what was planned before the first result and changed after it"
    )
    superseded: list[Origin] = Field(
        default_factory=list, description="origins whose records do not count: of data, code or software that changed"
    )
    retuned: Retuned | None = None
    blocks: BlockedDesign | None = Field(default=None, exclude_if=lambda blocks: blocks is None)
    table: TableFormat = Field(
        default=TableFormat(),
        # Not written where it is empty: plans of sweeps without the section are as they always were.
        exclude_if=lambda format_: format_ == TableFormat(),
        description="how the sweep wants its table shown",
    )
    data: list[DataSummary] = Field(default_factory=list, description="the datasets of the variants")
    measures: dict[str, Measured] = Field(
        default_factory=dict,
        exclude_if=lambda measures: not measures,
        description="metrics that archsweep does not know: of a training of the user's own, or of plug-ins",
    )
    own_training: bool = Field(
        default=False, exclude_if=lambda own: not own, description="whether the user's own code trained"
    )
    forms: dict[str, Numerics] = Field(default_factory=dict, description="of trainings, by the name of their shape")
    imported: Imported | None = Field(
        default=None, exclude_if=lambda imported: imported is None, description="None: archsweep started the trials"
    )

    @model_validator(mode="after")
    def _define(self) -> RunPlan:
        define_metrics(
            Metric(name, each.unit, each.direction, each.decimals, each.meaning, (-math.inf, math.inf))
            for name, each in self.measures.items()
        )
        return self
