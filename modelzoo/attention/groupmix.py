"""Group-Mix attention: linear attention over channel segments of single tokens and of token groups of several sizes.

Paper:   Advancing Vision Transformers with Group-Mix Attention, Ge et al. 2023, arXiv:2311.15157.
Source:  written from a description of the released module; parity with it is tested. The position term follows
         Co-Scale Conv-Attentional Image Transformers (CoaT), Xu et al. 2021, arXiv:2104.06399.
Differs: as released, not as pictured: factorised attention q (softmax(k)^T v) instead of an N x N map; its scale is
         that of the full width, not of the actual heads; the position term is not scaled.
         Ours: any number of segments that divides the width; even kernels (the odd pixel of the padding at bottom and
         right); attention dropout, which the released code ignores, acts on softmax(k), the weights of the tokens in
         the context; prefix tokens have no neighbours, so they skip the spatial convolutions, are normalised with the
         patches' statistics and attend without a position term, as in CoaT.
         Also ours: all options but the kernels. The released module has none of them; their meaning is defined below.
Cost:    O(N * D * (D + k^2)) multiply-accumulates per image: linear in the number of tokens.

Shapes:  B images, N tokens (P prefix + h * w patches), D dim, S channels of a segment, G attention segments,
         T attention channels (G * S), H heads, E channels per head (T = H * E).
"""

from __future__ import annotations

from typing import Literal

import torch
from timm.models import register_notrace_function
from torch import nn

from modelzoo.attention.contract import KeyTap, Slot, TokenAttention
from modelzoo.attention.groupmix_aggregators import Aggregator, AggregatorKind, ConvolutionalPosition
from modelzoo.attention.groupmix_segments import Segments, check_windows, spread_windows
from modelzoo.attention.placebo import refuse_placebo, without_neighbours
from modelzoo.attention.same_padding import SameConv2d
from search_space.schema.attention import RELEASED_KERNELS

__all__ = ["GroupMixAttention", "spread_windows"]


