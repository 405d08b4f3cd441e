"""Attention maps of padded sequences: zeros in the places of padding, and BatchNorm over the entries of real tokens.

Definition:  ours; no official code refines maps of padded text. An entry is valid where query and key are real tokens.
             In training the statistics are those of the valid entries (biased to normalise, unbiased to remember, as in
             `nn.BatchNorm2d`); in evaluation mode the running statistics normalise everything, as always. Checked
             against `nn.BatchNorm2d` on the valid entries alone (see tests).

Shapes:  B sequences, M maps, N queries, K keys.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce

from modelzoo.attention.recomputed_batchnorm import is_recomputing

__all__ = ["normalised", "times"]


def times(map_BMNK: Tensor, valid_B1NK: Tensor | None) -> Tensor:
    """The map with zeros where an entry is not valid; the same tensor where all are (None)."""
    return map_BMNK if valid_B1NK is None else map_BMNK * valid_B1NK


def normalised(norm: nn.Module, map_BMNK: Tensor, valid_B1NK: Tensor | None) -> Tensor:
    """`norm(map_BMNK)`; a BatchNorm in training mode takes its statistics from the valid entries only.

    A `SyncBatchNorm` takes them from the valid entries of all processes.
    """
    if valid_B1NK is None or not norm.training:
        return norm(map_BMNK)
    assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
    kept = map_BMNK.float()
    valid = valid_B1NK.float()
    count, total = valid.sum(), (kept * valid).sum(dim=(0, 2, 3))
    count, total = _over_processes(norm, count, total)
    mean = total / count
    centred = kept - mean.view(1, -1, 1, 1)
    (squares,) = _over_processes(norm, (centred.square() * valid).sum(dim=(0, 2, 3)))
    variance = squares / count
    if norm.track_running_stats and not is_recomputing():
        _remember(norm, mean.detach(), variance.detach(), count.detach())
    result = centred * (variance + norm.eps).rsqrt().view(1, -1, 1, 1)
    if norm.affine:
        result = result * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)
    return result.to(map_BMNK.dtype)


def _over_processes(norm: nn.Module, *parts: Tensor) -> list[Tensor]:
    """Sums over all processes that train together, with gradient; the sums themselves where a process is alone."""
    if not isinstance(norm, nn.SyncBatchNorm) or not distributed.is_initialized():
        return list(parts)
    summed = all_reduce(torch.cat([part.reshape(-1) for part in parts]))
    pieces = summed.split([part.numel() for part in parts])
    return [piece.reshape(part.shape) for piece, part in zip(pieces, parts, strict=True)]


@torch.no_grad()
def _remember(norm: nn.modules.batchnorm._BatchNorm, mean: Tensor, variance: Tensor, count: Tensor) -> None:
    """Move the running statistics as `nn.BatchNorm2d` does; a momentum of None is the plain average over batches."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked += 1
    weight = 1 / norm.num_batches_tracked if norm.momentum is None else norm.momentum
    norm.running_mean += weight * (mean - norm.running_mean)
    norm.running_var += weight * (variance * count / (count - 1).clamp_min(1) - norm.running_var)
