"""Forecast of a plan: time, memory, disk, and the smallest difference that its seeds can detect.

Durations come from a probe, else from the run's own ledger; a variant with neither gets the mean of the others, and
`source` states that. Only trials that are left count, so the forecast of a half-finished run is that of the rest;
records reused from another study or an earlier sweep take no time.
"""

from __future__ import annotations

import os
import statistics
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from runners.machine.gpus import num_gpus_here
from runners.planning.checks.same_experiment import MODELS_WITH_MAPS
from runners.planning.detection.detectable import Detectable, detectable_with
from runners.planning.gpu_share import foreseen, is_bound
from runners.planning.history import History, duration_key
from runners.planning.path_ahead import PathAhead, path_ahead
from runners.planning.plan import Entry, Plan
from runners.planning.profiling import Probe, activation_mib, training_mib
from runners.planning.trainings import Training, trainings_left, variants_by_training
from search_space import Resources, SpecError, Variant, trial_id

__all__ = ["Forecast", "VariantForecast", "local_slots", "make_forecast"]

# Measured on runs of the quickstart sweep: ledger, progress file and CSV tables together.
_BYTES_PER_TRIAL = 4000
_BYTES_PER_EPOCH = 700
ASSUMED = "mean of the other variants"


@dataclass(frozen=True)
class VariantForecast:
    """Forecast of one variant. Memory in MiB, `activation_mib` per image of the batch; `seconds` of one trial.

    Attributes:
        num_planned: trials of the variant; of a path at most.
        num_left: trials missing in the ledger; `num_provided` of them would be reused, not trained, and `num_measured`
            of the others are measured in the training of another variant, which takes `measuring_seconds` each.
        resources: resources of each trial; `gpus` is an upper bound where the share is not known yet.
        num_together: trials that train as one stacked model at most, each with `training_mib`.
        recomputed_mib: what `training_mib` would be with `train.recompute_maps`; None where that is no less.
        notes: what its mechanism takes the place of in its host, a phrase each.
    """

    variant: Variant
    reasons: tuple[str, ...] = ()
    params_m: float | None = None
    gmacs: float | None = None
    activation_mib: float | None = None
    training_mib: float | None = None
    num_together: int = 1
    recomputed_mib: float | None = None
    seconds: float | None = None
    source: str = ""
    num_planned: int = 0
    num_left: int = 0
    num_provided: int = 0
    num_measured: int = 0
    measuring_seconds: float | None = None
    resources: Resources = field(default_factory=Resources)
    notes: tuple[str, ...] = ()

    @property
    def num_to_train(self) -> int:
        return self.num_left - self.num_provided

    @property
    def together_mib(self) -> float | None:
        """Memory of the trials that train together."""
        return None if self.training_mib is None else self.training_mib * self.num_together

    @property
    def seconds_left(self) -> float:
        """Time of all its trials that are left, one after the other."""
        trained = self.num_to_train - self.num_measured
        return trained * (self.seconds or 0.0) + self.num_measured * (self.measuring_seconds or 0.0)


