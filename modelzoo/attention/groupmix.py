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
Cost:    O(N * D * (D + k^2)) multiply-accumulates per image: linear in the number of tokens.

Shapes:  B images, N tokens (P prefix + h * w patches), D dim, S channels of a segment, T attention channels (D - S),
         H heads, E channels per head (T = H * E).
"""

from __future__ import annotations

import torch

from modelzoo.attention.contract import Slot, TokenAttention
from modelzoo.attention.groupmix_aggregators import Aggregator, ConvolutionalPosition
from modelzoo.legal_values import divisors, listed, nearest
from search_space.errors import Problem, SpecError

__all__ = ["GroupMixAttention", "spread_windows"]

POSITION_WINDOWS = (3, 5, 7)


class GroupMixAttention(TokenAttention):
    """Segments: one of tokens, one per aggregator kernel, and one local branch that skips attention.

    Args:
        kernel_sizes: side of each group segment's depthwise kernel.
        local_kernel_size: side of the local branch's depthwise kernel.
        crpe_windows: position window -> number of heads; default: windows 3, 5 and 7 over the heads as evenly as
            possible, the larger windows taking what is left over.
        qk_scale: scale in place of (dim // num_heads) ** -0.5.
    """

    unswept = frozenset({"crpe_windows", "qk_scale"})
    needs_grid = True

    def __init__(
        self,
        slot: Slot,
        *,
        kernel_sizes: tuple[int, ...] = (3, 5, 7),
        local_kernel_size: int = 3,
        crpe_windows: dict[int, int] | None = None,
        qk_scale: float | None = None,
    ) -> None:
        num_segments = len(kernel_sizes) + 2
        _check_segments(slot, num_segments)
        windows = spread_windows(slot.num_heads) if crpe_windows is None else crpe_windows
        _check_windows(slot, windows)
        super().__init__(slot)
        segment_dim = slot.dim // num_segments
        # Of the full width, in whole channels, as officially: 60 channels and 8 heads make 7 ** -0.5.
        self.scale = qk_scale or (slot.dim // slot.num_heads) ** -0.5
        self.aggregator = Aggregator(segment_dim, tuple(kernel_sizes), local_kernel_size)
        self.crpe = ConvolutionalPosition((slot.dim - segment_dim) // slot.num_heads, windows)

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
        q_BHNE, k_BHNE, v_BHNE = mixed_3BNT.unflatten(-1, (self.slot.num_heads, -1)).transpose(2, 3).unbind(0)
        context_BHEE = self.attn_drop(k_BHNE.softmax(dim=2)).transpose(2, 3) @ v_BHNE
        out_BHNE = self.scale * (q_BHNE @ context_BHEE) + self.crpe(q_BHNE, v_BHNE, grid_size)
        out_BND = torch.cat([out_BHNE.transpose(1, 2).flatten(2), local_BNS], dim=-1)
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


def spread_windows(num_heads: int) -> dict[int, int]:
    """Window -> heads, as even as possible: `spread_windows(8) == {3: 2, 5: 3, 7: 3}`."""
    share, left_over = divmod(num_heads, len(POSITION_WINDOWS))
    heads = [share + (index >= len(POSITION_WINDOWS) - left_over) for index in range(len(POSITION_WINDOWS))]
    return {window: count for window, count in zip(POSITION_WINDOWS, heads, strict=True) if count}


def _check_segments(slot: Slot, num_segments: int) -> None:
    def legal(dim: int, num_heads: int, num_segments: int) -> bool:
        return dim % num_segments == 0 and (dim - dim // num_segments) % num_heads == 0

    if legal(slot.dim, slot.num_heads, num_segments):
        return
    # A host's own attention asks for embed_dim % num_heads == 0 as well, so only such widths are proposed.
    widths = nearest(slot.dim, lambda dim: dim % slot.num_heads == 0 and legal(dim, slot.num_heads, num_segments))
    hint = f"near embed_dim for num_heads={slot.num_heads}: {listed(widths)}"
    if slot.dim % num_segments:
        relation = "embed_dim % segments == 0"
        counts = [n for n in range(3, 13) if legal(slot.dim, slot.num_heads, n)]
        if counts:
            hint += f"; or, for embed_dim={slot.dim}, as many kernel_sizes as {listed(n - 2 for n in counts)}"
    else:
        relation = "(embed_dim - embed_dim / segments) % num_heads == 0"
        heads = [n for n in divisors(slot.dim) if legal(slot.dim, n, num_segments)]
        hint += f"; or num_heads for embed_dim={slot.dim}: {listed(heads)}"
    raise SpecError(
        Problem(
            f"Group-Mix attention needs {relation}, but got embed_dim={slot.dim}, num_heads={slot.num_heads}, "
            f"segments={num_segments} (tokens, {num_segments - 2} kernel_sizes, local branch)",
            path="arch.attention",
            hint=hint,
        )
    )


def _check_windows(slot: Slot, windows: dict[int, int]) -> None:
    if sum(windows.values()) != slot.num_heads or min(windows.values()) < 1:
        raise SpecError(
            Problem(
                f"the heads of crpe_windows must sum to num_heads={slot.num_heads}, but got {windows!r}",
                path="arch.attention",
                hint=f"for example {spread_windows(slot.num_heads)!r}",
            )
        )
