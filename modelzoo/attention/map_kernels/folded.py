"""Refined maps in evaluation: the four BatchNorms are folded into the convolutions, a few images at a time.

    DLA and adapt_bn:  W3 relu6(W2 * relu6(W1 m + b1) + b2) + b3 + s m,   each W and b with its norm's scale and shift

The maps of an image are channels last between the convolutions, which oneDNN's depthwise kernels prefer; the reduction
is a matrix product that returns them as they came. 1e-6 or less of the largest entry from the modules one by one.

Shapes:  B images, H incoming maps, M expanded maps, R returned maps, N queries, K keys.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelzoo.attention.map_kernels.chosen import few_at_a_time
from modelzoo.attention.map_kernels.refinement_parts import RefinementParts, convolved

__all__ = ["refined_in_evaluation"]


def refined_in_evaluation(map_BHNK: Tensor, parts: RefinementParts) -> Tensor:
    """adapt_bn(DLA(map)), with the running statistics of all norms."""
    B, _, N, K = map_BHNK.shape
    expand, depthwise, reduce = parts.expand, parts.depthwise, parts.reduce
    norm1, norm2, norm3, adapt = parts.norms
    w2, b2 = _folded(depthwise.weight, norm2)
    w3, b3 = _folded(reduce.weight, norm3)
    scale, shift = _affine(adapt)
    w3, b3 = w3.flatten(1) * scale[:, None], b3 * scale + shift
    M, R = len(w2), len(w3)
    refined_BRNK = map_BHNK.new_empty(B, R, N, K)
    for few in few_at_a_time(map_BHNK, M * N * K):
        some_bHNK = map_BHNK[few]
        x_bNKM = some_bHNK.permute(0, 2, 3, 1).contiguous()
        if expand is not None and norm1 is not None:
            w1, b1 = _folded(expand.weight, norm1)
            x_bNKM = F.linear(x_bNKM, w1.flatten(1), b1).clamp_(0, 6)
        x_bNKM = convolved(x_bNKM, w2, b2).clamp_(0, 6)
        out_bRP = refined_BRNK[few].flatten(2)
        torch.matmul(w3, x_bNKM.flatten(1, 2).transpose(1, 2), out=out_bRP)
        out_bRP += b3[:, None]
        if parts.adds_identity:
            out_bRP.addcmul_(some_bHNK.flatten(2), scale[:, None])
    return refined_BRNK


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift of a norm in evaluation mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return scale, norm.bias - norm.running_mean * scale


def _folded(weight: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution without bias and the norm behind it."""
    scale, shift = _affine(norm)
    return weight * scale.view(-1, 1, 1, 1), shift