@dataclass(frozen=True)
class Forecast:
    """Forecast of a plan.

    Attributes:
        trainings: variants that are trained together, for each seed once; `num_trainings_left` are left.
        num_trained_again: trials left whose training has ended, for other trials, so that it is done again.
        provided: source of records -> number of remaining trials that it would provide.
        usual: resources of trials to which no rule applies, `gpus` as far as they are known.
        path: bounds of a path, whose trials and hours are those of the path that takes most; None for other designs.
        is_gpu_bound: whether some share of a GPU is not known yet and counted as a whole GPU.
    """

    plan: Plan
    seeds: tuple[int, ...]
    variants: tuple[VariantForecast, ...]
    num_trials: int
    num_left: int
    num_retune: int
    num_retune_left: int
    concurrency: int
    detectable: Detectable
    one_more: Detectable
    mean_seconds: float | None
    provided: Mapping[str, int]
    trainings: tuple[tuple[Variant, ...], ...]
    num_trainings_left: int
    num_trained_again: int
    usual: Resources
    is_gpu_bound: bool
    path: PathAhead | None = None

    @property
    def kept(self) -> tuple[VariantForecast, ...]:
        return tuple(each for each in self.variants if not each.reasons)

    @property
    def num_to_train(self) -> int:
        """Remaining trials that no source provides, without those that tune a variant."""
        return self.num_left - sum(self.provided.values()) if self.path is None else self.path.num_to_train

    @property
    def trial_hours(self) -> float | None:
        """Hours of all trials to be trained, sequentially; None where no trial duration is known."""
        return self._weighed(lambda _: 1.0)

    @property
    def hours(self) -> float | None:
        """Hours until the end of the run, with `concurrency` trials at a time."""
        return None if self.trial_hours is None else self.trial_hours / self.concurrency

    @property
    def cpu_hours(self) -> float | None:
        return self._weighed(lambda resources: resources.cpus)

    @property
    def gpu_hours(self) -> float | None:
        return self._weighed(lambda resources: resources.num_gpus)

    def _weighed(self, weight: Callable[[Resources], float]) -> float | None:
        """Hours of all trials to be trained, each weighted by its resources."""
        if self.mean_seconds is None:
            return None if self.num_to_train or self.num_retune_left else 0.0
        if self.path is not None:
            return self.path.most({key: each * weight(kind) for key, (each, kind) in self._durations.items()}) / 3600
        seconds = sum(each.seconds_left * weight(each.resources) for each in self.kept)
        if not self.variants:
            seconds = self.mean_seconds * self.num_to_train * weight(self.usual)
        if self.num_retune_left:
            of_variants = statistics.fmean(weight(each.resources) for each in self.kept)
            seconds += self.mean_seconds * self.num_retune_left * of_variants
        return seconds / 3600

    @property
    def _durations(self) -> dict[str, tuple[float, Resources]]:
        """Seconds and resources of a trial, by variant id."""
        return {each.variant.variant_id: (each.seconds or 0.0, each.resources) for each in self.kept}

    @property
    def num_of_a_seed(self) -> int:
        """Trials that one more seed adds; of a path one more to judge, at most."""
        whole = dict.fromkeys(self._durations, 1.0)
        return len(self.kept) if self.path is None else round(self.path.most_of_a_seed(whole))

    @property
    def uses_gpus(self) -> bool:
        return any(resources.num_gpus > 0 for resources in (self.usual, *(each.resources for each in self.kept)))

    @property
    def seed_hours(self) -> float | None:
        """Hours of trials that one more seed adds, sequentially."""
        if self.mean_seconds is None or not self.variants:
            return None
        if self.path is not None:
            return self.path.most_of_a_seed({key: each for key, (each, _) in self._durations.items()}) / 3600
        first = {group[0].variant_id for group in self.trainings}
        trained = [each for each in self.kept if each.variant.variant_id in first]
        measured = [each for each in self.kept if each.variant.variant_id not in first]
        whole = sum(each.seconds or 0.0 for each in trained)
        return (whole + sum(each.measuring_seconds or 0.0 for each in measured)) / 3600

    @property
    def peak_mib(self) -> float | None:
        """Memory in MiB of the largest trial, or of the largest group that trains together."""
        return max((each.together_mib for each in self.kept if each.together_mib is not None), default=None)

    @property
    def recomputed_peak_mib(self) -> float | None:
        """Memory of the largest trial in MiB if maps were recomputed; None where that is no less."""
        least = max((each.recomputed_mib or each.together_mib or 0.0 for each in self.kept), default=0.0)
        return least if self.peak_mib is not None and 0 < least < self.peak_mib else None

    @property
    def disk_mib(self) -> float:
        """Size of the run directory at the end of the run in MiB."""
        epochs = self.plan.sweep.baseline.num_epochs or 1
        return (self.num_trials + self.num_retune) * (_BYTES_PER_TRIAL + epochs * _BYTES_PER_EPOCH) / 2**20


