"""Parts of a refinement (DLA and `adapt_bn`) as its kernels need them, and its depthwise convolution channels last.

Shapes:  b images, N queries, K keys, M maps; maps are the last axis here.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

__all__ = ["RefinementParts", "convolved", "convolved_gradients"]


@dataclass(frozen=True)
class RefinementParts:
    """Layers of an expansion (None: there is none), a depthwise convolution, a reduction and their norms.

    Attributes:
        norms: those behind the three convolutions, and `adapt_bn`.
        adds_identity: the incoming maps are added to the reduced ones before `adapt_bn`.
    """

    expand: nn.Conv2d | None
    depthwise: nn.Conv2d
    reduce: nn.Conv2d
    norms: tuple[nn.BatchNorm2d | None, nn.BatchNorm2d, nn.BatchNorm2d, nn.BatchNorm2d]
    adds_identity: bool

    def present_norms(self) -> list[nn.Module]:
        return [norm for norm in self.norms if norm is not None]


def convolved(x_bNKM: Tensor, weight_M1kk: Tensor, bias_M: Tensor | None = None) -> Tensor:
    """Depthwise convolution with 'same' padding, whose odd pixel of even kernels is at the bottom and right."""
    side = weight_M1kk.shape[-1]
    before = (side - 1) // 2
    x_bMNK = x_bNKM.permute(0, 3, 1, 2)
    if side % 2 == 0:
        x_bMNK = F.pad(x_bMNK, (0, 1, 0, 1))
    out_bMNK = F.conv2d(x_bMNK, weight_M1kk, bias_M, padding=before, groups=len(weight_M1kk))
    return out_bMNK.permute(0, 2, 3, 1).contiguous()


def convolved_gradients(grad_bNKM: Tensor, x_bNKM: Tensor, weight_M1kk: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of `convolved` by its input, which is a convolution with the kernel turned round, and by its weight."""
    side = weight_M1kk.shape[-1]
    before = (side - 1) // 2
    grad_bMNK, x_bMNK = grad_bNKM.permute(0, 3, 1, 2), x_bNKM.permute(0, 3, 1, 2)
    wide, padded = grad_bMNK, x_bMNK
    if side % 2 == 0:
        wide, padded = F.pad(grad_bMNK, (1, 0, 1, 0)), F.pad(x_bMNK, (0, 1, 0, 1))
    of_x = F.conv2d(wide, weight_M1kk.flip(2, 3), padding=before, groups=len(weight_M1kk))
    shape = list(weight_M1kk.shape)
    of_weight = conv2d_weight(padded, shape, grad_bMNK, padding=before, groups=len(weight_M1kk))
    return of_x.permute(0, 2, 3, 1).contiguous(), of_weight
