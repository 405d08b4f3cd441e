"""Stacked layers on attention maps and images, whose channels are those of all members: (B, K * C, h, w).

Shapes:  K members, B images, C channels of a member that come in, O that come out, h x w pixels or pairs of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelzoo.attention.same_padding import SameConv2d
from modelzoo.stacked.layer import Building, StackedLayer
from modelzoo.stacked.small_convolution import is_small, small_depthwise

__all__ = ["StackedBatchNorm2d", "StackedConv2d", "StackedHeadLayerNorm"]


class StackedConv2d(StackedLayer):
    """`nn.Conv2d` and `SameConv2d`.

    A convolution of 1x1 is a product of matrices, which is faster than a convolution of K groups, and so is a depthwise
    one of few pixels; others have K times their groups.
    """

    may_lack = ("bias",)
    weight: Tensor
    bias: Tensor | None

    def __init__(self, members: Sequence[nn.Module], building: Building) -> None:
        super().__init__(members, building)
        first = members[0]
        assert isinstance(first, nn.Conv2d)
        self._stride, self._padding, self._dilation = first.stride, first.padding, first.dilation
        self._groups = first.groups
        self._is_short = isinstance(first, SameConv2d) and first.kernel_size[0] % 2 == 0
        self._is_product = first.kernel_size == (1, 1) and first.groups == 1 and not any(first.padding)
        self._is_product &= first.stride == (1, 1)
        self._is_depthwise = isinstance(first, SameConv2d) and first.groups == first.in_channels == first.out_channels

    @staticmethod
    def reason(layer: nn.Module) -> str | None:
        assert isinstance(layer, nn.Conv2d)
        if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            return f"uses a convolution with padding {layer.padding!r} of kind {layer.padding_mode!r}"
        return None

    def forward(self, x: Tensor) -> Tensor:
        if self._is_product:
            return self._product(x)
        bias = None if self.bias is None else self.bias.flatten()
        if self._is_depthwise and is_small((x.shape[-2], x.shape[-1]), self.weight.shape[-1]):
            return small_depthwise(x, self.weight.flatten(0, 1), bias)
        if self._is_short:  # as in `SameConv2d`
            x = F.pad(x, (0, 1, 0, 1))
        groups = self.num_members * self._groups
        return F.conv2d(x, self.weight.flatten(0, 1), bias, self._stride, self._padding, self._dilation, groups)

    def _product(self, x: Tensor) -> Tensor:
        B, _, *pixels = x.shape
        y_BKOP = _ProductOfMembers.apply(
            self.weight.flatten(2), x.reshape(B, self.num_members, self.weight.shape[2], -1)
        )
        if self.bias is not None:
            y_BKOP = y_BKOP + self.bias[None, :, :, None]
        return y_BKOP.view(B, -1, *pixels)


class _ProductOfMembers(torch.autograd.Function):
    """Weights (K, O, C) times images (B, K, C, P) of P pixels: (B, K, O, P).

    As `torch.matmul`, but for the gradient of the weights: the sum over images is one for each member. In a sum for all
    members at once, which entries are added in which order depends on how many there are.
    """

    @staticmethod
    def forward(ctx: Any, weight_KOC: Tensor, x_BKCP: Tensor) -> Tensor:
        ctx.save_for_backward(weight_KOC, x_BKCP)
        return torch.matmul(weight_KOC, x_BKCP)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        weight_KOC, x_BKCP = ctx.saved_tensors
        of_weights = torch.matmul(grads[0], x_BKCP.transpose(2, 3)).transpose(0, 1).contiguous().sum(dim=1)
        return of_weights, torch.matmul(weight_KOC.transpose(1, 2), grads[0])


class StackedBatchNorm2d(StackedLayer):
    """`nn.BatchNorm2d`, and its form for checkpointed blocks: statistics of every member by itself.

    Attributes:
        momentum: weight of the newest batch; None: the plain average over batches, as in torch.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, members: Sequence[nn.Module], building: Building) -> None:
        super().__init__(members, building)
        first = members[0]
        assert isinstance(first, nn.BatchNorm2d)
        self.momentum, self.eps = first.momentum, first.eps

    @staticmethod
    def reason(layer: nn.Module) -> str | None:
        assert isinstance(layer, nn.BatchNorm2d)
        if not layer.affine or not layer.track_running_stats:
            return "uses a BatchNorm without weights or without running statistics"
        return None

    def reset_running_stats(self) -> None:
        """As `nn.BatchNorm2d.reset_running_stats`, of all members."""
        self.running_mean.zero_()
        self.running_var.fill_(1)
        self.num_batches_tracked.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(
            x,
            self.running_mean.view(-1),
            self.running_var.view(-1),
            self.weight.flatten(),
            self.bias.flatten(),
            training=self.training,
            momentum=self._weight_of_batch() if self.training else 0.0,
            eps=self.eps,
        )

    def _weight_of_batch(self) -> float:
        self.num_batches_tracked.add_(1)
        if self.momentum is not None:
            return self.momentum
        counts = self.num_batches_tracked.unique()
        assert len(counts) == 1, "members that averaged over different numbers of batches"
        return 1 / counts.item()


class StackedHeadLayerNorm(StackedLayer):
    """`HeadLayerNorm`: over the heads of a member at every pair of tokens."""

    weight: Tensor
    bias: Tensor

    def __init__(self, members: Sequence[nn.Module], building: Building) -> None:
        super().__init__(members, building)
        first = members[0]
        assert isinstance(first, nn.LayerNorm)
        self._shape, self._eps = first.normalized_shape, first.eps

    def forward(self, x: Tensor) -> Tensor:
        B, _, *pixels = x.shape
        heads_last = x.view(B, self.num_members, -1, *pixels).movedim(2, -1)
        y = F.layer_norm(heads_last, self._shape, eps=self._eps)
        shape = (1, self.num_members, 1, 1, -1)
        return torch.addcmul(self.bias.view(shape), y, self.weight.view(shape)).movedim(-1, 2).reshape(x.shape)
