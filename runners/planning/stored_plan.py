"""Parts of the plan of a run directory that follow from the sweep, or from the survey of its data, alone."""

from __future__ import annotations

from results.store.records import DataSummary, Measured, Retuned
from runners.data.survey.majority_class import majority_class
from runners.data.survey.survey import Survey
from search_space import Sweep, TaskSpec
from search_space.schema.metrics import METRICS, own_metric
from search_space.schema.task import ForeignSpec
from search_space.settings.naming import describe_parameter

__all__ = ["data_summary", "measures_of", "retuned_of"]


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
