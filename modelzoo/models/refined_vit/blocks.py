"""The three kinds of Refined-ViT block, and who of them gets the attention map of the block before.

Paper:   Refiner: Refining Self-attention for Vision Transformers, Zhou et al. 2021, arXiv:2106.03714.
Source:  written from a description of the released blocks; parity is tested.
Differs: residual scale, factor of the MLP and who adds the incoming map are arguments; released they are fixed.

Shapes:  B images, N tokens, D dim, H heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from timm.layers import DropPath, Mlp
from torch import nn

from modelzoo.attention.contract import Slot, TokenAttention
from modelzoo.attention.refiner import MapSharingAttention, RefinedAttention
from modelzoo.models.deepvit.blocks import scaled
from search_space.parsing.errors import Problem, SpecError

__all__ = ["KINDS", "RefinedBlock", "make_attention", "resolve_layout"]

KINDS = ("plain", "refined", "sharing")
LAYOUTS = {"alternating": ("plain", "sharing"), "every": ("refined",), "plain": ("plain",)}


class RefinedBlock(nn.Module):
    """x + attn(norm1(s x)) / s, then x + c * mlp(norm2(s x)) / s; hands the attention's map on.

    Args:
        mlp_scale: initial value of c, one factor per channel; None leaves c out.
        residual_scale: s.
        residual_map: whether the attention gets the map of the block before.
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
        dim, proj_drop = attn.slot.dim, attn.slot.proj_drop
        self.residual_scale, self.residual_map = residual_scale, residual_map
        self.norm1 = norm_layer(dim)
        self.attn = attn
        self.drop_path1 = DropPath(drop_path) if drop_path > 0 else nn.Identity()
        self.norm2 = norm_layer(dim)
        mlp = Mlp if mlp_scale is None else partial(ScaledMlp, scale=mlp_scale)
        self.mlp = mlp(dim, int(dim * mlp_ratio), act_layer=act_layer, drop=proj_drop)
        self.drop_path2 = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(
        self, x_BND: torch.Tensor, incoming_BHNN: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Tokens, and the map for the next block."""
        seen_BND = self.norm1(scaled(x_BND, self.residual_scale))
        mixed_BND, handed_on = self.attn.attend(seen_BND, incoming_BHNN if self.residual_map else None)
        back = 1 / self.residual_scale
        x_BND = x_BND + scaled(self.drop_path1(mixed_BND), back)
        seen_BND = self.norm2(scaled(x_BND, self.residual_scale))
        return x_BND + scaled(self.drop_path2(self.mlp(seen_BND)), back), handed_on


class ScaledMlp(Mlp):
    """timm's MLP whose output has a learned factor per channel."""

    def __init__(self, in_features: int, *args: Any, scale: float, **kwargs: Any) -> None:
        super().__init__(in_features, *args, **kwargs)
        self.scale_channel = nn.Parameter(torch.full((in_features,), scale))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * self.scale_channel


def make_attention(
    kind: str, slot: Slot, *, refiner: Mapping[str, Any], sharing: Mapping[str, Any], qk_scale: float | None
) -> TokenAttention:
    """The attention of a block: `plain` shows its map, `refined` refines its own, `sharing` the one that it gets."""
    if kind == "sharing":
        return MapSharingAttention(slot, qk_scale=qk_scale, **sharing)
    if kind == "refined":
        return RefinedAttention(slot, qk_scale=qk_scale, **refiner)
    assert kind == "plain"
    return RefinedAttention(slot, qk_scale=qk_scale, apply_transform=False)


def resolve_layout(layout: str | Sequence[str], depth: int) -> list[str]:
    """One kind per block, from a pattern's name or from the kinds themselves, repeated to the depth.

    Raises:
        SpecError: an unknown kind, or a first block that shares.
    """
    legal = f"legal: {', '.join(sorted(LAYOUTS))}, or a list of the kinds {', '.join(KINDS)}, repeated to the depth"
    if isinstance(layout, str):
        if layout not in LAYOUTS:
            raise SpecError(Problem(f"layout {layout!r} does not exist", hint=legal))
        layout = LAYOUTS[layout]
    unknown = sorted({str(kind) for kind in layout if kind not in KINDS})
    if unknown or not layout:
        raise SpecError(Problem(f"layout names no kind of block: {unknown or layout!r}", hint=legal))
    kinds = [layout[index % len(layout)] for index in range(depth)]
    if kinds[:1] == ["sharing"]:
        raise SpecError(
            Problem(
                "the first block cannot share an attention map: there is no block before it",
                hint="let block 0 be plain or refined",
            )
        )
    return kinds
