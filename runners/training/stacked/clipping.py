"""Clipping of a stack's gradients, every member by itself: the numbers of timm's modes and of DINO's, member by member.

Shapes:  K members.
"""

from __future__ import annotations

import torch
from torch import Tensor

from modelzoo.stacked import Stacked
from search_space.schema.trial import TrainSpec

__all__ = ["clip_members"]

_EPS = 1e-6
"""Of torch's `clip_grad_norm_`, of DINO's clipping, and under a gradient's norm in timm's AGC."""
_LEAST_WEIGHT = 1e-3
"""timm's smallest norm of a weight in AGC."""


@torch.no_grad()
def clip_members(stack: Stacked, train: TrainSpec) -> None:
    """Clip the gradients of every member as `train.clip_grad` and `train.clip_mode` say."""
    most = train.clip_grad
    weights = [parameter for parameter in stack.parameters() if parameter.grad is not None]
    if most is None or not weights:
        return
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    if train.clip_mode == "value":
        for gradient in gradients:
            gradient.clamp_(-most, most)
    elif train.clip_mode == "agc":
        for weight, gradient in zip(weights, gradients, strict=True):
            _clip_adaptively(weight, gradient, most)
    else:
        norms = [torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients]
        if train.clip_mode == "norm":
            norms = [torch.linalg.vector_norm(torch.stack(norms), dim=0)] * len(norms)
        for gradient, norms_K in zip(gradients, norms, strict=True):
            scale_K = (most / (norms_K + _EPS)).clamp(max=1.0)
            gradient.mul_(scale_K.view(-1, *[1] * (gradient.ndim - 1)))


def _clip_adaptively(weight: Tensor, gradient: Tensor, share: float) -> None:
    """Bound the norm of each unit's gradient by a share of that of its weights; a unit is a row of a member's matrix,
    or a whole vector."""
    dims = tuple(range(1 if weight.ndim <= 2 else 2, weight.ndim))
    most = torch.linalg.vector_norm(weight, dim=dims, keepdim=True).clamp_(min=_LEAST_WEIGHT).mul_(share)
    norm = torch.linalg.vector_norm(gradient, dim=dims, keepdim=True)
    clipped = gradient * (most / norm.clamp(min=_EPS))
    gradient.copy_(torch.where(norm < most, gradient, clipped))
