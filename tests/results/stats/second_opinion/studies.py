"""Random studies: values of arms and seeds with all that goes wrong in a run, and their table by the public way.

A study is plain numbers. `csv_of` makes plan and records of it and reads back the CSV of their table; `opinion.py`
computes the same columns from the numbers by scipy and statsmodels.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from results import EXPORTERS, Analysis, Failure, PlannedVariant, RunPlan, TrialRecord, ablation_table
from results.predictions.correct_images import encode_correct
from results.table.table_options import TableOptions, with_options

EPOCHS = 20
NUM_SEEDS = (1, 2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 7, 8, 10, 11, 13, 16, 17, 21, 30, 50)
FURTHER = ("loss", "macro_f1", "ece", "head_similarity")
SUFFIX = {"last": "", "best-val": "@best_val", "ema": "@ema"}


@dataclass(frozen=True)
class Trial:
    """What became of one planned seed; `metrics` are those of a completed one."""

    status: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    epochs: int = EPOCHS
    seconds: float | None = None
    right: Sequence[bool] = ()


@dataclass(frozen=True)
class Arm:
    """A row: its trials by seed; a seed that is missing has no trial."""

    name: str
    trials: Mapping[int, Trial]
    study: str = ""
    params_m: float | None = None
    gmacs: float | None = None
    trainable_params_m: float | None = None
    is_added_later: bool = False
    published: float | None = None

    def values(self, metric: str) -> dict[int, float]:
        """Measured values of the completed seeds: finite ones below 1e100."""
        found = {seed: one.metrics.get(metric) for seed, one in self.trials.items() if one.status == "completed"}
        return {seed: value for seed, value in found.items() if value is not None and abs(value) < 1e100}


@dataclass(frozen=True)
class Study:
    """A table before any of its statistics; the first arm is the baseline."""

    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    metric: str = "top1"
    direction: str = "maximize"
    analysis: Mapping[str, Any] = field(default_factory=dict)
    num_images: int | None = None
    is_changed_later: bool = False
    majority: float | None = None

    @property
    def chosen(self) -> Analysis:
        return Analysis.model_validate(self.analysis)

    def of(self, arm: int, **changes: Any) -> Study:
        """The study with another arm."""
        arms = [replace(one, **changes) if index == arm else one for index, one in enumerate(self.arms)]
        return replace(self, arms=tuple(arms))


def study_of(values: Mapping[str, Sequence[float | None]], **fields: Any) -> Study:
    """A study from values in the order of the seeds, the baseline first; None: the seed is missing."""
    metric = fields.get("metric", "top1")
    arms = tuple(
        Arm(name, {seed: Trial("completed", {metric: value}) for seed, value in enumerate(found) if value is not None})
        for name, found in values.items()
    )
    num = max(map(len, values.values()))
    return Study(arms, tuple(range(num)), **fields)


# -- plan, records and CSV --------------------------------------------------------


def plan_of(study: Study) -> RunPlan:
    variants = [
        PlannedVariant(
            name=arm.name,
            variant_id=f"id-{arm.name}",
            changes=_changes(index),
            is_baseline=not index,
            params_m=arm.params_m,
            study=arm.study,
            added_after=2 if arm.is_added_later else 0,
        )
        for index, arm in enumerate(study.arms)
    ]
    data = {"dataset": "builtin/digits", "num_classes": 4, "train_images": 9, "test_images": study.num_images or 9}
    data["majority_class"] = {"name": "0", "metrics": {study.metric: study.majority}}
    later = {"what": "seeds", "before": [0], "after": list(study.seeds), "num_results": 3}
    return RunPlan.model_validate(
        {
            "sweep": "random",
            "design": "one_factor",
            "metric": study.metric,
            "seeds": list(study.seeds),
            "variants": variants,
            "dataset": "builtin/digits",
            "epochs": EPOCHS,
            "num_test_images": study.num_images,
            "analysis": study.analysis,
            "decided_later": [later] if study.is_changed_later else [],
            "data": [] if study.majority is None else [data],
            "published": [
                {"when": _changes(index), "values": {study.metric: arm.published}, "source": "a paper"}
                for index, arm in enumerate(study.arms)
                if arm.published is not None
            ],
        }
    )


def _changes(index: int) -> dict[str, int]:
    return {"arch.depth": 100 + index} if index else {}


def records_of(study: Study) -> list[TrialRecord]:
    suffix = SUFFIX[study.chosen.selection]
    found = []
    for index, arm in enumerate(study.arms):
        for seed, trial in arm.trials.items():
            fields: dict[str, Any] = {
                "trial_id": f"{arm.name}-{seed}",
                "variant_id": f"id-{arm.name}",
                "variant": arm.name,
                "changes": _changes(index),
                "seed": seed,
                "spec": {"seed": seed, "train": {"epochs": EPOCHS}},
                "status": trial.status,
                "epochs": trial.epochs,
                "gmacs": arm.gmacs,
                "trainable_params_m": arm.trainable_params_m,
                "train_seconds": trial.seconds,
            }
            if trial.status == "completed":
                # What another selection measured must not enter.
                fields["metrics"] = {f"{name}{suffix}": value for name, value in trial.metrics.items()}
                fields["metrics"].update(
                    {f"{study.metric}{other}": -7.0 for other in SUFFIX.values() if other != suffix}
                )
                if trial.right:
                    fields["correct"] = encode_correct(list(trial.right))
            if trial.status == "failed":
                fields["failure"] = Failure(type="NonFiniteLoss", message="nan")
                found.append(TrialRecord.model_validate({**fields, "attempt": 2}))
            found.append(TrialRecord.model_validate(fields))
            if trial.status == "completed" and seed % 5 == 4:  # failed at first
                fields |= {"status": "failed", "metrics": {}, "correct": "", "attempt": 0}
                found.append(TrialRecord.model_validate(fields))
    return found


def csv_of(study: Study, *, shuffled: int = 0) -> list[dict[str, str]]:
    """Lines of `table.csv`, with the differences of further metrics, which are columns where they are asked for."""
    records = records_of(study)
    np.random.default_rng(shuffled).shuffle(records)  # type: ignore[arg-type]
    table = ablation_table(plan_of(study), records)
    further = [name for name in table.other_metrics if any(name in row.other_deltas for row in table.rows)]
    lines = lines_of(table)
    if not further:
        return lines
    columns = ("variant", *(f"{which}:{name}" for name in further for which in ("delta", "delta_std")))
    return [
        line | more
        for line, more in zip(lines, lines_of(with_options(table, TableOptions(columns=columns))), strict=True)
    ]


def lines_of(table) -> list[dict[str, str]]:
    EXPORTERS["csv"](table, stream := io.StringIO(newline=""))
    return list(csv.DictReader(io.StringIO(stream.getvalue(), newline="")))


# -- random studies -----------------------------------------------------------------


def random_study(number: int) -> Study:
    """A study of 1 to 50 seeds and 1 to 12 arms; the same for the same number."""
    random = np.random.default_rng([20, number])
    seeds = tuple(range(int(random.choice(NUM_SEEDS))))
    metric, direction = _pick(random, [("top1", "maximize")] * 3 + [("loss", "minimize"), ("ece", "minimize")])
    num_images = _pick(random, [None, 50, 360, 10_000])
    selection = _pick(random, ["last"] * 4 + ["best-val", "ema"])
    keeps = metric == "top1" and num_images == 360 and selection == "last" and len(seeds) < 9
    level = {"top1": 90.0, "loss": 2.3, "ece": 5.0}[metric]
    spread = level * 10 ** random.uniform(-5, -1)
    of_seeds = random.normal(0, spread * random.choice([0, 1, 5]), len(seeds))
    base = level + of_seeds + random.normal(0, spread, len(seeds))
    step = 100 / num_images if num_images and random.random() < 0.4 else 0.0
    goes_wrong = random.random() < 0.6
    arms = []
    for index in range(int(random.integers(1, 13)) + 1):
        values = base if not index else _arm_values(random, level, of_seeds, base, spread)
        if step:
            values = np.round(values / step) * step
        trials = {}
        for seed, value in zip(seeds, values, strict=True):
            trial = _trial(random, metric, float(value), is_whole=selection != "last", keeps=keeps)
            # Of the baseline less, so that most tables have tests.
            if goes_wrong and random.random() < (0.004 if not index else 0.06):
                trial = _gone_wrong(random, trial, metric)
            if trial is not None:
                trials[seed] = trial
        if index and goes_wrong and random.random() < 0.1:  # another number of epochs, perhaps of one seed only
            kept = len(seeds) if random.random() < 0.5 else 1
            trials = {s: replace(one, epochs=EPOCHS + 5 * (at < kept)) for at, (s, one) in enumerate(trials.items())}
        arms.append(_with_costs(random, Arm(f"arm{index}" if index else "baseline", trials)))
    if random.random() < 0.3:
        arms[1:] = [replace(arm, study=_pick(random, ["width", "depth"])) for arm in arms[1:]]
    if random.random() < 0.2:
        arms[-1] = replace(arms[-1], is_added_later=True)
    analysis: dict[str, Any] = {
        "correction": _pick(random, ["holm", "bh", "dunnett", "none"]),
        "alpha": _pick(random, [0.05, 0.05, 0.001, 0.01, 0.1, 0.2]),
        "interval": _pick(random, ["unadjusted", "simultaneous"]),
        "selection": selection,
    }
    if random.random() < 0.5:
        analysis["margin"] = float(spread * 10 ** random.uniform(-1, 1.5))
    return Study(
        arms=tuple(arms),
        seeds=seeds,
        metric=metric,
        direction=direction,
        analysis=analysis,
        num_images=num_images,
        is_changed_later=random.random() < 0.1,
        majority=level / 2 if random.random() < 0.2 else None,
    )


def _arm_values(random: np.random.Generator, level: float, of_seeds: np.ndarray, base: np.ndarray, spread: float):
    effect = spread * random.choice([0, 0.3, 1, 3, -0.3, -1, -3])
    kind = _pick(random, ["normal"] * 5 + ["heavy", "equal", "constant", "bits", "copy", "near"])
    num = len(base)
    match kind:
        case "normal":
            return level + of_seeds + effect + random.normal(0, spread * random.choice([0.2, 1, 3]), num)
        case "heavy":
            return level + of_seeds + effect + spread * random.standard_t(3, num)
        case "equal":  # up to rounding
            return base + effect
        case "constant":
            return np.full(num, level + effect)
        case "bits":
            return base + random.integers(-2, 3, num) * np.spacing(base)
        case "near":  # differences of about 1e-9 of the values
            return base + level * 1e-9 * random.normal(1, 1, num)
        case _:
            return base.copy()


def _trial(random: np.random.Generator, metric: str, value: float, *, is_whole: bool, keeps: bool) -> Trial:
    metrics = {metric: value}
    for name in FURTHER:
        if name != metric and (is_whole or random.random() < 0.95):
            metrics[name] = float(random.normal(3, 1))
    right: tuple[bool, ...] = ()
    if keeps and random.random() < 0.97:
        right = tuple(bool(one) for one in random.random(360) < min(1.0, value / 100))
    return Trial("completed", metrics, seconds=_pick(random, [None, float(random.uniform(1, 9))]), right=right)


def _gone_wrong(random: np.random.Generator, trial: Trial, metric: str) -> Trial | None:
    match _pick(random, ["missing", "failed", "pruned", "infeasible", "preempted", "nan", "inf", "huge"]):
        case "missing":
            return None
        case "nan":
            return replace(trial, metrics={**trial.metrics, metric: math.nan})
        case "inf":
            return replace(trial, metrics={**trial.metrics, metric: math.inf})
        case "huge":  # no measurement
            return replace(trial, metrics={**trial.metrics, metric: math.nan, "loss": math.inf})
        case status:
            return Trial(status, epochs=3, seconds=trial.seconds)


def _with_costs(random: np.random.Generator, arm: Arm) -> Arm:
    def amount() -> float | None:
        return _pick(random, [None, 0.0, *map(float, random.uniform(0.1, 9, 6))])

    return replace(
        arm,
        params_m=amount(),
        gmacs=amount(),
        trainable_params_m=amount(),
        published=_pick(random, [None, None, 81.25]),
    )


def _pick(random: np.random.Generator, choices: Sequence[Any]) -> Any:
    return choices[int(random.integers(len(choices)))]