def make_forecast(
    plan: Plan,
    history: History,
    *,
    probes: Mapping[str, Probe] | None = None,
    seeds: Sequence[int] | None = None,
    concurrency: int | None = None,
    provided: Mapping[str, str] | None = None,
    gpu_gib: float | None = None,
) -> Forecast:
    """Compute the forecast of a plan.

    Args:
        probes: `duration_key` -> probe.
        seeds: seeds instead of those of the sweep.
        concurrency: trials at a time; default: as many as fit on this machine.
        provided: trial id -> source of its record (`runners.cache.reuse.reuse_sources`).
        gpu_gib: memory of a GPU, where it is known.
    """
    sweep = plan.sweep
    provided = provided or {}
    chosen = tuple(sweep.seeds if seeds is None else seeds)
    done = {record.trial_id for record in history.records}
    taken: Counter[str] = Counter()
    variants = []
    path = path_ahead(plan, history.records, provided)
    missing = list(trainings_left(plan, chosen, lambda key: key not in done and key not in provided))
    measured = Counter(each.variant_id for training in missing for each in training.variants[1:])
    for entry in plan.entries:
        left = [key for seed in chosen if (key := trial_id(entry.variant.setting.with_seed(seed))) not in done]
        sources = [] if entry.reasons else [provided[key] for key in left if key in provided]
        taken.update(sources)
        variant = _variant(plan, entry, history, probes or {}, gpu_gib)
        planned = len(chosen) if path is None else path.num_of(entry.variant)
        counts = {"num_planned": planned, "num_left": min(planned, len(left)), "num_provided": len(sources)}
        counts["num_measured"] = measured[entry.variant.variant_id]
        variants.append(variant if entry.reasons else replace(variant, **counts))
    variants = _with_assumed_seconds(variants)
    groups = variants_by_training(plan)
    kept = [each for each in variants if not each.reasons]
    if sweep.search:
        num_trials = plan.num_trials
        num_left = max(0, num_trials - sum(record.status != "infeasible" for record in history.records))
        probed = [probe.seconds for probe in (probes or {}).values()]
        mean = statistics.fmean(probed) if probed else history.typical_seconds
    else:
        num_trials, num_left = len(kept) * len(chosen), sum(each.num_left for each in kept)
        known = [each.seconds for each in kept if each.seconds is not None]
        mean = statistics.fmean(known) if known else None
    if path is not None:
        num_trials, num_left = path.num_trials, path.num_left
    kinds = plan.kinds_of_resources
    slots = min(local_slots(foreseen(kind, gpu_gib)) for kind in kinds)
    num_retune = len(kept) * sweep.retune.num_trials * len(sweep.retune.seeds) if sweep.retune else 0
    # What a design with blocks detects depends on the spread over its blocks, which no history has.
    num_arms = 0 if sweep.blocks else len(kept) - 1
    is_known = kept and not sweep.blocks
    num_seeds = len(chosen)
    if path is not None:  # the steps are tested, each on the seeds that judge
        num_arms, num_seeds = path.num_components, len(path.judging)
    spread = history.spread(kept[0].variant, [each.variant for each in kept[1:]], sweep.metric) if is_known else None
    return Forecast(
        plan=plan,
        seeds=chosen,
        variants=tuple(variants),
        num_trials=num_trials,
        num_left=num_left,
        num_retune=num_retune,
        num_retune_left=max(0, num_retune - history.num_tuned),
        concurrency=concurrency or slots,
        detectable=detectable_with(plan, num_seeds, num_arms, spread),
        one_more=detectable_with(plan, num_seeds + 1, num_arms, spread),
        mean_seconds=mean,
        provided=dict(taken),
        trainings=tuple(groups),
        num_trainings_left=len(missing) if path is None else min(len(missing), path.num_to_train),
        num_trained_again=_trained_again(groups, missing, done),
        usual=foreseen(sweep.resources, gpu_gib),
        path=path,
        is_gpu_bound=any(is_bound(kind, gpu_gib) for kind in kinds),
    )


