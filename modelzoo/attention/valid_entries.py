"""Attention maps of padded sequences: zeros in the places of padding, and BatchNorm over the entries of real tokens.

Definition:  ours; no official code refines maps of padded text. An entry is valid where query and key are real tokens.
             In training the statistics are those of the valid entries (biased to normalise, unbiased to remember, as in
             `nn.BatchNorm2d`); in evaluation mode the running statistics normalise everything, as always. Checked
             against `nn.BatchNorm2d` on the valid entries alone (see tests).

Shapes:  B sequences, M maps, N queries, K keys.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from modelzoo.attention.process_sums import is_shared, summed
from modelzoo.attention.recomputed_batchnorm import is_recomputing, remember

__all__ = ["normalised", "times"]


def times(map_BMNK: Tensor, valid_B1NK: Tensor | None) -> Tensor:
    """The map with zeros where an entry is not valid; the same tensor where all are (None)."""
    return map_BMNK if valid_B1NK is None else map_BMNK * valid_B1NK


def normalised(norm: nn.Module, map_BMNK: Tensor, valid_B1NK: Tensor | None) -> Tensor:
    """`norm(map_BMNK)`; a BatchNorm in training mode takes its statistics from the valid entries only.

    A `SyncBatchNorm` takes them from the valid entries of all processes.
    """
    if valid_B1NK is None or not norm.training or isinstance(norm, nn.Identity):
        return norm(map_BMNK)
    assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
    result, mean, variance, count = _NormOfValid.apply(
        map_BMNK.float(), valid_B1NK.float(), norm.weight, norm.bias, norm.eps, is_shared(norm)
    )
    if norm.track_running_stats and not is_recomputing():
        remember(norm, mean, variance, count)
    return result.to(map_BMNK.dtype)


class _NormOfValid(torch.autograd.Function):
    """w (x - mean) / sqrt(variance + eps) + b with the mean and the variance of the valid entries.

    Its gradient is written out because it needs one saved map instead of six, and a third of the time:

        dx = w / s * (dy - valid / n * (sum(dy) + (x - mean) / s^2 * sum(dy (x - mean)))),   s^2 = variance + eps
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, valid: Tensor, weight: Tensor, bias: Tensor, eps: float, shared: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        count, total = summed(shared, valid.sum(), (x * valid).sum(dim=_ALL_BUT_MAPS))
        mean = total / count
        centred = x - mean.view(1, -1, 1, 1)
        (squares,) = summed(shared, (centred.square() * valid).sum(dim=_ALL_BUT_MAPS))
        variance = squares / count
        inverse = (variance + eps).rsqrt()
        ctx.save_for_backward(centred, valid, weight, inverse, count)
        ctx.is_shared = shared
        ctx.mark_non_differentiable(mean, variance, count)
        result = torch.addcmul(bias.view(1, -1, 1, 1), centred, (weight * inverse).view(1, -1, 1, 1))
        return result, mean, variance, count

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        centred, valid, weight, inverse, count = ctx.saved_tensors
        grad = grads[0]
        of_bias, of_scale = grad.sum(dim=_ALL_BUT_MAPS), (grad * centred).sum(dim=_ALL_BUT_MAPS)
        total, product = summed(ctx.is_shared, of_bias, of_scale)
        scale = weight * inverse
        slope = (-scale * inverse.square() * product / count).view(1, -1, 1, 1)
        offset = (-scale * total / count).view(1, -1, 1, 1)
        of_x = torch.addcmul(offset, centred, slope) * valid
        return torch.addcmul(of_x, grad, scale.view(1, -1, 1, 1)), None, of_scale * inverse, of_bias, None, None


_ALL_BUT_MAPS = (0, 2, 3)
