"""Refined maps in training, DLA and `adapt_bn` with the statistics of the batch, keeping two sets of H maps.

PyTorch's modules keep every map between two of their operations for the backward pass: 22 sets of H maps at an
expansion of 3. This keeps the incoming maps and the reduced ones, and computes the expanded ones again, a few images at
a time and channels last. It is no slower than the modules for it, because most of their time is reading and writing
maps. The expansion with its norm needs no pass of its own (see `mixed_norm.py`), nor does `adapt_bn`, whose statistics
follow from those of the two maps that it adds:

    z = s3 y + m,   sum(z^2) = s3^2 sum(y^2) + 2 s3 sum(y m) + sum(m^2)

with y and m centred, and s3 = gamma3 / sqrt(var3 + eps).

The bias of the norm behind the reduction is taken away again by `adapt_bn`, so its gradient is exactly 0.

Shapes:  B images (b of them at a time), H incoming maps, M expanded maps, R returned maps, N queries, K keys, P = N K.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from modelzoo.attention.map_kernels.chosen import few_at_a_time
from modelzoo.attention.map_kernels.mixed_norm import MixedNorm, mixed_norm, mixed_norm_gradients
from modelzoo.attention.map_kernels.refinement_parts import RefinementParts, convolved, convolved_gradients
from modelzoo.attention.recomputed_batchnorm import is_recomputing, remember

__all__ = ["refined_in_training"]


class _Weights(NamedTuple):
    """Parameters, in the order of the forward pass; without an expansion the first three are None."""

    expand: Tensor | None
    gamma1: Tensor | None
    beta1: Tensor | None
    depthwise: Tensor
    gamma2: Tensor
    beta2: Tensor
    reduce: Tensor
    gamma3: Tensor
    beta3: Tensor
    gamma_adapt: Tensor
    beta_adapt: Tensor


@dataclass(frozen=True)
class _Sizes:
    adds_identity: bool
    eps: tuple[float, float, float, float]


def refined_in_training(map_BHNK: Tensor, parts: RefinementParts) -> Tensor:
    """adapt_bn(DLA(map)), with the statistics of this batch; the running statistics of all norms move."""
    norm1, norm2, norm3, adapt = parts.norms
    first: tuple[Tensor | None, ...] = (None, None, None)
    if parts.expand is not None and norm1 is not None:
        first = (parts.expand.weight, norm1.weight, norm1.bias)
    weights = (
        *first,
        *(parts.depthwise.weight, norm2.weight, norm2.bias),
        *(parts.reduce.weight, norm3.weight, norm3.bias),
        *(adapt.weight, adapt.bias),
    )
    eps = (0.0 if norm1 is None else norm1.eps, norm2.eps, norm3.eps, adapt.eps)
    refined_BRNK, *statistics = _Refinement.apply(map_BHNK.contiguous(), _Sizes(parts.adds_identity, eps), *weights)
    if not is_recomputing():
        count = map_BHNK.new_full((), map_BHNK.numel() // map_BHNK.shape[1])
        for norm, mean, variance in zip(parts.norms, statistics[::2], statistics[1::2], strict=True):
            if norm is not None:
                remember(norm, mean, variance, count)
    return refined_BRNK


class _Kept(NamedTuple):
    """What is kept beside the weights: two sets of maps, and sums over the batch."""

    maps: Tensor
    reduced: Tensor
    mean: Tensor
    scatter: Tensor
    mean2: Tensor
    inverse2: Tensor
    inverse3: Tensor
    inverse_adapt: Tensor
    squares_y: Tensor
    products_ym: Tensor


class _Refinement(Function):
    @staticmethod
    def forward(ctx: Any, map_BHNK: Tensor, sizes: _Sizes, *parameters: Tensor | None) -> tuple[Tensor, ...]:
        weights = _Weights(*parameters)  # pyright: ignore[reportArgumentType]
        mean_H, scatter_HH = _moments(map_BHNK)
        count = map_BHNK.numel() // len(mean_H)
        first = _first_norm(weights, scatter_HH, count, sizes)
        conved, mean2, variance2 = _convolved_maps(map_BHNK, mean_H, first, weights)
        inverse2 = (variance2 + sizes.eps[1]).rsqrt()
        slope2 = weights.gamma2 * inverse2
        reduce_RM = weights.reduce.flatten(1)
        B, _, N, K = map_BHNK.shape
        y_BRP = map_BHNK.new_empty(B, len(reduce_RM), N * K)
        shift2 = weights.beta2 - mean2 * slope2
        for few in _few(map_BHNK, weights):
            x_bNKM = torch.addcmul(shift2, conved.pop(0), slope2).clamp_(0, 6)
            torch.matmul(reduce_RM, x_bNKM.flatten(1, 2).transpose(1, 2), out=y_BRP[few])
        mean3 = y_BRP.mean((0, 2))
        squares_y, products_ym = torch.zeros_like(mean3), torch.zeros_like(mean3)
        for few in _few(map_BHNK, weights):
            y_bRP = y_BRP[few].sub_(mean3[:, None])
            squares_y += (y_bRP * y_bRP).sum((0, 2))
            if sizes.adds_identity:
                products_ym += ((map_BHNK[few].flatten(2) - mean_H[:, None]).mul_(y_bRP)).sum((0, 2))
        variance3 = squares_y / count
        inverse3 = (variance3 + sizes.eps[2]).rsqrt()
        slope3 = weights.gamma3 * inverse3
        squares_z, mean_z = slope3.square() * squares_y, weights.beta3.detach().clone()
        if sizes.adds_identity:
            squares_z = squares_z + 2 * slope3 * products_ym + scatter_HH.diagonal()
            mean_z += mean_H
        inverse_adapt = (squares_z / count + sizes.eps[3]).rsqrt()
        slope = weights.gamma_adapt * inverse_adapt
        refined_BRP = torch.empty_like(y_BRP)
        constant = weights.beta_adapt - slope * mean_H if sizes.adds_identity else weights.beta_adapt
        for few in _few(map_BHNK, weights):
            torch.addcmul(constant[:, None], y_BRP[few], (slope * slope3)[:, None], out=refined_BRP[few])
            if sizes.adds_identity:
                refined_BRP[few].addcmul_(map_BHNK[few].flatten(2), slope[:, None])
        kept = (map_BHNK, y_BRP, mean_H, scatter_HH, mean2, inverse2, inverse3, inverse_adapt, squares_y, products_ym)
        ctx.save_for_backward(*kept, *weights)
        ctx.sizes = sizes
        mean1 = variance1 = mean_H
        if first is not None:
            mean1, variance1 = first.mixing_MH @ mean_H, first.variance_M
        statistics = (mean1, variance1, mean2, variance2, mean3, variance3, mean_z, squares_z / count)
        statistics = tuple(each.clone() for each in statistics)
        ctx.mark_non_differentiable(*statistics)
        return refined_BRP.view(B, -1, N, K), *statistics

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        kept, weights = _Kept(*saved[: len(_Kept._fields)]), _Weights(*saved[len(_Kept._fields) :])
        if torch.is_grad_enabled():  # the gradient is to be differentiated again
            return _through_modules(kept.maps, weights, ctx.sizes, grads[0])
        with torch.autocast(grads[0].device.type, enabled=False):
            return _gradients(kept, weights, ctx.sizes, grads[0].flatten(2))


def _few(map_BHNK: Tensor, weights: _Weights) -> list[slice]:
    return list(few_at_a_time(map_BHNK, len(weights.depthwise) * map_BHNK[0, 0].numel()))


def _moments(map_BHNK: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of each map over the batch, and the sums of the products of centred maps (H x H)."""
    mean_H = map_BHNK.mean((0, 2, 3))
    scatter_HH = map_BHNK.new_zeros(len(mean_H), len(mean_H))
    for few in few_at_a_time(map_BHNK, map_BHNK[0].numel()):
        rows_PH = _rows(map_BHNK[few], mean_H).flatten(0, 2)
        scatter_HH.addmm_(rows_PH.t(), rows_PH)
    return mean_H, scatter_HH


