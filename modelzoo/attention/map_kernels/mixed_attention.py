"""Attention by normalised mixtures of softmax maps (Re-attention) in training, keeping no map at all.

Kept for the backward pass are q, k and v, and sums over the batch; the maps are computed again, a few images at a time.
Which entries dropout leaves is kept too, a byte each: drawing them a second time would take a quarter of a step. The
norm needs no pass over the mixed maps (see `mixed_norm.py`). The bias of the mixing is taken away by the norm, so its
gradient is exactly 0.

Shapes:  B images (b of them at a time), H heads, N queries, K keys, E head_dim, P = N K.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

from modelzoo.attention.map_kernels.chosen import few_at_a_time
from modelzoo.attention.map_kernels.mixed_norm import mixed_norm, mixed_norm_gradients
from modelzoo.attention.recomputed_batchnorm import is_recomputing, remember

__all__ = ["mixed_attention"]


@dataclass(frozen=True)
class _Numbers:
    """Scale of the logits and of the maps that weigh V, share of entries that dropout drops, epsilon of the norm."""

    logits: float
    maps: float
    dropped: float
    eps: float


def mixed_attention(
    q_BHNE: Tensor,
    k_BHKE: Tensor,
    v_BHKE: Tensor,
    *,
    mixing: nn.Conv2d,
    norm: nn.BatchNorm2d,
    scale: float,
    map_scale: float,
    dropped: float,
) -> Tensor:
    """map_scale * norm(mixing(dropout(softmax(scale q k^T)))) v with the statistics of this batch."""
    numbers = _Numbers(scale, map_scale, dropped, norm.eps)
    out_BHNE, mean_H, variance_H = _MixedAttention.apply(
        q_BHNE, k_BHKE, v_BHKE, numbers, mixing.weight, mixing.bias, norm.weight, norm.bias
    )
    if not is_recomputing():
        B, _, N, K = *q_BHNE.shape[:3], k_BHKE.shape[2]
        remember(norm, mean_H, variance_H, mean_H.new_full((), B * N * K))
    return out_BHNE


class _MixedAttention(Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        numbers: _Numbers,
        weight: Tensor,
        bias: Tensor | None,
        gamma: Tensor,
        beta: Tensor,
    ) -> tuple[Tensor, ...]:
        (B, H, N), K = q.shape[:3], k.shape[2]
        mask = _drawn_mask(q, K, numbers.dropped) if numbers.dropped else None
        total, scatter_HH = q.new_zeros(H), q.new_zeros(H, H)
        maps: list[Tensor] = []
        for few in _few(q, k):
            map_bHP = _map(q[few], k[few], numbers.logits)
            if mask is not None:
                map_bHP *= mask.of(few)
            # Rows of a map sum to 1, so its entries are about 1 / K.
            maps.append(map_bHP.sub_(1 / K))
            total += map_bHP.sum((0, 2))
            scatter_HH += torch.bmm(map_bHP, map_bHP.transpose(1, 2)).sum(0)
        count = B * N * K
        off_H = total / count
        scatter_HH -= count * torch.outer(off_H, off_H)
        found = mixed_norm(weight.flatten(1), gamma, scatter_HH, count=count, eps=numbers.eps)
        mixing_HH = numbers.maps * found.weight_MH
        constant = numbers.maps * beta - mixing_HH @ off_H
        out_BHNE = q.new_empty(B, H, N, v.shape[-1])
        for few in _few(q, k):
            mixed_bHP = torch.matmul(mixing_HH, maps.pop(0)).add_(constant[:, None])
            torch.matmul(mixed_bHP.unflatten(2, (N, K)), v[few], out=out_BHNE[few])
        mean_H = off_H + 1 / K
        ctx.save_for_backward(q, k, v, weight, bias, gamma, beta, mean_H, scatter_HH, *(mask or ()))
        ctx.numbers = numbers
        mixed_mean = weight.flatten(1) @ mean_H
        statistics = (mixed_mean if bias is None else mixed_mean + bias, found.variance_M)
        ctx.mark_non_differentiable(*statistics)
        return out_BHNE, *statistics

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # the gradient is to be differentiated again
            return _through_modules(ctx, grads[0])
        with torch.autocast(grads[0].device.type, enabled=False):
            return _gradients(ctx, grads[0])


def _few(q: Tensor, k: Tensor) -> list[slice]:
    return list(few_at_a_time(q, q.shape[1] * q.shape[2] * k.shape[2]))


def _map(q: Tensor, k: Tensor, scale: float) -> Tensor:
    return ((q * scale) @ k.transpose(-2, -1)).softmax(dim=-1).flatten(2)


class _Mask(NamedTuple):
    """Entries that dropout keeps (B, H, P), and the number by which it multiplies them."""

    is_kept: Tensor
    factor: Tensor

    def of(self, few: slice) -> Tensor:
        """What maps of these images are multiplied by. As numbers: faster than by booleans."""
        return self.is_kept[few].view(torch.uint8).to(self.factor.dtype).mul_(self.factor)


def _drawn_mask(q: Tensor, num_keys: int, dropped: float) -> _Mask:
    """Drawn for all images at once, with the numbers that `nn.Dropout` takes from the generator."""
    shape = (*q.shape[:2], q.shape[2] * num_keys)
    if q.device.type == "cpu" and dropped < 1:  # the draws of F.dropout, without its passes over floats
        is_kept = torch.empty(shape, dtype=torch.bool).bernoulli_(1 - dropped)
        return _Mask(is_kept, q.new_ones(()).div_(1 - dropped))
    mask_BHP = F.dropout(q.new_ones(shape), dropped)
    return _Mask(mask_BHP != 0, mask_BHP.amax())


def _gradients(ctx: Any, grad_BHNE: Tensor) -> tuple[Tensor | None, ...]:
    numbers = ctx.numbers
    q, k, v, weight, bias, gamma, beta, mean_H, scatter_HH, *drawn = ctx.saved_tensors
    mask = _Mask(*drawn) if drawn else None
    (B, H, N), K = q.shape[:3], k.shape[2]
    count = B * N * K
    found = mixed_norm(weight.flatten(1), gamma, scatter_HH, count=count, eps=numbers.eps)
    mixing_HH = found.weight_MH
    products_HH, totals_H = q.new_zeros(H, H), q.new_zeros(H)
    of_v = torch.empty_like(v, memory_format=torch.contiguous_format)
    behind: list[tuple[Tensor, Tensor]] = []
    for few in _few(q, k):
        softmax_bHP = _map(q[few], k[few], numbers.logits)
        centred_bHP = (softmax_bHP if mask is None else softmax_bHP * mask.of(few)) - mean_H[:, None]
        mixed_bHP = torch.matmul(mixing_HH, centred_bHP).add_(beta[:, None])
        grad_bHNE = grad_BHNE[few] * numbers.maps
        torch.matmul(mixed_bHP.unflatten(2, (N, K)).transpose(2, 3), grad_bHNE, out=of_v[few])
        of_mixed_bHP = torch.matmul(grad_bHNE, v[few].transpose(2, 3)).flatten(2)
        totals_H += of_mixed_bHP.sum((0, 2))
        products_HH += torch.bmm(of_mixed_bHP, centred_bHP.transpose(1, 2)).sum(0)
        behind.append((softmax_bHP, of_mixed_bHP))
    norm = mixed_norm_gradients(found, products_HH, totals_H, scatter_HH, count=count)
    of_q = torch.empty_like(q, memory_format=torch.contiguous_format)
    of_k = torch.empty_like(k, memory_format=torch.contiguous_format)
    constant_H = norm.constant_H - norm.of_maps_HH @ mean_H
    for few in _few(q, k):
        softmax_bHP, of_mixed_bHP = behind.pop(0)
        mask_bHP = None if mask is None else mask.of(few)
        map_bHP = softmax_bHP if mask_bHP is None else softmax_bHP * mask_bHP
        of_map_bHP = torch.matmul(mixing_HH.t(), of_mixed_bHP)
        of_map_bHP.baddbmm_(norm.of_maps_HH.expand(len(of_map_bHP), -1, -1), map_bHP)
        # A constant on every entry of a row leaves a softmax as it is, but not behind dropout.
        if mask_bHP is not None:
            of_map_bHP.add_(constant_H[:, None]).mul_(mask_bHP)
        softmax, of_map = softmax_bHP.unflatten(2, (N, K)), of_map_bHP.unflatten(2, (N, K))
        of_logits = of_map.sub_((of_map * softmax).sum(-1, keepdim=True)).mul_(softmax)
        torch.matmul(of_logits, k[few], out=of_q[few]).mul_(numbers.logits)
        torch.matmul(of_logits.transpose(2, 3), q[few], out=of_k[few]).mul_(numbers.logits)
    of_bias = None if bias is None else torch.zeros_like(bias)
    return of_q, of_k, of_v, None, norm.mixing_MH.view_as(weight), of_bias, norm.gamma_M, totals_H


def _through_modules(ctx: Any, grad_BHNE: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients by PyTorch's operations one by one, which can be differentiated."""
    numbers = ctx.numbers
    q, k, v, weight, bias, gamma, beta, _, _, *drawn = ctx.saved_tensors
    maps = _map(q, k, numbers.logits)
    maps = (maps * _Mask(*drawn).of(slice(None)) if drawn else maps).unflatten(2, (q.shape[2], k.shape[2]))
    mixed = F.batch_norm(F.conv2d(maps, weight, bias), None, None, gamma, beta, training=True, eps=numbers.eps)
    result = numbers.maps * mixed @ v
    inputs = (q, k, v, None, weight, bias, gamma, beta)
    wanted = [each for each in inputs if each is not None and each.requires_grad]
    found = iter(torch.autograd.grad(result, wanted, grad_BHNE, create_graph=True))
    return tuple(next(found) if each is not None and each.requires_grad else None for each in inputs)
