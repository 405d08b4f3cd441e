"""Precisions of a sweep (`train.amp`) on the device of its trials: those that it lacks, those that are one there."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from runners.planning.auto_gpus import Say
from runners.training.device import kind_of_device
from runners.training.precision import WITHOUT_GPU, reason_against_precision, resolved
from search_space import Resources, Setting, Variant, possible_resources
from search_space.schema.identity import variant_id
from search_space.schema.task import ForeignSpec
from search_space.settings.training_relations import BrokenRelation
from search_space.variants.impossible_choices import RelationsOf

__all__ = ["PRECISION_HINT", "equal_precisions", "with_precision"]

PRECISION_HINT = f"{WITHOUT_GPU}, or give the trials a GPU (--gpus-per-trial 1)"


def with_precision(relations_of: RelationsOf, resources: Resources) -> RelationsOf:
    """Relations of a setting together with its precision, where no trial has a device for it, whatever rule applies."""
    kinds = [kind_of_device(each) for each in possible_resources(resources)]

    def found(setting: Setting) -> list[BrokenRelation]:
        relations = list(relations_of(setting))
        reasons = [reason_against_precision(setting.train.amp, kind) for kind in kinds]
        if all(reasons) and not isinstance(setting.task, ForeignSpec):
            relations.append(BrokenRelation("train.amp", reasons[0], PRECISION_HINT, ("train.amp",)))
        return relations

    return found


def equal_precisions(variants: Iterable[tuple[Variant, Resources]], *, say: Say) -> None:
    """Say which variants differ in the name of their precision only: their rows will be equal."""
    first: dict[tuple[str, str], Variant] = {}
    for variant, resources in variants:
        train, kind = variant.setting.train, kind_of_device(resources)
        if isinstance(variant.setting.task, ForeignSpec):
            continue
        precision = resolved(train.amp, torch.device(kind))
        bare = variant.setting.model_copy(update={"train": train.model_copy(update={"amp": "auto"})})
        twin = first.setdefault((variant_id(bare), precision), variant)
        if twin is not variant and twin.setting.train.amp != train.amp:
            names = f"{twin.name!r} (train.amp: {twin.setting.train.amp}) and {variant.name!r} (train.amp: {train.amp})"
            say(f"warning: {names} are both {precision} on {kind!r}: their rows will be equal")
