"""Distributed local attention (DLA): a depthwise convolution of the attention maps, each with its own kernel.

Paper:   Refiner: Refining Self-attention for Vision Transformers, Zhou et al. 2021, arXiv:2106.03714, section 3.
Source:  written from the paper's equations and from a description of the released module; parity is tested.
Differs: as released, not as printed: BatchNorm and ReLU6 follow expansion and convolution, BatchNorm follows the
         reduction, and the incoming maps are added if their number is unchanged.
         Ours: reduction and identity are optional; without the reduction, the second ReLU6 is the last operation.
         `linear=True` is what is printed: no BatchNorm and no ReLU6 (and `identity=False`, no skip).
Cost:    (M * M' + k^2 * M' + M' * M) * N^2 multiply-accumulates per image; other forms of the kernel have others
         (map_convolutions.py).

Shapes:  B images, M incoming maps (heads), M' expanded maps, R returned maps, N tokens, k kernel side.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from modelzoo.attention.map_convolutions import (
    KernelForm,
    RowColumnConvolution,
    SpatialConvolution,
    make_map_convolution,
)
from modelzoo.attention.placebo import owners, refuse_placebo, without_mixing, without_neighbours
from modelzoo.attention.recomputed_batchnorm import BatchNorm2dOfOnePass
from modelzoo.attention.same_padding import SameConv2d
from modelzoo.attention.valid_entries import normalised, times
from search_space.parsing.errors import Problem, SpecError

__all__ = ["DenseMapConvolution", "DistributedLocalAttention", "expanded_maps"]


def expanded_maps(num_maps: int, expansion: float) -> int:
    """Number of maps after expansion, rounded half to even (`expanded_maps(5, 0.5) == 2`)."""
    expanded = round(num_maps * expansion)
    if expanded < 1:
        raise SpecError(
            Problem(
                f"round(num_heads * expansion) >= 1 must hold, but got num_heads={num_maps}, expansion={expansion:g}",
                path="arch.attention.expansion",
                hint=f"for num_heads={num_maps} choose an expansion of at least {1 / num_maps:.3g}",
            )
        )
    return expanded


class DistributedLocalAttention(nn.Module):
    """Distributed local attention: expansion (1x1), depthwise convolution of each map, reduction (1x1).

    Args:
        num_maps: Number of incoming maps.
        num_returned: Number of returned maps; None omits the reduction and returns all expanded maps.
        kernel_size: Side of the kernel; 'same' padding with the odd pixel of even sides at the bottom and right.
        expansion: Expanded maps per incoming map; 1 omits the expansion.
        identity: Add the incoming maps to the returned ones if both have the same number.
        linear: Leave out BatchNorms and ReLU6.
        kernel_form: What a kernel of a map sees, see map_convolutions.py.
        grid_size: (height, width) of the patches among the keys, for the form `spatial`.
        num_prefix_tokens: Keys before them.
    """

    def __init__(
        self,
        num_maps: int,
        num_returned: int | None,
        *,
        kernel_size: int = 3,
        expansion: float = 3.0,
        identity: bool = True,
        linear: bool = False,
        kernel_form: KernelForm = "square",
        grid_size: tuple[int, int] | None = None,
        num_prefix_tokens: int = 0,
        batch_norm_eps: float = 1e-5,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        expanded = expanded_maps(num_maps, expansion)
        self.num_maps, self.num_expanded = num_maps, expanded
        self.is_linear = linear
        self.num_returned = expanded if num_returned is None else num_returned

        def norm(num_channels: int) -> nn.Module:
            return nn.Identity() if linear else BatchNorm2dOfOnePass(num_channels, eps=batch_norm_eps, **factory)

        self.expands = expansion != 1
        if self.expands:
            self.conv_exp = nn.Conv2d(num_maps, expanded, 1, bias=False, **factory)
            self.bn1 = norm(expanded)
        image = {"grid_size": grid_size, "num_prefix_tokens": num_prefix_tokens}
        conv = make_map_convolution(kernel_form, expanded, kernel_size, **image, **factory)
        self.depth_sep_conv: SameConv2d | SpatialConvolution | RowColumnConvolution = conv
        self.bn2 = norm(expanded)
        self.reduces = num_returned is not None
        if num_returned is not None:
            self.conv_pro = nn.Conv2d(expanded, num_returned, 1, bias=False, **factory)
            self.bn3 = norm(num_returned)
        self.adds_identity = identity and num_returned == num_maps
        self.act = nn.Identity() if linear else nn.ReLU6()

    def hold_maps_apart(self) -> None:
        """Let no map reach another one, and no entry of a map another entry; see placebo.py."""
        expanded = self.num_expanded
        if expanded < self.num_maps:
            text = f"{expanded} expanded maps of {self.num_maps} heads each mix several"
            refuse_placebo("expansion", text, "choose an expansion of 1 or more")
        of_heads, of_expanded = list(range(self.num_maps)), owners(expanded, self.num_maps)
        if self.expands:
            self.conv_exp = without_mixing(self.conv_exp, of_expanded, of_heads)
        if isinstance(self.depth_sep_conv, SameConv2d):
            self.depth_sep_conv = without_neighbours(self.depth_sep_conv)
        else:
            self.depth_sep_conv.hold_maps_apart()
        if self.reduces:
            assert self.conv_pro.out_channels == self.num_maps, "reduced to as many maps as came"
            self.conv_pro = without_mixing(self.conv_pro, of_heads, of_expanded)

    def forward(self, map_BMNN: torch.Tensor, valid_B1NN: torch.Tensor | None = None) -> torch.Tensor:
        """Refined maps (B, R, N, N). With `valid_B1NN` (see the contract) the entries of padding never reach the valid
        ones; what is returned in their places means nothing."""
        map_BMNN = x = times(map_BMNN, valid_B1NN)
        if self.expands:
            # Norm and ReLU6 turn the zeros of padding into ReLU6(bias): zero again, before the convolution sees them.
            x = times(self.act(normalised(self.bn1, self.conv_exp(x), valid_B1NN)), valid_B1NN)
        x = self.act(normalised(self.bn2, self.depth_sep_conv(x), valid_B1NN))
        if self.reduces:
            x = normalised(self.bn3, self.conv_pro(x), valid_B1NN)
        return x + map_BMNN if self.adds_identity else x


class DenseMapConvolution(nn.Module):
    """Single dense k x k convolution of the maps (the official `refine_mode: conv`)."""

    def __init__(self, num_maps: int, num_returned: int, *, kernel_size: int = 3) -> None:
        super().__init__()
        self.conv = SameConv2d(num_maps, num_returned, kernel_size, bias=False)

    def forward(self, map_BMNN: torch.Tensor) -> torch.Tensor:
        return self.conv(map_BMNN)
