"""Teacher: a copy of the student without its random parts and predictors, whose weights are made of the student's.

Its weights are the moving average of the student's (a momentum of 0: a copy of it), or those that the student had at
the end of the previous epoch, or one update ago (figure 6).

As released, only parameters are averaged: running statistics of batch norms are the teacher's own, because it is kept
in training mode. Stochastic depth and dropout are turned off in it.

Paper:   DINO, Caron et al. 2021, arXiv:2104.14294, sections 3.1 and 5.2.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from timm.layers import DropPath, PatchDropout
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from modelzoo.self_supervised.head import ProjectionHead

__all__ = ["copy_to_teacher", "student_weights", "teacher_of", "update_teacher"]

Network = TypeVar("Network", bound=nn.Module)

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def teacher_of(student: Network) -> Network:
    """A copy with the same weights and mode, without random parts, without predictors and without gradients."""
    teacher = copy.deepcopy(student).requires_grad_(False)
    each: Any  # the attributes below are plain numbers
    for each in teacher.modules():
        if isinstance(each, _DROPOUTS):
            each.p = 0.0
        elif isinstance(each, DropPath):
            each.drop_prob = 0.0
        elif isinstance(each, PatchDropout):
            each.prob = 0.0
        elif isinstance(each, ProjectionHead):
            each.predictor = None
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
    average(list(teacher.parameters()), student_weights(teacher, student), 0)


def student_weights(teacher: nn.Module, student: nn.Module) -> list[Tensor]:
    """Parameters of the student, in the order of the teacher's; those that the teacher lacks are left out."""
    of_student = dict(student.named_parameters())
    return [of_student[name] for name, _ in teacher.named_parameters()]


@torch.no_grad()
def copy_to_teacher(teacher: nn.Module, weights: Sequence[Tensor]) -> None:
    """Give the teacher's parameters, in their order, these values."""
    for own, value in zip(teacher.parameters(), weights, strict=True):
        own.copy_(value)
