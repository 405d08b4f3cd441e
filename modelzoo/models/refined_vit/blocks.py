"""Blocks of Refined-ViT: four kinds of attention, and the layouts that combine them.

    plain     softmax attention                              hands on its map
    refined   refines its own map                            hands on the refined map
    sharing   has no q and k, refines the map that comes     hands on the map as it came
    reusing   has no q and k, takes the map that comes       hands on the map as it came

A layout is repeated to the depth: `[plain, sharing, sharing]` shares every map with two following blocks, of which each
refines it by its own weights. Where the depth is no multiple of the layout, the last group is shorter, down to a single
plain block.

Paper:   Refiner: Refining Self-attention for Vision Transformers, Zhou et al. 2021, arXiv:2106.03714.
Source:  written from a description of the released blocks; parity is tested.
Differs: `reusing` is ours, for the column of table 13 that shares maps of plain self-attention. The release states the
         kind of every block of its even depths and has no rule for others. The residual scale, the scale of the MLP and
         the use of the incoming map are arguments; they are fixed in the release.

Shapes:  B images, N tokens, D dim, H heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from timm.layers import DropPath, Mlp
from timm.models import register_notrace_module
from torch import nn

from modelzoo.attention.contract import Slot, TokenAttention
from modelzoo.attention.refiner import MapSharingAttention, RefinedAttention
from modelzoo.models.deepvit.blocks import scaled
from search_space.parsing.errors import Problem, SpecError

__all__ = ["BORROWING", "KINDS", "RefinedBlock", "make_attention", "resolve_layout"]

KINDS = ("plain", "refined", "sharing", "reusing")
BORROWING = ("sharing", "reusing")
LAYOUTS = {"alternating": ("plain", "sharing"), "every": ("refined",), "plain": ("plain",)}


class RefinedBlock(nn.Module):
    """Pre-norm block x + attn(norm1(s x)) / s, then x + c * mlp(norm2(s x)) / s, which also returns its attention map.

    Args:
        mlp_scale: Initial value of c, one learned factor per channel; None: no factor.
        residual_scale: Scale s.
        residual_map: Whether the attention receives the map of the previous block.
    """

    def __init__(
        self,
        attn: TokenAttention,
        *,
        mlp_ratio: float,
        drop_path: float,
        norm_layer: Any,
        act_layer: Any = nn.GELU,
        residual_scale: float = 0.5,
        mlp_scale: float | None = 1e-5,
        residual_map: bool = True,
    ) -> None:
        super().__init__()
        dim, proj_drop, factory = attn.slot.dim, attn.slot.proj_drop, attn.slot.factory
        self.residual_scale, self.residual_map = residual_scale, residual_map
        self.norm1 = norm_layer(dim, **factory)
        self.attn = attn
        self.drop_path1 = DropPath(drop_path) if drop_path > 0 else nn.Identity()
        self.norm2 = norm_layer(dim, **factory)
        mlp = Mlp if mlp_scale is None else partial(ScaledMlp, scale=mlp_scale)
        self.mlp = mlp(dim, int(dim * mlp_ratio), act_layer=act_layer, drop=proj_drop, **factory)
        self.drop_path2 = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(
        self, x_BND: torch.Tensor, incoming_BHNN: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Tokens after the block, and the attention map for the next block."""
        seen_BND = self.norm1(scaled(x_BND, self.residual_scale))
        mixed_BND, handed_on = self.attn.attend(seen_BND, incoming_BHNN if self.residual_map else None)
        back = 1 / self.residual_scale
        x_BND = x_BND + scaled(self.drop_path1(mixed_BND), back)
        seen_BND = self.norm2(scaled(x_BND, self.residual_scale))
        return x_BND + scaled(self.drop_path2(self.mlp(seen_BND)), back), handed_on


# A leaf of timm's tracer: as the attention in it, whose `attend` it calls for the map.
register_notrace_module(RefinedBlock)


class ScaledMlp(Mlp):
    """timm's MLP with a learned factor per output channel."""

    def __init__(self, in_features: int, *args: Any, scale: float, **kwargs: Any) -> None:
        super().__init__(in_features, *args, **kwargs)
        weight = self.fc2.weight
        self.scale_channel = nn.Parameter(torch.full((in_features,), scale, device=weight.device, dtype=weight.dtype))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * self.scale_channel


def make_attention(
    kind: str, slot: Slot, *, refiner: Mapping[str, Any], sharing: Mapping[str, Any], qk_scale: float | None
) -> TokenAttention:
    """Build the attention of a block: one of KINDS."""
    if kind == "sharing":
        return MapSharingAttention(slot, qk_scale=qk_scale, **sharing)
    if kind == "reusing":
        return MapSharingAttention(slot, qk_scale=qk_scale, apply_transform=False)
    if kind == "refined":
        return RefinedAttention(slot, qk_scale=qk_scale, **refiner)
    assert kind == "plain"
    return RefinedAttention(slot, qk_scale=qk_scale, apply_transform=False)


def resolve_layout(layout: str | Sequence[str], depth: int) -> list[str]:
    """Kind of each block, from the name of a layout or a list of kinds, repeated to the depth.

    Raises:
        SpecError: an unknown kind, or a first block without a map to share.
    """
    legal = f"legal: {', '.join(sorted(LAYOUTS))}, or a list of the kinds {', '.join(KINDS)}, repeated to the depth"
    if isinstance(layout, str):
        if layout not in LAYOUTS:
            raise SpecError(Problem(f"unknown layout {layout!r}", hint=legal))
        layout = LAYOUTS[layout]
    unknown = sorted({str(kind) for kind in layout if kind not in KINDS})
    if unknown or not layout:
        raise SpecError(Problem(f"unknown kinds of blocks in layout: {unknown or layout!r}", hint=legal))
    kinds = [layout[index % len(layout)] for index in range(depth)]
    if kinds and kinds[0] in BORROWING:
        raise SpecError(
            Problem(
                f"the first block cannot be {kinds[0]}: there is no previous block whose attention map it could use",
                hint="make block 0 plain or refined",
            )
        )
    return kinds
