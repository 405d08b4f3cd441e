"""Spatial parts of Group-Mix attention: aggregators, local branch and convolutional relative position encoding.

Separate from `groupmix.py` because these parts work on images (grids, kernels) and that file on tokens and heads.
Parameter names are the official state-dict keys: note that `agg0` is the local branch, the last segment, while `norm0`
belongs to the first one.

Shapes:  B images, P prefix tokens, N tokens (P + h * w), S channels of a segment, T attention channels,
         H heads, E channels per head (T = H * E).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional as F

from modelzoo.attention.process_sums import is_shared, summed
from modelzoo.attention.recomputed_batchnorm import BatchNorm2dOfOnePass
from modelzoo.attention.same_padding import SameAvgPool2d, SameConv2d, SameMaxPool2d

__all__ = ["Aggregator", "AggregatorKind", "ConvolutionalPosition"]

AggregatorKind = Literal["dwconv", "maxpool", "avgpool"]


class Aggregator(nn.Module):
    """Aggregation of q, k and v into group proxies: one segment of channels remains tokens, the others aggregate their
    neighbourhoods.

    q, k and v share the weights and are processed together, so that batch statistics are taken over all three.

    Args:
        kernel_sizes: Side of the neighbourhood of each group segment.
        local_kernel_size: Kernel size of the local branch, the last segment; None: no local branch.
        kind: Aggregation of a group segment's neighbourhood before the 1x1 convolution.
        identity_segment: False omits the segment of tokens.
        factory: `device` and `dtype` of the weights.
    """

    def __init__(
        self,
        segment_dim: int,
        kernel_sizes: tuple[int, ...],
        local_kernel_size: int | None,
        *,
        kind: AggregatorKind = "dwconv",
        identity_segment: bool = True,
        **factory: Any,
    ) -> None:
        super().__init__()
        self.segment_dim = segment_dim
        self.num_segments = identity_segment + len(kernel_sizes) + (local_kernel_size is not None)
        self.first = 0 if identity_segment else 1
        self.act = nn.Hardswish()
        if identity_segment:
            self.norm0 = BatchNorm2dOfOnePass(segment_dim, **factory)
        for index, kernel_size in enumerate(kernel_sizes, start=1):
            aggregation = SeparableConvolution(segment_dim, segment_dim, kernel_size, kind=kind, **factory)
            self.add_module(f"agg{index}", aggregation)
            self.add_module(f"norm{index}", BatchNorm2dOfOnePass(segment_dim, **factory))
        self.agg0 = None if local_kernel_size is None else LocalBranch(segment_dim, local_kernel_size, **factory)

    def forward(
        self, qkv_3BND: torch.Tensor, grid_size: tuple[int, int], num_prefix: int
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attention channels of q, k and v (3, B, N, T), and the local branch's output (B, N, S)."""
        B = qkv_3BND.shape[1]
        parts = qkv_3BND.split(self.segment_dim, dim=-1)
        # By index: the number of parts is unknown in a symbolic trace.
        segments = [parts[index] for index in range(self.num_segments)]
        local_BNS = None
        if self.agg0 is not None:
            local_BNS = self.agg0(torch.cat(segments.pop().unbind(0), dim=-1), grid_size, num_prefix)
        mixed = []
        for index, segment_3BNS in enumerate(segments, start=self.first):
            prefix, image = to_image(segment_3BNS.flatten(0, 1), grid_size, num_prefix)
            norm = self.get_submodule(f"norm{index}")
            assert isinstance(norm, nn.BatchNorm2d | nn.SyncBatchNorm)
            if index:
                convolve = self.get_submodule(f"agg{index}")
                assert isinstance(convolve, SeparableConvolution)
                prefix, image = convolve(prefix, image, num_prefix)
            # The prefix goes first because it uses the statistics of the norm's input.
            if num_prefix:
                prefix = normalise_prefix(norm, prefix, image)
            mixed.append(self.act(to_tokens(prefix, norm(image))))
        return torch.cat(mixed, dim=-1).unflatten(0, (3, B)), local_BNS