def local_slots(resources: Resources) -> int:
    """Number of trials that fit on this machine at once; at least one."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    fits = [int(cpus / resources.cpus + 1e-9)] if resources.cpus > 0 else []
    if resources.num_gpus > 0:
        fits.append(int(num_gpus_here() / resources.num_gpus + 1e-9))
    return max(1, min([*fits, resources.max_concurrent or max(fits, default=1)]))


def _variant(
    plan: Plan, entry: Entry, history: History, probes: Mapping[str, Probe], gpu_gib: float | None
) -> VariantForecast:
    variant = entry.variant
    if entry.reasons:
        return VariantForecast(variant, entry.reasons)
    setting = variant.setting
    cost = plan.cost_of(variant)
    activation = _activation(plan, variant)
    probe = probes.get(duration_key(setting.model_dump(mode="json")))
    seconds, source = (probe.seconds, f"probe on {probe.device}") if probe else (history.seconds(setting), "history")
    measuring = probe.measuring_seconds if probe else history.measuring_seconds(setting)
    memory = None if activation is None else training_mib(setting, params_m=cost["params_m"], activation=activation)
    return VariantForecast(
        variant,
        params_m=cost.get("params_m"),
        gmacs=cost.get("gmacs"),
        activation_mib=activation,
        training_mib=probe.peak_mib if probe and probe.peak_mib else memory,
        num_together=plan.form_of(setting).size,
        recomputed_mib=_recomputed_mib(plan, variant, cost, activation),
        seconds=seconds,
        source=source if seconds is not None else "",
        measuring_seconds=measuring,
        resources=foreseen(plan.resources_of(variant), gpu_gib),
        notes=tuple(plan.notes_on(variant)),
    )


def _trained_again(groups: Sequence[tuple[Variant, ...]], missing: Sequence[Training], done: Collection[str]) -> int:
    """Trials left beside which a trial of the same training has ended: no weights are kept for them."""
    whole = {each.variant_id: group for group in groups for each in group}
    return sum(
        len(training.variants)
        for training in missing
        if any(
            trial_id(each.setting.with_seed(training.seed)) in done for each in whole[training.variants[0].variant_id]
        )
    )


def _activation(plan: Plan, variant: Variant) -> float | None:
    if plan.is_foreign:
        return None
    try:
        return activation_mib(variant.setting, plan.dataset_of(variant))
    except (SpecError, RuntimeError, NotImplementedError):
        return None  # an operation without a meta kernel in training mode: the rest of the plan is still useful


def _recomputed_mib(plan: Plan, variant: Variant, cost: Mapping[str, float], activation: float | None) -> float | None:
    """Memory of a training that recomputed its maps; None where it does, or is as large without them."""
    train = variant.setting.train
    arch = variant.setting.arch
    has_maps = arch.attention.name in ("reattention", "refiner") or arch.model.startswith(MODELS_WITH_MAPS)
    if activation is None or not has_maps or train.recompute_maps or train.numerics == "single":
        return None
    less = activation_mib(variant.setting, plan.dataset_of(variant), recompute_maps=True)
    if less >= activation:
        return None
    return training_mib(variant.setting, params_m=cost["params_m"], activation=less)


def _with_assumed_seconds(variants: list[VariantForecast]) -> list[VariantForecast]:
    known = [each.seconds for each in variants if each.seconds is not None]
    if not known:
        return variants
    mean = statistics.fmean(known)
    return [
        each if each.reasons or each.seconds is not None else replace(each, seconds=mean, source=ASSUMED)
        for each in variants
    ]