class GroupMixAttention(TokenAttention):
    """Group-Mix attention with one segment of tokens, one per aggregator kernel, and a local branch without attention.

    Args:
        kernel_sizes: Side of each group segment's neighbourhood. 1: only the 1x1 convolution. None: (3, 5, 7).
        num_segments: Total number of segments; `kernel_sizes` is repeated or truncated to fit. None: given by
            `kernel_sizes`.
        aggregator: Aggregation of a group segment's neighbourhood: `dwconv`, a depthwise convolution; `maxpool` or
            `avgpool`, over the pixels of the neighbourhood inside the image. All three are followed by the 1x1
            convolution, the norm and the activation.
        identity_segment: False omits the segment of tokens; the others become wider.
        local_branch: False omits the segment without attention, so that all channels attend.
        local_kernel_size: Side of the local branch's depthwise kernel.
        token_ensemble: False omits the output projection that mixes the channels of the heads and of the local branch;
            they are only concatenated.
        head_layout: `in_order` splits the concatenated segments into heads, so that a head covers as few segments as
            possible; `straddle` interleaves the channels of all segments before the split, so that every head covers
            all of them. The order of channels is restored afterwards.
        crpe: False omits the convolutional relative position encoding.
        position_windows: Windows of the position encoding, divided among the heads as evenly as possible; the last
            windows get the remaining heads.
        placebo: Aggregators, local branch and position encoding see no neighbours (placebo.py).
        crpe_windows: Window -> number of heads, instead of `position_windows`.
        qk_scale: Scale instead of (dim // num_heads) ** -0.5.
    """

    unswept = frozenset({"crpe_windows", "qk_scale"})
    needs_grid = True

    def __init__(
        self,
        slot: Slot,
        *,
        kernel_sizes: tuple[int, ...] | None = None,
        num_segments: int | None = None,
        aggregator: AggregatorKind = "dwconv",
        identity_segment: bool = True,
        local_branch: bool = True,
        local_kernel_size: int = 3,
        token_ensemble: bool = True,
        head_layout: Literal["in_order", "straddle"] = "in_order",
        crpe: bool = True,
        position_windows: tuple[int, ...] = (3, 5, 7),
        placebo: bool = False,
        crpe_windows: dict[int, int] | None = None,
        qk_scale: float | None = None,
    ) -> None:
        segments = Segments.of(
            RELEASED_KERNELS if kernel_sizes is None else kernel_sizes,
            num_segments=num_segments,
            identity_segment=identity_segment,
            local_branch=local_branch,
        )
        segments.check(slot, local_kernel_size=local_kernel_size, aggregator=aggregator)
        if placebo and aggregator != "dwconv":
            refuse_placebo("aggregator", "a pooling has no weights to keep", "choose aggregator: dwconv")
        windows = check_windows(slot, crpe, position_windows, crpe_windows)
        super().__init__(slot)
        if not token_ensemble:
            self.proj = nn.Identity()
        self.seen = KeyTap()
        self.has_kinks = aggregator == "maxpool"
        segment_dim = slot.dim // segments.total
        # From the full width, rounded down to whole channels, as in the official code: (60 // 8) ** -0.5 == 7 ** -0.5.
        self.scale = qk_scale or (slot.dim // slot.num_heads) ** -0.5
        self.aggregator = Aggregator(
            segment_dim,
            segments.kernel_sizes,
            local_kernel_size if local_branch else None,
            kind=aggregator,
            identity_segment=identity_segment,
            **slot.factory,
        )
        head_dim = segments.attending * segment_dim // slot.num_heads
        self.crpe = ConvolutionalPosition(head_dim, windows, **slot.factory) if crpe else None
        if placebo:
            for part in list(self.modules()):
                for name, conv in list(part.named_children()):
                    if isinstance(conv, SameConv2d):
                        setattr(part, name, without_neighbours(conv))
        self.num_attending = segments.attending
        self.straddles = head_layout == "straddle"
        if self.straddles:
            segments.check_straddling(slot, head_dim)

    def forward(
        self,
        x_BND: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        is_causal: bool = False,
        *,
        grid_size: tuple[int, int] | None = None,
    ) -> torch.Tensor:
        """Tokens after attention; `grid_size` as in `attend`."""
        if grid_size is None:
            return super().forward(x_BND, attn_mask, is_causal)
        return self.attend(x_BND, grid_size=grid_size)[0]

    def attend(
        self,
        x_BND: torch.Tensor,
        incoming_BHNN: torch.Tensor | None = None,
        *,
        grid_size: tuple[int, int] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Tokens after attention, and no map; `grid_size` is the input's patch grid if it differs from the slot's."""
        B, N, _ = x_BND.shape
        with self.in_query_precision(x_BND) as wide:
            qkv_3BND = self.qkv(wide(x_BND)).reshape(B, N, 3, -1).permute(2, 0, 1, 3)
        return self.proj_drop(self.proj(self.mix(qkv_3BND, grid_size))), None

    def mix(self, qkv_3BND: torch.Tensor, grid_size: tuple[int, int] | None = None) -> torch.Tensor:
        """Mixed values (B, N, D) before the output projection, for hosts that keep their own linear layers."""
        grid_size, num_prefix = grid_size or self.slot.grid_size, self.slot.num_prefix_tokens
        if grid_size is None:
            raise ValueError("Group-Mix attention needs the patch grid: pass grid_size=(height, width)")
        qkv_3BND = _checked(qkv_3BND, num_prefix, grid_size)
        mixed_3BNT, local_BNS = self.aggregator(qkv_3BND, grid_size, num_prefix)
        if self.straddles:
            # Segment-major -> channel-major: the first channels of all segments, then the second ones.
            mixed_3BNT = mixed_3BNT.unflatten(-1, (self.num_attending, -1)).transpose(-1, -2).flatten(-2)
        q_BHNE, k_BHNE, v_BHNE = mixed_3BNT.unflatten(-1, (self.slot.num_heads, -1)).transpose(2, 3).unbind(0)
        context_BHEE = self.seen(self.attn_drop(k_BHNE.softmax(dim=2))).transpose(2, 3) @ v_BHNE
        out_BHNE = self.scale * (q_BHNE @ context_BHEE)
        if self.crpe is not None:
            out_BHNE = out_BHNE + self.crpe(q_BHNE, v_BHNE, grid_size, num_prefix)
        out_BNT = out_BHNE.transpose(1, 2).flatten(2)
        if self.straddles:
            out_BNT = out_BNT.unflatten(-1, (-1, self.num_attending)).transpose(-1, -2).flatten(-2)
        return out_BNT if local_BNS is None else torch.cat([out_BNT, local_BNS], dim=-1)


@torch.fx.wrap  # compares sizes, which have no value in a symbolic trace
@register_notrace_function
def _checked(qkv_3BND: torch.Tensor, num_prefix: int, grid_size: tuple[int, int]) -> torch.Tensor:
    num_tokens, (height, width) = qkv_3BND.shape[2], grid_size
    if num_tokens != num_prefix + height * width:
        raise ValueError(
            f"Group-Mix attention was built for {num_prefix} prefix tokens and a {height}x{width} grid, "
            f"{num_prefix + height * width} tokens in total, but got {num_tokens}; "
            "build the model for the size of its images"
        )
    return qkv_3BND
