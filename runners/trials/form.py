"""Form of trainings: each by itself, or several of one shape as one stacked model (fused), in groups.

The numbers of a trial do not depend on who is in its group, so a group may have any size, and seeds of any variants of
the shape: as many as are left, but no more than that every worker gets some.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from results.plan.stored import Numerics
from search_space import Setting
from search_space.schema.parameters import Component, Parameter, Range
from search_space.schema.trial import TrainSpec

__all__ = [
    "ALONE",
    "LARGEST_GROUP",
    "Form",
    "group_limit",
    "group_size",
    "needs_one_epoch",
    "of_another_shape",
    "shape_of",
    "stack_of",
]

LARGEST_GROUP = 8
"""Most trials in one stacked model: from there on a step of a small model on one core gains nothing more."""
_SMALLEST = 2
"""Below it one of the two members would be a dummy, which costs a step of its own."""
_OWN_RATES = ("lr", "min_lr", "warmup_lr", "warmup_epochs", "smoothing")
"""Options of `train` of which every member of a stack has its own."""
_OWN_UNLESS_ZERO = {"train": ("weight_decay",), "arch": ("drop_path_rate", "proj_drop_rate", "attn_drop_rate")}
"""The same, but where one is 0: no weight decay divides the parameters otherwise, and a rate of 0 has no layer."""


@dataclass(frozen=True)
class Form:
    """Form of the trainings of a variant.

    Attributes:
        why: why they train together, or alone. A phrase.
        gain: measured speed of a step of `fused` over one of `single`; None where it was not measured.
        size: most trials of its groups.
    """

    numerics: Numerics
    why: str = ""
    gain: float | None = None
    size: int = 1


ALONE = Form("single")
"""Of a stack of which nothing was decided."""


def shape_of(setting: Setting) -> dict[str, Any]:
    """What settings have in common whose trainings can be members of one stack: all but numbers of their own."""
    shape = setting.model_dump(mode="json", exclude={"seed"})
    for name in _OWN_RATES:
        del shape["train"][name]
    for part, names in _OWN_UNLESS_ZERO.items():
        shape[part] |= {name: shape[part][name] > 0 for name in names}
    return shape


def stack_of(setting: Setting) -> str:
    """Name of the stack of a training: equal for settings, and trials, that can be members of one."""
    return hashlib.sha256(json.dumps(shape_of(setting), sort_keys=True).encode()).hexdigest()[:16]


def of_another_shape(space: Mapping[str, Parameter]) -> list[str]:
    """Parameters of a space whose values can give settings that are members of no common stack.

    >>> from search_space.schema.parameters import Range
    >>> of_another_shape({"train.lr": Range(min=1e-4, max=1e-2), "train.weight_decay": Range(min=0.0, max=0.1)})
    ['train.weight_decay']
    """
    own = {f"train.{name}" for name in _OWN_RATES}
    unless_zero = {f"{part}.{name}" for part, names in _OWN_UNLESS_ZERO.items() for name in names}
    return [
        path
        for path, parameter in space.items()
        if path not in own and not (path in unless_zero and all(_values_above_zero(parameter)))
    ]


def _values_above_zero(parameter: Parameter) -> list[bool]:
    if isinstance(parameter, Range):
        return [parameter.min > 0]
    values = [parameter.off, parameter.on] if isinstance(parameter, Component) else [each.value for each in parameter]
    return [isinstance(value, int | float) and value > 0 for value in values]


def group_size(num_left: int, num_waiting: int, workers: int) -> int:
    """Number of trials that are handed out together.

    Args:
        num_left: trainings of one shape that are to be handed out.
        num_waiting: those of all shapes.
        workers: trainings at a time.

    >>> group_size(8, 32, 2), group_size(8, 8, 2), group_size(3, 3, 4), group_size(20, 20, 1)
    (8, 4, 2, 8)
    """
    share = math.ceil(num_waiting / max(1, workers))
    return min(num_left, LARGEST_GROUP, max(_SMALLEST, share))


def needs_one_epoch(train: TrainSpec) -> bool:
    """Whether all members of a stack must be at the same epoch, so that none can join one that has begun: during its
    warm-up the decay of an average of weights depends on the number of updates, and timm has one decay for a stack."""
    return train.ema_decay is not None and train.model_ema_warmup


def group_limit(seconds: float | None, size: int) -> float | None:
    """Time limit of a group of trials, each of which may take so many seconds by itself."""
    return None if seconds is None else seconds * size
