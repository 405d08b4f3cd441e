"""Rules of DINO's loop about parameters: which are decayed, how gradients are clipped, which wait for an epoch.

Source:  written from a description of the released loop; checked against recorded trainings.
Differs: from timm's rules, which exclude class tokens and position embeddings from weight decay and clip the norm of
         all gradients together.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from modelzoo.self_supervised.network import SelfSupervisedNetwork

__all__ = ["clip_each_gradient", "skip_last_layers", "undecayed_parameters"]


def undecayed_parameters(network: nn.Module) -> list[str]:
    """Names of the trained parameters without weight decay: biases, and all of one dimension."""
    return [
        name
        for name, parameter in network.named_parameters()
        if parameter.requires_grad and (name.endswith(".bias") or parameter.ndim == 1)
    ]


@torch.no_grad()
def clip_each_gradient(parameters: Iterable[nn.Parameter], max_norm: float) -> None:
    """Scale every gradient whose norm exceeds `max_norm` to it, each for itself.

    As released, the norm in the division is larger by 1e-6. Nothing is read back from the device.
    """
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.mul_((max_norm / (parameter.grad.norm() + 1e-6)).clamp(max=1.0))


def skip_last_layers(network: SelfSupervisedNetwork) -> None:
    """Remove the gradients of the last layers of the heads, so that an optimiser's step leaves them as they are.

    DINO does so in the first epoch, after clipping: neither momentum nor weight decay moves them then.
    """
    for parameter in network.last_layers():
        parameter.grad = None
