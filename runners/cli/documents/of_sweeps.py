"""Documents of the verbs that look at sweep files, models and this machine: check, check-data, plan, models, doctor,
cache."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from runners.cli.documents.document import Document, Part, ProblemEntry

__all__ = [
    "CacheDocument",
    "CheckDataDocument",
    "CheckDocument",
    "CheckedEntry",
    "DoctorDocument",
    "FindingEntry",
    "MechanismEntry",
    "ModelsDocument",
    "OptionEntry",
    "PlanDocument",
]


class CheckedEntry(Part):
    sweep: str = Field(description="its name")
    study: str = Field(description="its study; empty where the file has none")
    design: str = Field(description="its design")
    metric: str = Field(description="the metric that it compares")
    seeds: list[int] = Field(description="its seeds")
    num_search_trials: int | None = Field(description="of a search: at most so many trials; else null")


class CheckDocument(Document):
    """`archsweep check SWEEP --json`, where nothing is wrong; else the problems."""

    kind: Literal["archsweep.check/1"] = Field(default="archsweep.check/1", alias="schema")
    file: str = Field(description="the sweep file")
    sweeps: list[CheckedEntry] = Field(description="one for each study, or the only one")


class SplitEntry(Part):
    name: str = Field(description="its name in the dataset; may be empty")
    images: int = Field(description="number of images or texts")
    counts: list[int] | None = Field(description="per class; null where labels are no classes")
    majority: float | None = Field(description="share of the most frequent class; null where it was not looked at")
    sizes: list[tuple[int, int, int]] = Field(description="height, width, number of images of that size")


class DuplicatesEntry(Part):
    train: int = Field(description="images of the training split that are in the test split, too")
    test: int = Field(description="images of the test split that are in the training split, too")
    pairs: list[tuple[str, str]] = Field(description="names of some of them: training image, test image")


class DatasetEntry(Part):
    dataset: str = Field(description="its name")
    num_classes: int = Field(description="classes; 0: labels are numbers")
    class_names: list[str] = Field(description="names of the classes; may be empty")
    splits: dict[str, SplitEntry] = Field(description="`train` and `test`")
    validation_images: int = Field(description="images of the training split that are held out")
    image_size: list[int] = Field(description="height and width that the model gets")
    duplicates: DuplicatesEntry | None = Field(description="images in both splits; null where not looked for")
    notes: list[str] = Field(description="what a reader of the numbers must know, as sentences")


class CheckDataDocument(Document):
    """`archsweep check-data SWEEP --json`; exit code 2 where there are problems."""

    kind: Literal["archsweep.check-data/1"] = Field(default="archsweep.check-data/1", alias="schema")
    version: Literal[1] = Field(default=1, description="as before 0.3: always 1")
    datasets: list[DatasetEntry] = Field(description="one for each dataset that could be read")
    problems: list[ProblemEntry] = Field(description="why a dataset cannot be trained on; empty where all can")


class MetricEntry(Part):
    name: str = Field(description="its name")
    unit: str = Field(description="its unit; may be empty")


class PlannedEntry(Part):
    name: str = Field(description="readable name: what differs from the baseline")
    variant_id: str = Field(description="its id")
    block: str = Field(description="block of the design that it is trained in; empty without blocks")
    is_baseline: bool = Field(description="whether differences refer to it")
    changes: dict[str, Any] = Field(description="path -> value")
    components: dict[str, bool] = Field(description="component -> on")
    dropped: str = Field(description="why it does not run; empty if it does")
    notes: list[str] = Field(description="what its mechanism takes the place of in its host")
    num_trials: int = Field(description="its trials")
    num_left: int = Field(description="of these, not yet in the ledger")
    num_provided: int = Field(description="of these, taken over from studies or the cache")
    num_measured: int = Field(description="of these, measured in another variant's training")
    params_m: float | None = Field(description="parameters, in millions")
    gmacs: float | None = Field(description="10^9 multiply-accumulates for one image")
    activation_mib: float | None = Field(description="activations of one image")
    training_mib: float | None = Field(description="memory of the training of a batch")
    seconds_per_trial: float | None = Field(description="duration of a trial")
    seconds_source: str = Field(description="where the duration is from; may be empty")
    measuring_seconds: float | None = Field(description="of a trial that is measured in another's training")
    numerics: Literal["single", "fused"] = Field(description="form of its trainings: by themselves, or seeds together")
    numerics_reason: str = Field(description="why it has this form")
    numerics_gain: float | None = Field(description="speed of a fused step over a single one, where it was measured")


class FormEntry(Part):
    numerics: Literal["single", "fused"] = Field(description="form of its trainings: by themselves, or seeds together")
    numerics_reason: str = Field(description="why it has this form")
    numerics_gain: float | None = Field(description="speed of a fused step over a single one, where it was measured")


class PlannedTrials(Part):
    total: int = Field(description="all trials")
    left: int = Field(description="not yet in the ledger")
    trainings_total: int = Field(description="trainings that they take")
    trainings_left: int = Field(description="of these, left")
    from_studies: int = Field(description="taken over from other studies of the file")
    from_cache: int = Field(description="taken over from the cache")
    retune_total: int = Field(description="tuning trials before them")
    retune_left: int = Field(description="of these, left")


class PlannedCost(Part):
    trial_hours: float | None = Field(description="of what is left, one after the other")
    wall_hours: float | None = Field(description="with `concurrency` at a time")
    cpu_hours: float | None = Field(description="hours of CPUs")
    gpu_hours: float | None = Field(description="hours of GPUs")
    gpu_hours_is_bound: bool = Field(description="true: at most so many")
    concurrency: int = Field(description="trials at a time")
    peak_mib: float | None = Field(description="memory of the largest trial, or group that trains together")
    disk_mib: float | None = Field(description="disk space of the run")


class DetectableEntry(Part):
    num_seeds: int = Field(description="seeds")
    num_arms: int = Field(description="variants beside the baseline")
    power: float = Field(description="probability with which it is found")
    alpha: float = Field(description="level of the test")
    correction: str = Field(description="for several variants")
    difference: float | None = Field(description="smallest true difference that is found, by itself")
    difference_corrected: float | None = Field(description="after the sweep's correction")
    difference_holm: float | None = Field(description="after Holm's")
    std_of_differences: float | None = Field(
        description="standard deviation of same-seed differences; null: nothing can be assumed before some have ended"
    )
    granularity: float | None = Field(description="one test image, for accuracies")
    std_source: Literal["history", "assumed"] = Field(description="where the standard deviation is from")


class OneMoreSeed(Part):
    trial_hours: float | None = Field(description="that it adds")
    detectable: DetectableEntry = Field(description="what is found with it")


class RoundsEntry(Part):
    looks: list[int] = Field(description="numbers of seeds at which one looks; of seeds without rounds their number")
    is_anytime: bool = Field(description="tests hold at any number of seeds")
    most: int = Field(description="trials if no variant stops")
    without_effect: float = Field(description="expected trials if no variant differs")
    effect: float = Field(description="the named effect, in standard deviations of the same-seed differences")
    with_effect: float = Field(description="expected trials if one variant has it")
    power: float = Field(description="probability with which that variant is found")
    power_at_once: float = Field(description="the same by one test of all seeds")
    num_studies: int = Field(description="simulated studies behind these numbers")


class PlanEntry(Part):
    sweep: str = Field(description="name of the sweep")
    study: str = Field(description="its study; empty without")
    profile: str = Field(description="its profile; empty without")
    run_dir: str = Field(description="where `archsweep run` would write")
    cache_dir: str | None = Field(description="the cache that was asked")
    design: str = Field(description="its design")
    is_adaptive: bool = Field(description="a search, whose variants are not known beforehand")
    metric: MetricEntry = Field(description="the metric that is compared")
    seeds: list[int] = Field(description="the seeds, after trimming")
    seed_sources: dict[str, Any] | None = Field(
        description="what a seed decides: vary, crossed, splits; null: all but the splits of the data"
    )
    blocks: list[str] = Field(description="names of the blocks of the design; empty without them")
    variants: list[PlannedEntry] = Field(description="one for each row, dropped ones included")
    form: FormEntry | None = Field(description="form of the trainings of a search; null: each variant has its own")
    aliases: dict[str, Any] | None = Field(description="of a fraction: resolution, is_orthogonal, effects; else null")
    shapley: dict[str, Any] | None = Field(
        description="of the design shapley: whether values are exact, their coalitions (docs/plan.md); else null"
    )
    path: dict[str, Any] | None = Field(
        description="of the design path: which seeds choose and judge, its trials at most (docs/plan.md); else null"
    )
    data: list[dict[str, Any]] = Field(description="the datasets (docs/plan.md)")
    trials: PlannedTrials = Field(description="numbers of trials")
    cost: PlannedCost = Field(description="of what is left and not taken over")
    detectable: DetectableEntry = Field(description="what the seeds can detect")
    one_more_seed: OneMoreSeed = Field(description="what one more seed costs and finds")
    rounds: RoundsEntry | None = Field(
        description="what rounds of seeds, or tests at any number of them, cost and find; null without"
    )
    warnings: list[str] = Field(description="sentences")


class PlanDocument(Document):
    """`archsweep plan SWEEP --json` ([more on the keys](plan.md#-json))."""

    kind: Literal["archsweep.plan/1"] = Field(default="archsweep.plan/1", alias="schema")
    version: Literal[1] = Field(default=1, description="as before 0.3: always 1")
    plans: list[PlanEntry] = Field(description="one for each study, or the only one")


class OptionEntry(Part):
    name: str = Field(description="its name")
    default: Any = Field(description="its default")
    about: str = Field(description="what it is; may be empty")


class MechanismEntry(Part):
    name: str = Field(description="its name in `arch.attention`")
    about: str = Field(description="what it is")
    options: list[OptionEntry] = Field(description="its options")


class ModelsDocument(Document):
    """`archsweep models [PATTERN] --json`."""

    kind: Literal["archsweep.models/1"] = Field(default="archsweep.models/1", alias="schema")
    attention: list[MechanismEntry] = Field(description="attention mechanisms; empty with a pattern")
    models: list[str] = Field(description="names for `arch.model` that match, all without a pattern")


class FindingEntry(Part):
    name: str = Field(description="what was looked at")
    state: Literal["ok", "warning", "problem"] = Field(description="the result")
    text: str = Field(description="what was found")
    remedy: str = Field(description="what to do; empty where all is well")


class DoctorDocument(Document):
    """`archsweep doctor --json`; exit code 1 where there is a problem."""

    kind: Literal["archsweep.doctor/1"] = Field(default="archsweep.doctor/1", alias="schema")
    findings: list[FindingEntry] = Field(description="one for each check")


class CacheDocument(Document):
    """`archsweep cache --json`."""

    kind: Literal["archsweep.cache/1"] = Field(default="archsweep.cache/1", alias="schema")
    directory: str = Field(description="the trial cache")
    num_trials: int = Field(description="trials in it")
    mib: float = Field(description="their size")
    num_deleted: int | None = Field(description="with --clear: trials that were deleted; else null")
