"""Precisions of a sweep (`train.amp`) on the device of its trials: those that it lacks, those that are one there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from runners.training.device import kind_of_device
from runners.training.precision import WITHOUT_GPU, reason_against_precision, resolved
from search_space import Resources, Setting, Variant, possible_resources
from search_space.schema.identity import variant_id
from search_space.settings.training_relations import BrokenRelation

__all__ = ["PRECISION_HINT", "equal_precisions", "lacking_precision"]

PRECISION_HINT = f"{WITHOUT_GPU}, or give the trials a GPU (--gpus-per-trial 1)"


def lacking_precision(setting: Setting, resources: Resources) -> list[BrokenRelation]:
    """The precision of a setting, where no trial of the sweep has a device for it, whatever rule applies to it."""
    reasons = [
        reason_against_precision(setting.train.amp, kind_of_device(each)) for each in possible_resources(resources)
    ]
    return [BrokenRelation("train.amp", reasons[0], PRECISION_HINT, ("train.amp",))] if all(reasons) else []


def equal_precisions(variants: Iterable[tuple[Variant, Resources]]) -> Iterator[str]:
    """A sentence on every two variants that differ in the name of their precision only: their rows will be equal."""
    first: dict[tuple[str, str], Variant] = {}
    for variant, resources in variants:
        train, kind = variant.setting.train, kind_of_device(resources)
        precision = resolved(train.amp, torch.device(kind))
        bare = variant.setting.model_copy(update={"train": train.model_copy(update={"amp": "auto"})})
        twin = first.setdefault((variant_id(bare), precision), variant)
        if twin is not variant and twin.setting.train.amp != train.amp:
            names = f"{twin.name!r} (train.amp: {twin.setting.train.amp}) and {variant.name!r} (train.amp: {train.amp})"
            yield f"warning: {names} are both {precision} on {kind!r}: their rows will be equal"
