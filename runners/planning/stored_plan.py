"""Parts of the plan of a run directory that follow from the sweep, or from the survey of its data, alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from results.plan.comparison import PathSeeds, Rounds, SeedSources
from results.plan.datasets import DataSummary, Measured
from results.plan.run_plan import BlockedDesign, PlannedVariant, Retuned
from results.plan.stored import Numerics
from runners.data import DataInfo
from runners.data.survey.majority_class import majority_class
from runners.data.survey.survey import Survey
from search_space import Sweep, TaskSpec, Variant
from search_space.designs.path import choosing_seeds
from search_space.schema.comparison.seeds import Smallest
from search_space.schema.metrics import METRICS, own_metric
from search_space.schema.task import ForeignSpec
from search_space.schema.training.seeding import Seeding
from search_space.settings.naming import describe_parameter
from search_space.settings.paths import MISSING, value_at
from search_space.variants.blocks import are_resampled

__all__ = [
    "blocked_design",
    "data_summary",
    "dataset_names",
    "length_of",
    "measures_of",
    "path_seeds_of",
    "planned_variant",
    "retuned_of",
    "rounds_of",
    "seed_sources_of",
]


def planned_variant(
    variant: Variant,
    reasons: Sequence[str],
    *,
    num_tried: int | None,
    untuned_id: str,
    cost: Mapping[str, float],
    numerics: Numerics,
) -> PlannedVariant:
    """A variant in the form of the stored plan."""
    return PlannedVariant(
        name=variant.name,
        variant_id=variant.variant_id,
        changes=dict(variant.changes),
        components=dict(variant.components),
        is_baseline=variant.is_baseline,
        dropped="; ".join(reasons),
        num_tried=num_tried,
        untuned_id=untuned_id,
        params_m=cost.get("params_m"),
        gmacs=cost.get("gmacs"),
        numerics=numerics,
        block=variant.block,
        treatment=variant.treatment,
        placebo_of=variant.placebo_of,
    )


def blocked_design(
    sweep: Sweep, baselines: Sequence[Variant], describe: Callable[[TaskSpec], DataInfo]
) -> BlockedDesign | None:
    """The blocks of the design, with the sizes of the splits, where they are of one dataset; None without blocks.

    Args:
        baselines: the baseline in every block.
    """
    if not sweep.blocks:
        return None
    (path,) = sweep.blocks
    names = [each.block for each in baselines]
    if not are_resampled(sweep):
        datasets = [value_at(each.setting, "task.dataset.name") for each in baselines]
        are_datasets = MISSING not in datasets and len(set(datasets)) == len(datasets)
        return BlockedDesign(path=path, names=names, kind="datasets" if are_datasets else "settings")
    infos = [describe(each.setting.task) for each in baselines]
    return BlockedDesign(
        path=path,
        names=names,
        kind="folds" if path.endswith(".fold") else "splits",
        num_folds=value_at(baselines[0].setting, "task.dataset.folds") if path.endswith(".fold") else None,
        train_images=[info.num_train for info in infos],
        test_images=[info.num_test for info in infos],
    )


def dataset_names(sweep: Sweep, baselines: Sequence[Variant]) -> str:
    """Name of the dataset of the baseline; those of all blocks, where they are datasets."""
    if isinstance(sweep.baseline.task, ForeignSpec):
        return ""
    tasks = [each.setting.task for each in baselines if each.block] or [sweep.baseline.task]
    return ", ".join(dict.fromkeys(task.dataset.name for task in tasks))


def length_of(sweep: Sweep, baselines: Sequence[Variant]) -> tuple[int | None, int | None]:
    """Epochs and updates of the baseline's training; None where there are none, or where the blocks differ."""
    settings = [each.setting for each in baselines if each.block] or [sweep.baseline]
    steps = {None if isinstance(each.task, ForeignSpec) else each.train.steps for each in settings}
    epochs = {each.num_epochs for each in settings}
    return epochs.pop() if len(epochs) == 1 else None, steps.pop() if len(steps) == 1 else None


def measures_of(sweep: Sweep) -> dict[str, Measured]:
    """Metrics that are not archsweep's own, so that a table can be made without what defined them: those of a training
    of the user's own, or those of plug-ins."""
    task = sweep.baseline.task
    if isinstance(task, ForeignSpec):
        return {name: Measured(**each.model_dump()) for name, each in task.measures.items()}
    of_plugins = {name: METRICS[name] for name in task.measured if own_metric(name) is None}
    return {
        name: Measured(direction=each.direction, unit=each.unit, decimals=each.decimals, meaning=each.meaning)
        for name, each in of_plugins.items()
        if each.direction is not None
    }


def retuned_of(sweep: Sweep) -> Retuned | None:
    """How every variant is tuned; None without `retune`."""
    retune = sweep.retune
    if retune is None:
        return None
    return Retuned(
        parameters=list(retune.parameters),
        space={path: describe_parameter(parameter) for path, parameter in retune.parameters.items()},
        num_trials=retune.num_trials,
        seeds=list(retune.seeds),
        sampler=retune.sampler,
    )


def rounds_of(sweep: Sweep) -> Rounds | None:
    """How seeds are trained in rounds; None where all are trained in any case."""
    rounds = sweep.rounds
    if rounds is None:
        return None
    return Rounds(
        looks=list(rounds.all_looks),
        spending=rounds.spending,
        stop=rounds.stop,
        effect=rounds.effect,
        smallest=rounds.futility.smallest if isinstance(rounds.futility, Smallest) else None,
        is_strong=rounds.futility == "strong",
    )


def path_seeds_of(sweep: Sweep) -> PathSeeds | None:
    """Which seeds choose the steps of a path; None for other designs."""
    if sweep.design.name != "path":
        return None
    return PathSeeds(choosing=list(choosing_seeds(sweep)), compare=sweep.design.compare is not False)


def seed_sources_of(sweep: Sweep) -> SeedSources | None:
    """What a seed decides; None where it is the default."""
    seeding, task = sweep.baseline.train.seeding, sweep.baseline.task
    if seeding == Seeding():
        return None
    own = "split" in seeding.varied
    drawn: dict[Literal["validation", "test"], bool] = {
        "validation": bool(task.val_fraction),
        "test": task.dataset.draws_test_split,
    }
    return SeedSources(
        vary=list(seeding.varied),
        crossed={str(name): number for name, number in (seeding.crossed or {}).items()},
        splits=[name for name, is_drawn in drawn.items() if own and is_drawn],
    )


def data_summary(task: TaskSpec, survey: Survey) -> DataSummary:
    """What captions and provenance say of a dataset."""
    info = survey.info
    return DataSummary(
        dataset=survey.name,
        num_classes=info.num_classes,
        train_images=info.num_train,
        val_images=info.num_val,
        test_images=info.num_test,
        majority=survey.test.majority,
        majority_class=majority_class(task, survey),
        labelled=task.labelled,
        notes=list(survey.notes),
    )