class SeparableConvolution(nn.Module):
    """Depthwise separable convolution, k x k and 1x1 without biases; prefix tokens pass through the 1x1 only.

    The depthwise convolution can be replaced by a k x k pooling of stride 1, which ignores pixels outside of the image
    instead of padding with zeros.
    """

    def __init__(
        self, dim: int, dim_out: int, kernel_size: int, *, kind: AggregatorKind = "dwconv", **factory: Any
    ) -> None:
        super().__init__()
        if kind == "dwconv":
            self.conv1 = SameConv2d(dim, dim, kernel_size, groups=dim, bias=False, **factory)
        else:
            self.conv1 = SameMaxPool2d(kernel_size) if kind == "maxpool" else SameAvgPool2d(kernel_size)
        self.pointwise_conv = nn.Conv2d(dim, dim_out, 1, bias=False, **factory)

    def forward(
        self, prefix_BSP1: torch.Tensor, image_BSHW: torch.Tensor, num_prefix: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        image_BSHW = self.pointwise_conv(self.conv1(image_BSHW))
        # Skip an empty prefix: not every backend supports convolutions of tensors without elements.
        if not num_prefix:
            return image_BSHW.flatten(2)[:, :, :0, None], image_BSHW
        return self.pointwise_conv(prefix_BSP1), image_BSHW


class LocalBranch(nn.Module):
    """Local branch, the segment without attention: a convolution of its q, k and v channels to one segment."""

    def __init__(self, segment_dim: int, kernel_size: int, **factory: Any) -> None:
        super().__init__()
        self.conv = SeparableConvolution(3 * segment_dim, segment_dim, kernel_size, **factory)
        self.norm = nn.LayerNorm(segment_dim, eps=1e-5, **factory)
        self.act = nn.Hardswish()

    def forward(self, x_BNS: torch.Tensor, grid_size: tuple[int, int], num_prefix: int) -> torch.Tensor:
        prefix, image = self.conv(*to_image(x_BNS, grid_size, num_prefix), num_prefix)
        return self.act(self.norm(to_tokens(prefix, image)))


class ConvolutionalPosition(nn.Module):
    """Convolutional relative position encoding: q times a depthwise convolution of v, with a window per group of heads.

    Args:
        windows: Side of the window -> number of heads that use it, in the order of the heads.
    """

    def __init__(self, head_dim: int, windows: dict[int, int], **factory: Any) -> None:
        super().__init__()
        self.num_channels = [num_heads * head_dim for num_heads in windows.values()]
        self.conv_list = nn.ModuleList(
            SameConv2d(channels, channels, window, groups=channels, **factory)
            for window, channels in zip(windows, self.num_channels, strict=True)
        )

    def forward(
        self, q_BHNE: torch.Tensor, v_BHNE: torch.Tensor, grid_size: tuple[int, int], num_prefix: int
    ) -> torch.Tensor:
        """Position term (B, H, N, E); zero for prefix tokens, which have no position in the image."""
        num_heads = v_BHNE.shape[1]
        _, image_BTHW = to_image(v_BHNE.transpose(1, 2).flatten(2), grid_size, num_prefix)
        parts = image_BTHW.split(self.num_channels, dim=1)
        image_BTHW = torch.cat([conv(parts[index]) for index, conv in enumerate(self.conv_list)], dim=1)
        around_BHNE = image_BTHW.flatten(2).unflatten(1, (num_heads, -1)).transpose(2, 3)
        return F.pad(q_BHNE[:, :, num_prefix:] * around_BHNE, (0, 0, num_prefix, 0))


def to_image(x_BNS: torch.Tensor, grid_size: tuple[int, int], num_prefix: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Split tokens into prefix (B, S, P, 1) and patch image (B, S, h, w)."""
    x_BSN = x_BNS.transpose(1, 2)
    return x_BSN[:, :, :num_prefix, None], x_BSN[:, :, num_prefix:].unflatten(2, grid_size)


def to_tokens(prefix_BSP1: torch.Tensor, image_BSHW: torch.Tensor) -> torch.Tensor:
    """Join prefix and patch image into tokens (B, N, S), the inverse of `to_image`."""
    return torch.cat([prefix_BSP1.flatten(2), image_BSHW.flatten(2)], dim=2).transpose(1, 2)


def normalise_prefix(
    norm: nn.BatchNorm2d | nn.SyncBatchNorm, prefix_BSP1: torch.Tensor, image_BSHW: torch.Tensor
) -> torch.Tensor:
    """Normalise the prefix with the statistics of the patches, which the prefix therefore does not change.

    Under a `SyncBatchNorm` these are the patches of all processes, as for the patches themselves.
    """
    if not norm.training:
        return norm(prefix_BSP1)
    # Statistics in at least single precision, as in the norm itself under autocast.
    image_BSHW = image_BSHW.to(torch.promote_types(image_BSHW.dtype, torch.float32))
    var, mean = _statistics(image_BSHW, shared=is_shared(norm))
    gain = norm.weight * (var + norm.eps).rsqrt()
    return ((prefix_BSP1 - mean[:, None, None]) * gain[:, None, None] + norm.bias[:, None, None]).to(prefix_BSP1.dtype)


def _statistics(image_BSHW: torch.Tensor, *, shared: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Variance (biased) and mean of every channel, (S,) each; `shared`: over the images of all processes."""
    if not shared:
        return torch.var_mean(image_BSHW, dim=(0, 2, 3), correction=0)
    num = image_BSHW.new_tensor(image_BSHW.numel() / image_BSHW.shape[1])
    count, total = summed(shared, num, image_BSHW.sum(dim=(0, 2, 3)))
    mean = total / count
    (squares,) = summed(shared, (image_BSHW - mean[:, None, None]).square().sum(dim=(0, 2, 3)))
    return squares / count, mean
