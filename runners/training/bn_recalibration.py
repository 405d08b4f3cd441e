"""Recalibration of BatchNorm running statistics: inside attention before every evaluation, of untrained networks once.

Attention maps vary little: for 197 tokens a softmax map at initialisation has a variance of about 6e-7, against
BatchNorm's eps of 1e-5 and an initial running variance of 1. With the usual momentum of 0.1 the running statistics
need about 150 batches to converge, and until then evaluation mode computes something unrelated to the trained model.
Short trainings would measure that artefact instead of the mechanism. So before an evaluation, a fixed set of
un-augmented training batches is passed through the model with these BatchNorms (and only these) in training mode, and
their statistics are set to the plain average over the batches. DeepViT's own training script has such a pass, too.

A network that is measured without a training has a mean of 0 and a variance of 1 in every BatchNorm. Before a trained
one is compared with it, all of its BatchNorms are recalibrated in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any

import torch
from torch import nn

from modelzoo.stacked.maps import StackedBatchNorm2d

__all__ = ["recalibrate"]


@torch.no_grad()
def recalibrate(
    model: nn.Module,
    batchnorms: Sequence[nn.Module],
    batches: Iterable[tuple[Any, Any]],
    *,
    num_batches: int,
    autocast: AbstractContextManager | None = None,
) -> None:
    """Set the running mean and variance of `batchnorms` to their average over the first `num_batches` batches.

    Weights, other buffers, modes and momenta are unchanged. Dropout is off during the pass.
    """
    if not batchnorms or num_batches == 0:
        return
    modes = {module: module.training for module in model.modules()}
    momenta = [batchnorm.momentum for batchnorm in batchnorms]
    model.eval()
    for batchnorm in batchnorms:
        assert isinstance(batchnorm, nn.modules.batchnorm._BatchNorm | StackedBatchNorm2d)
        batchnorm.reset_running_stats()
        batchnorm.momentum = None  # in PyTorch: cumulative average
        batchnorm.train()
    try:
        with autocast or nullcontext():
            for images, _ in islice(batches, num_batches):
                model(images)
    finally:
        for batchnorm, momentum in zip(batchnorms, momenta, strict=True):
            batchnorm.momentum = momentum  # pyright: ignore[reportAttributeAccessIssue]
        for module, was_training in modes.items():
            module.training = was_training
