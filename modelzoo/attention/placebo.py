"""Placebos of mechanisms: the same weights, the same operations at the same cost, and none of the mixing.

A convolution keeps the shape of its weight, but where it would mix (between maps, or between neighbours) it computes
with 0, and what its weight holds there is added to the entries that are left. So every weight is trained, the number of
parameters and of multiply-accumulates is the mechanism's, and the output at one place depends on the input at that
place alone. What a mechanism gains over its placebo is not due to its parameters or its cost.

    Re-attention   a head's map is scaled, not mixed with others
    Refiner        a head's map is expanded and reduced by itself, and kernels see no neighbours
    Group-Mix      aggregators, local branch and position term see no neighbours: tokens are a set

Source:  ours; the papers have no such control.
Cost:    that of the mechanism in multiply-accumulates. Kernels of maps and fused trainings take plain convolutions
         only, so a placebo may take longer than its mechanism.

Shapes:  R returned maps, M incoming maps, K kernel side.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from modelzoo.attention.same_padding import SameConv2d, with_odd_pixel
from search_space.parsing.errors import Problem, SpecError
from search_space.schema.attention import AttentionSpec, GroupMixSpec, ReattentionSpec, RefinerSpec

__all__ = ["HeldConv2d", "check_placebo", "moved", "owners", "refuse_placebo", "without_mixing", "without_neighbours"]


class HeldConv2d(SameConv2d):
    """A convolution that computes with its weight moved to the entries that are kept; see `moved`.

    Args:
        conv: its sizes, and its parameters, which this one takes over.
        is_kept: of the shape of the weight, or one that is expanded to it; on the CPU.

    Attributes:
        holds: whether there is anything to move; else it is the convolution itself.
    """

    is_kept: torch.Tensor

    def __init__(self, conv: nn.Conv2d, is_kept: torch.Tensor) -> None:
        height, width = conv.kernel_size
        sizes = (conv.in_channels, conv.out_channels, (height, width))
        # On the meta device nothing is drawn: at equal seeds the weights are those of the mechanism.
        super().__init__(*sizes, groups=conv.groups, bias=conv.bias is not None, device="meta")
        self.weight, self.bias = conv.weight, conv.bias
        self.register_buffer("is_kept", is_kept.to(conv.weight.device), persistent=False)
        self.holds = not is_kept.all()

    # Named by its shape, as everywhere; PyTorch calls it `input`.
    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        x_BCHW = with_odd_pixel(x_BCHW, self.kernel_size)
        return F.conv2d(x_BCHW, self.kernel(), self.bias, padding=self.padding, groups=self.groups)

    def kernel(self) -> torch.Tensor:
        """The weight that it computes with."""
        return moved(self.weight, self.is_kept)


def moved(weight: torch.Tensor, is_kept: torch.Tensor) -> torch.Tensor:
    """The weight (R, M, K, K) where it is kept, plus an equal share of what its output has elsewhere; 0 elsewhere."""
    kept = is_kept.to(weight.dtype).expand_as(weight)
    elsewhere = (weight * (1 - kept)).sum((1, 2, 3), keepdim=True) / kept.sum((1, 2, 3), keepdim=True)
    return kept * (weight + elsewhere)


def owners(num_maps: int, num_heads: int) -> list[int]:
    """The head that each of the expanded maps belongs to: consecutive ones, as equally many of each as possible."""
    return [index * num_heads // num_maps for index in range(num_maps)]


def without_mixing(conv: nn.Conv2d, outputs: list[int], inputs: list[int]) -> HeldConv2d:
    """A 1x1 convolution that connects maps of one owner only; every output has an input of its owner."""
    of_outputs, of_inputs = (torch.tensor(each, device="cpu") for each in (outputs, inputs))
    is_kept = of_outputs[:, None] == of_inputs
    return HeldConv2d(conv, is_kept[:, :, None, None])


def without_neighbours(conv: SameConv2d) -> HeldConv2d:
    """A depthwise convolution that has the tap of the pixel itself only."""
    height, width = conv.kernel_size
    is_own = torch.zeros(1, 1, height, width, dtype=torch.bool, device="cpu")
    is_own[:, :, (height - 1) // 2, (width - 1) // 2] = True
    return HeldConv2d(conv, is_own)


def refuse_placebo(option: str, why: str, hint: str) -> None:
    """Raises SpecError: with this option the placebo would keep a part of the mechanism."""
    raise SpecError(Problem(f"no placebo has this option: {why}", path=f"arch.attention.{option}", hint=hint))


def check_placebo(model: nn.Module, spec: AttentionSpec) -> None:
    """Raises SpecError if a model with a placebo has nothing that it leaves out: it would be the mechanism itself."""
    is_ours = isinstance(spec, ReattentionSpec | RefinerSpec | GroupMixSpec)  # those of plug-ins have other parts
    if is_ours and spec.placebo and not any(isinstance(part, HeldConv2d) and part.holds for part in model.modules()):
        what = {
            "groupmix": "no kernel of these options reaches a neighbour",
            "reattention": "one head has none to exchange its map with",
            "refiner": "its kernels reach no neighbour, and heads are not mixed",
        }[spec.name]
        text = f"the placebo would be the mechanism itself: {what}"
        hint = "choose options that mix: more heads, larger kernels"
        raise SpecError(Problem(text, path="arch.attention.placebo", hint=hint))
