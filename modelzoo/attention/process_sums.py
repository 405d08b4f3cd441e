"""Sums over the processes that train one model together, for statistics that a `SyncBatchNorm` shares.

PyTorch's `SyncBatchNorm` computes its statistics in a kernel of GPUs and keeps them to itself. What normalises with the
same statistics (padded maps, prefix tokens) sums its own, over the same processes.

Gradient:  a sum over processes is one number that the loss of every process may depend on. Its gradient on a process is
           therefore the sum of what flows back to it on all of them; as in `SyncBatchNorm`, of whose losses the sum (in
           `DistributedDataParallel`, the mean) is minimised.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn

__all__ = ["is_shared", "summed"]


def is_shared(norm: nn.Module) -> bool:
    """Whether the norm takes its statistics from all processes of the training."""
    return isinstance(norm, nn.SyncBatchNorm) and distributed.is_initialized()


def summed(shared: bool, *parts: Tensor) -> tuple[Tensor, ...]:
    """Sums over all processes that train together, in one message; the parts themselves where a process is alone.

    A collective, and in the backward pass one more: all processes call it equally often and in the same order.
    """
    if not shared:
        return parts
    flat = _Sum.apply(torch.cat([part.reshape(-1) for part in parts]))
    pieces = flat.split([part.numel() for part in parts])
    return tuple(piece.reshape(part.shape) for piece, part in zip(pieces, parts, strict=True))


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].clone()
        distributed.all_reduce(total)
        return total
