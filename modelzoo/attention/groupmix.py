"""Group-Mix attention: channel segments attend as tokens and as groups of growing size, in linear time.

Paper:   Advancing Vision Transformers with Group-Mix Attention, Ge et al. 2023, arXiv:2311.15157.
Source:  written from a description of the released module; parity with it is tested. The position term follows
         Co-Scale Conv-Attentional Image Transformers (CoaT), Xu et al. 2021, arXiv:2104.06399.
Differs: as released, not as pictured: there is no N x N map but factorised attention, q (softmax(k)^T v); its scale
         comes from the full width, not from the heads' own; the position term is not scaled.
         Ours: any number of segments that divides the width; even kernels (the odd pixel of the padding at bottom and
         right); attention dropout, which the released code ignores, acts on softmax(k), the weights with which tokens
         enter the context; prefix tokens: without neighbours they skip the spatial convolutions, are
         normalised with the patches' statistics and join the attention without a position term, as in CoaT.
         Ours, too, are all options but the kernels: the released module knows none, so what each means when it is
         switched is defined below.
Cost:    O(N * D * (D + k^2)) multiply-accumulates per image: linear in the number of tokens.

Shapes:  B images, N tokens (P prefix + h * w patches), D dim, S channels of a segment, G attention segments,
         T attention channels (G * S), H heads, E channels per head (T = H * E).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from modelzoo.attention.contract import KeyTap, Slot, TokenAttention
from modelzoo.attention.groupmix_aggregators import Aggregator, AggregatorKind, ConvolutionalPosition
from modelzoo.attention.groupmix_segments import Segments, check_windows, spread_windows

__all__ = ["GroupMixAttention", "spread_windows"]


class GroupMixAttention(TokenAttention):
    """Segments: one of tokens, one per aggregator kernel, and one local branch that skips attention.

    Args:
        kernel_sizes: side of each group segment's neighbourhood. 1: the 1x1 convolution alone sees the token.
        num_segments: segments in all; `kernel_sizes` is repeated from its start, or cut, until the number is right.
            None: as many as `kernel_sizes` makes.
        aggregator: how a group segment sees its neighbourhood: `dwconv`, a depthwise convolution; `maxpool` or
            `avgpool`, over the pixels of the neighbourhood that lie inside the image. The 1x1 convolution, the norm and
            the activation follow in all three.
        identity_segment: False leaves the segment of tokens out; the others grow.
        local_branch: False leaves the segment without attention out: all channels attend.
        local_kernel_size: side of the local branch's depthwise kernel.
        token_ensemble: False leaves out the linear that mixes the heads' and the local branch's channels; they leave
            side by side as they are.
        head_layout: `in_order` cuts the segments, one after another, into heads, so that a head sees as few segments as
            possible; `straddle` deals the channels of all segments out in turn before it cuts, so that every head sees
            all of them. The channels return to their places afterwards.
        crpe: False leaves the convolutional position term out.
        position_windows: windows of the position term, over the heads as evenly as possible, the later windows taking
            what is left over.
        crpe_windows: window -> number of heads, in place of `position_windows`.
        qk_scale: scale in place of (dim // num_heads) ** -0.5.
    """

    unswept = frozenset({"crpe_windows", "qk_scale"})
    needs_grid = True

    def __init__(
        self,
        slot: Slot,
        *,
        kernel_sizes: tuple[int, ...] = (3, 5, 7),
        num_segments: int | None = None,
        aggregator: AggregatorKind = "dwconv",
        identity_segment: bool = True,
        local_branch: bool = True,
        local_kernel_size: int = 3,
        token_ensemble: bool = True,
        head_layout: Literal["in_order", "straddle"] = "in_order",
        crpe: bool = True,
        position_windows: tuple[int, ...] = (3, 5, 7),
        crpe_windows: dict[int, int] | None = None,
        qk_scale: float | None = None,
    ) -> None:
        segments = Segments.of(
            kernel_sizes, num_segments=num_segments, identity_segment=identity_segment, local_branch=local_branch
        )
        segments.check(slot, local_kernel_size=local_kernel_size, aggregator=aggregator)
        windows = check_windows(slot, crpe, position_windows, crpe_windows)
        super().__init__(slot)
        if not token_ensemble:
            self.proj = nn.Identity()
        self.seen = KeyTap()
        segment_dim = slot.dim // segments.total
        # Of the full width, in whole channels, as officially: 60 channels and 8 heads make 7 ** -0.5.
        self.scale = qk_scale or (slot.dim // slot.num_heads) ** -0.5
        self.aggregator = Aggregator(
            segment_dim,
            segments.kernel_sizes,
            local_kernel_size if local_branch else None,
            kind=aggregator,
            identity_segment=identity_segment,
        )
        head_dim = segments.attending * segment_dim // slot.num_heads
        self.crpe = ConvolutionalPosition(head_dim, windows) if crpe else None
        self.num_attending = segments.attending
        self.straddles = head_layout == "straddle"
        if self.straddles:
            segments.check_straddling(slot, head_dim)

    def attend(
        self,
        x_BND: torch.Tensor,
        incoming_BHNN: torch.Tensor | None = None,
        *,
        grid_size: tuple[int, int] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """As in the contract; `grid_size` is this input's patch grid where it is not the slot's."""
        B, N, _ = x_BND.shape
        grid_size = self._grid_of(N, grid_size)
        qkv_3BND = self.qkv(x_BND).reshape(B, N, 3, -1).permute(2, 0, 1, 3)
        mixed_3BNT, local_BNS = self.aggregator(qkv_3BND, grid_size)
        if self.straddles:
            # Segment after segment -> channel after channel: the first channels of all segments, then the second ones.
            mixed_3BNT = mixed_3BNT.unflatten(-1, (self.num_attending, -1)).transpose(-1, -2).flatten(-2)
        q_BHNE, k_BHNE, v_BHNE = mixed_3BNT.unflatten(-1, (self.slot.num_heads, -1)).transpose(2, 3).unbind(0)
        context_BHEE = self.seen(self.attn_drop(k_BHNE.softmax(dim=2))).transpose(2, 3) @ v_BHNE
        out_BHNE = self.scale * (q_BHNE @ context_BHEE)
        if self.crpe is not None:
            out_BHNE = out_BHNE + self.crpe(q_BHNE, v_BHNE, grid_size)
        out_BNT = out_BHNE.transpose(1, 2).flatten(2)
        if self.straddles:
            out_BNT = out_BNT.unflatten(-1, (-1, self.num_attending)).transpose(-1, -2).flatten(-2)
        out_BND = out_BNT if local_BNS is None else torch.cat([out_BNT, local_BNS], dim=-1)
        return self.proj_drop(self.proj(out_BND)), None

    def _grid_of(self, num_tokens: int, grid_size: tuple[int, int] | None) -> tuple[int, int]:
        grid_size = grid_size or self.slot.grid_size
        if grid_size is None:
            raise ValueError("Group-Mix attention needs the patch grid: pass grid_size=(height, width)")
        num_prefix, (height, width) = self.slot.num_prefix_tokens, grid_size
        if num_tokens != num_prefix + height * width:
            raise ValueError(
                f"Group-Mix attention was built for {num_prefix} prefix tokens and a {height}x{width} grid, "
                f"{num_prefix + height * width} tokens together, but {num_tokens} came; "
                "build the model for the size of its images"
            )
        return grid_size
