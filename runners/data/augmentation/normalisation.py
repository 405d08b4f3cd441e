"""Normalisation of a training's images (`train.mean`, `train.std`): that of its dataset, of its model, or as written.

Training and evaluation have the same one, so it belongs to what is known of the dataset, from which all batches are
made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from modelzoo import published_normalisation
from runners.data.dataset_info import DataInfo
from search_space.parsing.errors import SpecError
from search_space.schema.trial import Setting, TrainSpec
from search_space.settings.broken_relation import BrokenRelation

__all__ = ["normalisation_faults", "normalised"]


def normalised(info: DataInfo, setting: Setting) -> DataInfo:
    """What is known of a dataset, with the mean and standard deviation that a setting normalises its images by.

    Raises:
        SpecError: the model states none.
    """
    for name in ("mean", "std"):
        value = getattr(setting.train, name)
        if value == "model":
            value = published_normalisation(setting.arch, name)
        if value is not None:
            info = replace(info, **{name: value})
    return info


def normalisation_faults(setting: Setting, info: DataInfo) -> Iterator[BrokenRelation]:
    """Relations that mean and standard deviation break in the light of the channels of the images."""
    if setting.arch.model == "vit":  # which has none, and that is said without the data
        setting = setting.model_copy(update={"train": _without_model(setting)})
    try:
        found = normalised(info, setting)
    except SpecError as err:
        yield from (BrokenRelation(each.path, each.message, each.hint, ("train", "arch")) for each in err.problems)
        return
    for name in ("mean", "std"):
        values, path = getattr(found, name), f"train.{name}"
        if len(values) != info.in_chans:
            message = f"images of {info.name!r} have {info.in_chans} channels, but {name} has {len(values)} numbers"
            yield BrokenRelation(path, message, "write a number for each", (path, "task.dataset", "arch.model"))


def _without_model(setting: Setting) -> TrainSpec:
    named = dict.fromkeys(name for name in ("mean", "std") if getattr(setting.train, name) == "model")
    return setting.train.model_copy(update=named)
