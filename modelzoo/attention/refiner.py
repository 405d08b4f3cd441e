"""Refined attention: the softmax maps are expanded, convolved and reduced (DLA) before they weigh V.

Paper:   Refiner: Refining Self-attention for Vision Transformers, Zhou et al. 2021, arXiv:2106.03714.
Source:  written from the paper's equations and from a description of the released module; parity is tested.
Differs: as released: a second BatchNorm (`adapt_bn`) after the DLA; a map that comes from the previous block is added,
         scaled, after the softmax (only hosts that carry maps hand one in, see `hosts/map_carrying.py`).
         Table 13 also shares maps of plain attention; how is not stated. Ours: V is weighed by the map as it came.
         Ours: `reduction=False` keeps all M' expanded maps and gives each of them its own slice of V;
         `identity=False` leaves out the DLA's skip; `kernel_form` has kernels of table 4 (map_convolutions.py);
         `linear=True` leaves out all BatchNorms and ReLU6, which the paper does not mention.
Cost:    see `distributed_local_attention.py`; the traffic over (B, M', N, N) maps dominates, not the arithmetic.

Shapes:  B images, N tokens (K keys), D dim, H heads, E head_dim (D = H * E), M maps that weigh V (H, or M' unreduced).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from modelzoo.attention.contract import Slot, TokenAttention, check_heads, softmax_map
from modelzoo.attention.distributed_local_attention import DistributedLocalAttention, expanded_maps
from modelzoo.attention.map_convolutions import KernelForm, check_kernel_form
from modelzoo.attention.map_kernels.chosen import (
    Numerics,
    are_folded,
    are_in_training,
    is_faster_in_training,
    takes_kernels,
)
from modelzoo.attention.map_kernels.folded import refined_in_evaluation
from modelzoo.attention.map_kernels.refinement import refined_in_training
from modelzoo.attention.map_kernels.refinement_parts import RefinementParts
from modelzoo.attention.recomputed_batchnorm import BatchNorm2dOfOnePass
from modelzoo.attention.same_padding import SameConv2d
from modelzoo.attention.valid_entries import normalised, times
from modelzoo.legal_values import listed
from search_space.parsing.errors import Problem, SpecError

__all__ = ["MapSharingAttention", "RefinedAttention"]


class RefinedAttention(TokenAttention):
    """adapt_bn(DLA(softmax(q k^T / sqrt(E)) + incoming * scale)) v; hands on the refined map.

    Args:
        expansion: expanded maps per head.
        kernel_size: side of each map's kernel.
        kernel_form: what it sees: a square of the map, rows as images of patches, or row and column of the map.
        reduction: False leaves the maps expanded; their number must then divide dim.
        identity: the DLA adds the maps it was given to those it returns; only reduced maps are as many.
        linear: no BatchNorm and no ReLU6.
        placebo: heads are refined each by itself and kernels see no neighbours (placebo.py).
        apply_transform: False gives plain attention that takes and hands on maps.
        qk_scale: scale of logits and of the incoming map in place of head_dim ** -0.5.
    """

    unswept = frozenset({"apply_transform", "qk_scale", "batch_norm_eps"})
    layout = frozenset({"sharing", "refine_shared", "residual_map"})
    mixes_maps = True
    has_kinks = True

    def __init__(
        self,
        slot: Slot,
        *,
        expansion: float = 3.0,
        kernel_size: int = 3,
        kernel_form: KernelForm = "square",
        reduction: bool = True,
        identity: bool = True,
        linear: bool = False,
        placebo: bool = False,
        apply_transform: bool = True,
        qk_scale: float | None = None,
        batch_norm_eps: float = 1e-5,
    ) -> None:
        check_heads(slot)
        super().__init__(slot)
        self.has_kinks = not linear
        self.scale = qk_scale or (slot.dim // slot.num_heads) ** -0.5
        self.DLA: DistributedLocalAttention | None = None
        self.adapt_bn: nn.Module | None = None
        if apply_transform:
            self.DLA, self.adapt_bn = _refinement(
                slot, expansion, kernel_size, kernel_form, reduction, identity, linear, batch_norm_eps, placebo=placebo
            )

    def attend(
        self, x_BND: torch.Tensor, incoming_BHNN: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        with self.in_query_precision(x_BND) as wide:
            q_BHNE, k_BHNE, v_BHNE = self.heads_of(self.qkv(wide(x_BND)))
        with self.in_map_precision(q_BHNE) as wide:
            attn_BHNN = softmax_map(wide(q_BHNE), wide(k_BHNE), self.scale)
            if incoming_BHNN is not None:
                attn_BHNN = attn_BHNN + wide(incoming_BHNN) * self.scale
            attn_BMNN = self.transform(self.attn_drop(attn_BHNN))
        return self.merge(self.weigh(attn_BMNN, v_BHNE)), attn_BMNN

    def transform(self, softmax_BHNK: torch.Tensor, valid_B1NK: torch.Tensor | None = None) -> torch.Tensor:
        if self.DLA is None or self.adapt_bn is None:
            return times(softmax_BHNK, valid_B1NK)
        return _refined(softmax_BHNK, self.DLA, self.adapt_bn, self.numerics, valid_B1NK)


class MapSharingAttention(TokenAttention):
    """adapt_bn(DLA(incoming)) * scale, times V: no queries and keys of its own; hands on the map as it came.

    It needs an incoming map, so no slot takes it alone: models that carry maps build it.

    Args:
        apply_transform: False takes the incoming map for V as it came, as plain attention would have.
    """

    unswept = frozenset({"apply_transform", "qk_scale", "batch_norm_eps"})

    def __init__(
        self,
        slot: Slot,
        *,
        expansion: float = 3.0,
        kernel_size: int = 3,
        kernel_form: KernelForm = "square",
        reduction: bool = True,
        identity: bool = True,
        linear: bool = False,
        placebo: bool = False,
        apply_transform: bool = True,
        qk_scale: float | None = None,
        batch_norm_eps: float = 1e-5,
    ) -> None:
        check_heads(slot)
        super().__init__(slot)
        self.scale = qk_scale or (slot.dim // slot.num_heads) ** -0.5
        # V only, under the official name.
        self.qkv = nn.Linear(slot.dim, slot.dim, bias=slot.qkv_bias, **slot.factory)
        self.DLA: DistributedLocalAttention | None = None
        self.adapt_bn: nn.Module | None = None
        if apply_transform:
            self.DLA, self.adapt_bn = _refinement(
                slot, expansion, kernel_size, kernel_form, reduction, identity, linear, batch_norm_eps, placebo=placebo
            )

    def attend(
        self, x_BND: torch.Tensor, incoming_BHNN: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        if incoming_BHNN is None:
            raise ValueError("a map-sharing attention needs the map of the block before it, and none came")
        v_BHNE = self.value_of(x_BND)
        with self.in_map_precision(incoming_BHNN) as wide:
            attn_BMNN = wide(incoming_BHNN)
            if self.DLA is not None and self.adapt_bn is not None:
                attn_BMNN = _refined(attn_BMNN, self.DLA, self.adapt_bn, self.numerics) * self.scale
        return self.merge(self.weigh(attn_BMNN, v_BHNE)), incoming_BHNN


_Norms = tuple[nn.BatchNorm2d | None, nn.BatchNorm2d, nn.BatchNorm2d, nn.BatchNorm2d]


def _refined(
    map_BHNK: torch.Tensor,
    refine: DistributedLocalAttention,
    adapt_bn: nn.Module,
    numerics: Numerics,
    valid_B1NK: torch.Tensor | None = None,
) -> torch.Tensor:
    """adapt_bn(DLA(map)): module by module, or in kernels of their own where they compute the same in less time."""
    depthwise = refine.depth_sep_conv
    # Exactly this class: other forms of the kernel and placebos are convolutions of another kind.
    has_kernels = valid_B1NK is None and refine.reduces and not refine.is_linear and takes_kernels(numerics, map_BHNK)
    if type(depthwise) is SameConv2d and has_kernels:
        parts = RefinementParts(
            refine.conv_exp if refine.expands else None,
            depthwise,
            refine.conv_pro,
            cast(_Norms, (refine.bn1 if refine.expands else None, refine.bn2, refine.bn3, adapt_bn)),
            refine.adds_identity,
        )
        if are_folded(parts.present_norms()):
            return refined_in_evaluation(map_BHNK, parts)
        if are_in_training(parts.present_norms()) and is_faster_in_training(numerics, map_BHNK, refine.num_expanded):
            return refined_in_training(map_BHNK, parts)
    refined_BMNK = refine(map_BHNK, valid_B1NK)
    return times(normalised(adapt_bn, refined_BMNK, valid_B1NK), valid_B1NK)


def _refinement(
    slot: Slot,
    expansion: float,
    kernel_size: int,
    kernel_form: KernelForm,
    reduction: bool,
    identity: bool,
    linear: bool,
    batch_norm_eps: float,
    *,
    placebo: bool,
) -> tuple[DistributedLocalAttention, nn.Module]:
    check_kernel_form(slot, kernel_form, kernel_size)
    num_maps = slot.num_heads
    if not reduction:
        num_maps = expanded_maps(slot.num_heads, expansion)
        _check_slices(slot, expansion, num_maps)
        if not identity:
            raise SpecError(
                Problem(
                    "without reduction there is no identity to leave out, so identity=False would have no effect",
                    path="arch.attention.identity",
                    hint="leave identity out, or write reduction: true",
                )
            )
    refine = DistributedLocalAttention(
        slot.num_heads,
        slot.num_heads if reduction else None,
        kernel_size=kernel_size,
        expansion=expansion,
        identity=identity,
        linear=linear,
        kernel_form=kernel_form,
        grid_size=slot.grid_size,
        num_prefix_tokens=slot.num_prefix_tokens,
        batch_norm_eps=batch_norm_eps,
        **slot.factory,
    )
    if placebo:
        refine.hold_maps_apart()
    return refine, nn.Identity() if linear else BatchNorm2dOfOnePass(num_maps, eps=batch_norm_eps, **slot.factory)


def _check_slices(slot: Slot, expansion: float, num_maps: int) -> None:
    if slot.dim % num_maps:
        # Every number of maps M' that divides dim is legal, and M' / num_heads is the expansion that asks for it.
        legal = [m for m in range(1, 64 * slot.num_heads + 1) if slot.dim % m == 0]
        near = sorted(sorted(legal, key=lambda m: abs(m - num_maps))[:5])
        raise SpecError(
            Problem(
                "without reduction, embed_dim % round(num_heads * expansion) == 0 must hold, "
                f"but got embed_dim={slot.dim}, num_heads={slot.num_heads}, expansion={expansion:g}: "
                f"{slot.dim} % {num_maps} = {slot.dim % num_maps}",
                path="arch.attention.expansion",
                hint=f"near ones: {listed(f'{m / slot.num_heads:.4g} ({m} maps)' for m in near)}",
            )
        )
