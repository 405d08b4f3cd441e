"""Teacher: a copy of the student without its random parts, whose weights are the moving average of the student's.

As released, only parameters are averaged: running statistics of batch norms are the teacher's own, because it is kept
in training mode. Stochastic depth and dropout are turned off in it.

Paper:   DINO, Caron et al. 2021, arXiv:2104.14294, section 3.1.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from timm.layers import DropPath, PatchDropout
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

__all__ = ["teacher_of", "update_teacher"]

Network = TypeVar("Network", bound=nn.Module)

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def teacher_of(student: Network) -> Network:
    """A copy with the same weights and mode, without random parts and without gradients."""
    teacher = copy.deepcopy(student).requires_grad_(False)
    each: Any  # the attributes below are plain numbers
    for each in teacher.modules():
        if isinstance(each, _DROPOUTS):
            each.p = 0.0
        elif isinstance(each, DropPath):
            each.drop_prob = 0.0
        elif isinstance(each, PatchDropout):
            each.prob = 0.0
        elif isinstance(getattr(each, "drop_rate", None), float):
            each.drop_rate = 0.0  # models that call dropout as a function (ResNet)
    return teacher


def update_teacher(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Move the teacher's parameters in place: teacher = momentum * teacher + (1 - momentum) * student.

    Args:
        student: The network that the teacher was made of, after an update.
        momentum: From 0 to 1.
    """
    average = get_ema_multi_avg_fn(momentum)
    average(list(teacher.parameters()), list(student.parameters()), 0)