def _rows(map_bHNK: Tensor, mean_H: Tensor) -> Tensor:
    """Centred maps, maps last."""
    return torch.sub(map_bHNK, mean_H.view(-1, 1, 1)).permute(0, 2, 3, 1).contiguous()


def _first_norm(weights: _Weights, scatter_HH: Tensor, count: int, sizes: _Sizes) -> MixedNorm | None:
    if weights.expand is None:
        return None
    assert weights.gamma1 is not None
    return mixed_norm(weights.expand.flatten(1), weights.gamma1, scatter_HH, count=count, eps=sizes.eps[0])


def _expanded(map_bHNK: Tensor, mean_H: Tensor, first: MixedNorm | None, weights: _Weights) -> tuple[Tensor, Tensor]:
    """Centred maps, and the maps that are convolved, both maps last."""
    rows_bNKH = _rows(map_bHNK, mean_H)
    if first is None:
        return rows_bNKH, map_bHNK.permute(0, 2, 3, 1).contiguous()
    return rows_bNKH, F.linear(rows_bNKH, first.weight_MH, weights.beta1).clamp_(0, 6)


def _convolved_maps(
    map_BHNK: Tensor, mean_H: Tensor, first: MixedNorm | None, weights: _Weights
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Maps behind the depthwise convolution (b, N, K, M), a few images each, and their mean and variance."""
    M = len(weights.depthwise)
    total, squares, shift = map_BHNK.new_zeros(M), map_BHNK.new_zeros(M), None
    found: list[Tensor] = []
    for few in _few(map_BHNK, weights):
        found.append(convolved(_expanded(map_BHNK[few], mean_H, first, weights)[1], weights.depthwise))
        rows_PM = found[-1].flatten(0, 2)
        # Sums of squares about a mean of some of the images: about 0 they would lose what a large mean leaves.
        shift = rows_PM.mean(0) if shift is None else shift
        total += rows_PM.sum(0)
        squares += torch.sub(rows_PM, shift).square_().sum(0)
    assert shift is not None
    count = map_BHNK.numel() // map_BHNK.shape[1]
    mean = total / count
    return found, mean, (squares / count - (mean - shift).square()).clamp_min_(0)


def _passed(grad: Tensor, clamped: Tensor) -> Tensor:
    """The gradient in front of a ReLU6, in place of that behind it; `clamped`, what it returned, is used up."""
    return grad.mul_(clamped.sub_(3).abs_().lt_(3))  # where it is in (0, 6), as numbers: faster than by booleans


def _gradients(kept: _Kept, weights: _Weights, sizes: _Sizes, grad_BRP: Tensor) -> tuple[Tensor | None, ...]:
    map_BHNK, y_BRP, mean_H = kept.maps, kept.reduced, kept.mean
    B, H, N, K = map_BHNK.shape
    count = B * N * K
    first = _first_norm(weights, kept.scatter, count, sizes)
    # adapt_bn and the norm behind the reduction
    slope = weights.gamma_adapt * kept.inverse_adapt
    slope3 = weights.gamma3 * kept.inverse3
    of_beta_adapt = grad_BRP.sum((0, 2))
    by_y, by_m = torch.zeros_like(slope), torch.zeros_like(slope)
    for few in _few(map_BHNK, weights):
        by_y += (grad_BRP[few] * y_BRP[few]).sum((0, 2))
        if sizes.adds_identity:
            by_m += (map_BHNK[few].flatten(2) - mean_H[:, None]).mul_(grad_BRP[few]).sum((0, 2))
    of_gamma_adapt = kept.inverse_adapt * (slope3 * by_y + by_m)
    turn = kept.inverse_adapt * of_gamma_adapt / count
    products_zy = slope3 * kept.squares_y + kept.products_ym
    of_gamma3 = kept.inverse3 * slope * (by_y - turn * products_zy)
    turn3 = kept.inverse3 * of_gamma3 / count
    mean_grad = of_beta_adapt / count

    # reduction, ReLU6, and the sums that the norm behind the depthwise convolution needs
    slope2 = weights.gamma2 * kept.inverse2
    reduce_RM = weights.reduce.flatten(1)
    M = reduce_RM.shape[1]
    of_reduce = torch.zeros_like(reduce_RM)
    of_beta2, by_conved = torch.zeros_like(slope2), torch.zeros_like(slope2)
    behind: list[tuple[Tensor, ...]] = []
    shift2 = weights.beta2 - kept.mean2 * slope2
    for few in _few(map_BHNK, weights):
        of_y = torch.addcmul(-(slope3 * slope * mean_grad)[:, None], grad_BRP[few], (slope3 * slope)[:, None]).addcmul_(
            y_BRP[few], -(slope3 * (slope * turn * slope3 + turn3))[:, None]
        )
        if sizes.adds_identity:
            centred = map_BHNK[few].flatten(2) - mean_H[:, None]
            of_y.addcmul_(centred, -(slope3 * slope * turn)[:, None])
        rows_bNKH, expanded_bNKM = _expanded(map_BHNK[few], mean_H, first, weights)
        conved_bNKM = convolved(expanded_bNKM, weights.depthwise)
        x_bPM = torch.addcmul(shift2, conved_bNKM, slope2).clamp_(0, 6).flatten(1, 2)
        of_reduce += torch.bmm(of_y, x_bPM).sum(0)
        of_x = _passed(torch.matmul(of_y.transpose(1, 2), reduce_RM), x_bPM)
        of_beta2 += of_x.sum((0, 1))
        conved_bNKM -= kept.mean2
        by_conved += torch.mul(of_x, conved_bNKM.flatten(1, 2), out=x_bPM).sum((0, 1))
        behind.append((rows_bNKH, expanded_bNKM, conved_bNKM, of_x.view_as(conved_bNKM)))
    of_gamma2 = kept.inverse2 * by_conved
    turn2, mean_grad2 = -(slope2 * kept.inverse2 * of_gamma2 / count), slope2 * of_beta2 / count

    # depthwise convolution, expansion and its norm
    of_depthwise = torch.zeros_like(weights.depthwise)
    of_map_BHP = map_BHNK.new_empty(B, H, N * K)
    products_MH, totals_M = map_BHNK.new_zeros(M, H), map_BHNK.new_zeros(M)
    for few in _few(map_BHNK, weights):
        rows_bNKH, x_bNKM, conved_bNKM, of_conved = behind.pop(0)
        of_conved = torch.addcmul(conved_bNKM.mul_(turn2).sub_(mean_grad2), of_conved, slope2)
        of_x, of_weight = convolved_gradients(of_conved, x_bNKM, weights.depthwise)
        of_depthwise += of_weight
        if first is None:
            of_map_BHP[few] = of_x.flatten(1, 2).transpose(1, 2)
            continue
        _passed(of_x, x_bNKM)
        totals_M += of_x.sum((0, 1, 2))
        products_MH.addmm_(of_x.flatten(0, 2).t(), rows_bNKH.flatten(0, 2))
        torch.matmul(first.weight_MH.t(), of_x.flatten(1, 2).transpose(1, 2), out=of_map_BHP[few])
    of_expand = of_gamma1 = None
    of_rows, constant = map_BHNK.new_zeros(H, H), map_BHNK.new_zeros(H)
    if first is not None:
        found = mixed_norm_gradients(first, products_MH, totals_M, kept.scatter, count=count)
        of_expand, of_gamma1 = found.mixing_MH[:, :, None, None], found.gamma_M
        of_rows, constant = found.of_maps_HH, found.constant_H
    if sizes.adds_identity:
        of_rows = of_rows - torch.diag(slope * turn)
        constant = constant - slope * mean_grad
    for few in _few(map_BHNK, weights):
        of_map = of_map_BHP[few]
        centred = map_BHNK[few].flatten(2) - mean_H[:, None]
        of_map.baddbmm_(of_rows.expand(len(of_map), -1, -1), centred).add_(constant[:, None])
        if sizes.adds_identity:
            of_map.addcmul_(grad_BRP[few], slope[:, None]).addcmul_(y_BRP[few], -(slope * turn * slope3)[:, None])
    return (
        *(of_map_BHP.view_as(map_BHNK), None, of_expand, of_gamma1, None if first is None else totals_M),
        *(of_depthwise, of_gamma2, of_beta2),
        *(of_reduce.view_as(weights.reduce), of_gamma3, torch.zeros_like(weights.beta3)),
        *(of_gamma_adapt, of_beta_adapt),
    )


def _through_modules(
    map_BHNK: Tensor, weights: _Weights, sizes: _Sizes, grad_BRNK: Tensor
) -> tuple[Tensor | None, ...]:
    """The gradients by PyTorch's operations one by one, which can be differentiated."""

    def normalised(x: Tensor, gamma: Tensor | None, beta: Tensor | None, index: int) -> Tensor:
        return F.batch_norm(x, None, None, gamma, beta, training=True, eps=sizes.eps[index])

    x = map_BHNK
    if weights.expand is not None:
        x = F.relu6(normalised(F.conv2d(x, weights.expand), weights.gamma1, weights.beta1, 0))
    x = convolved(x.permute(0, 2, 3, 1), weights.depthwise).permute(0, 3, 1, 2)
    x = F.relu6(normalised(x, weights.gamma2, weights.beta2, 1))
    x = normalised(F.conv2d(x, weights.reduce), weights.gamma3, weights.beta3, 2)
    x = x + map_BHNK if sizes.adds_identity else x
    result = normalised(x, weights.gamma_adapt, weights.beta_adapt, 3)
    inputs = [each for each in (map_BHNK, *weights) if each is not None and each.requires_grad]
    found = iter(torch.autograd.grad(result, inputs, grad_BRNK, create_graph=True))
    of_map, *of_weights = (
        next(found) if each is not None and each.requires_grad else None for each in (map_BHNK, *weights)
    )
    return of_map, None, *of_weights
