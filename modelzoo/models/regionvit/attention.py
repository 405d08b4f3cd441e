"""Regional-to-local attention: global attention of regional tokens, then window attention that includes them.

Paper:   RegionViT, Chen et al. 2022, arXiv:2106.02689, section 3.1.
Source:  written from a description of the released model; parity with it is tested.
Differs: from Swin, as released: the position bias of a pair is looked up at (key - query + window // 2) modulo
         2 * window - 1 in both axes, where Swin has query - key + window - 1. Only local-local pairs have a bias.
         From the released code: it has only `corner='union'`, which lets two tokens of the bottom right window attend
         to each other if both are inside the image along *one* axis, although they may be padding along the other;
         `corner='intersection'` is the correct mask.
Cost:    O(R^2 + R * T^2) products of D-vectors per image, with R regions of T = 1 + window^2 tokens.

Shapes:  B images, R regions of an image, G = B * R windows, N tokens of a group (R regions, or 1 + window^2),
         D dim, H heads, E head_dim (D = H * E), P local tokens of a window (window^2).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.config import use_fused_attn
from timm.models import register_notrace_function, register_notrace_module
from torch import nn

__all__ = ["RegionalToLocalAttention", "from_windows", "padding_mask", "to_windows"]


class RegionalToLocalAttention(nn.Module):
    """Multi-head attention for regional tokens (plain) and for windows (with position bias and padding mask).

    Args:
        window_size: Side of a window; `None`: for regional tokens only, without a bias table.
        qk_scale: Scale instead of head_dim ** -0.5.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window_size: int | None,
        *,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.num_heads = num_heads
        self.window_size = window_size
        self.scale = qk_scale or (dim // num_heads) ** -0.5
        self.fused_attn = use_fused_attn()
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias, **factory)
        self.attn_drop = nn.Dropout(attn_drop)
        self.proj = nn.Linear(dim, dim, **factory)
        self.proj_drop = nn.Dropout(proj_drop)
        if window_size is None:
            self.register_parameter("rel_pos", None)
        else:
            self.rel_pos = nn.Parameter(torch.empty(num_heads, (2 * window_size - 1) ** 2, **factory))
            nn.init.trunc_normal_(self.rel_pos, std=0.02)
            self.register_buffer("rel_pos_index", _relative_index(window_size, device), persistent=False)

    def init_non_persistent_buffers(self) -> None:
        """Compute the bias index; timm calls this after materialising a meta model."""
        if self.window_size is not None:
            self.rel_pos_index = _relative_index(self.window_size, device=self.qkv.weight.device)

    def forward(
        self, x_GND: torch.Tensor, *, in_windows: bool = False, mask_RNN: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Attention within each group of tokens.

        Args:
            in_windows: Groups are windows whose last window_size ** 2 tokens have a position bias.
            mask_RNN: Pairs that may attend, per region; a token without any pair attends to all tokens uniformly.
        """
        G, N, D = x_GND.shape
        q_GHNE, k_GHNE, v_GHNE = self.qkv(x_GND).reshape(G, N, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        bias_HNN = self._bias(N) if in_windows and self.rel_pos is not None else None
        # Masked logits are replaced instead of biased, which fused attention does not support.
        if self.fused_attn and mask_RNN is None:
            out_GHNE = F.scaled_dot_product_attention(
                q_GHNE,
                k_GHNE,
                v_GHNE,
                attn_mask=None if bias_HNN is None else bias_HNN.to(q_GHNE.dtype)[None],
                dropout_p=self.attn_drop.p if self.training else 0.0,
                scale=self.scale,
            )
        else:
            logits_GHNN = (q_GHNE * self.scale) @ k_GHNE.transpose(-2, -1)
            if bias_HNN is not None:
                logits_GHNN = logits_GHNN + bias_HNN
            out_GHNE = self.attn_drop(_masked(logits_GHNN, mask_RNN).softmax(dim=-1)) @ v_GHNE
        return self.proj_drop(self.proj(out_GHNE.transpose(1, 2).reshape(G, N, D)))

    def _bias(self, num_tokens: int) -> torch.Tensor:
        bias_HPP = self.rel_pos[:, self.rel_pos_index]
        num_regional = num_tokens - bias_HPP.shape[-1]
        return F.pad(bias_HPP, (num_regional, 0, num_regional, 0))


# A leaf of timm's tracer: whether there is a mask depends on the size of the image.
register_notrace_module(RegionalToLocalAttention)


@torch.fx.wrap  # whether there is a mask is known when a traced graph runs
@register_notrace_function
def _masked(logits_GHNN: torch.Tensor, mask_RNN: torch.Tensor | None) -> torch.Tensor:
    if mask_RNN is None:
        return logits_GHNN
    logits_BRHNN = logits_GHNN.unflatten(0, (-1, mask_RNN.shape[0]))
    lowest = torch.finfo(logits_GHNN.dtype).min
    return logits_BRHNN.masked_fill(~mask_RNN[None, :, None], lowest).flatten(0, 1)


def _relative_index(window_size: int, device: torch.device | str | None = None) -> torch.Tensor:
    """Index into the flat (2 * window - 1)^2 table for each pair (query, key) of a window's tokens."""
    side = 2 * window_size - 1
    offset = torch.arange(window_size, device=device)
    step = (offset[None, :] - offset[:, None] + window_size // 2) % side
    index = step[:, None, :, None] * side + step[None, :, None, :]
    return index.reshape(window_size**2, window_size**2)


def to_windows(
    regional_BDRS: torch.Tensor | None, local_BDHW: torch.Tensor, grid_size: tuple[int, int], window_size: int
) -> torch.Tensor:
    """Window partition with zero padding at the bottom right; each window starts with its regional token, if any."""
    rows, columns = grid_size
    height, width = local_BDHW.shape[-2:]
    padded_BDHW = F.pad(local_BDHW, (0, columns * window_size - width, 0, rows * window_size - height))
    windows = padded_BDHW.unflatten(3, (columns, window_size)).unflatten(2, (rows, window_size))
    # (B, D, rows, window, columns, window) -> (B, rows, columns, window, window, D)
    local_GPD = windows.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(0, 2)
    if regional_BDRS is None:
        return local_GPD
    regional_GD = regional_BDRS.permute(0, 2, 3, 1).flatten(0, 2)
    return torch.cat([regional_GD[:, None], local_GPD], dim=1)


def from_windows(
    x_GND: torch.Tensor, size: tuple[int, int], grid_size: tuple[int, int], window_size: int, *, regional: bool
) -> tuple[torch.Tensor | None, torch.Tensor]:
    """Regional map, if there is one, and local map (B, D, *size) without padding, the inverse of `to_windows`."""
    local_GPD = x_GND[:, -(window_size**2) :]
    windows = local_GPD.unflatten(1, (window_size, window_size)).unflatten(0, (-1, *grid_size))
    local_BDHW = windows.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)[..., : size[0], : size[1]]
    if not regional:
        return None, local_BDHW
    return x_GND[:, 0].unflatten(0, (-1, *grid_size)).permute(0, 3, 1, 2), local_BDHW


@register_notrace_function
def padding_mask(
    size: tuple[int, int],
    grid_size: tuple[int, int],
    window_size: int,
    *,
    num_regional: int,
    corner: str,
    device: torch.device,
) -> torch.Tensor | None:
    """Padding mask (R, N, N) of the pairs that may attend, or `None` if no window extends beyond the map of `size`.

    A pair may attend if both tokens are inside the image along both axes; regional tokens always are. With
    `corner='union'`, one axis is sufficient in the bottom right window, so that window is not masked at all if the map
    fills its windows along one axis.
    """
    rows, columns = grid_size
    if size == (rows * window_size, columns * window_size):
        return None
    pairs = []
    for axis, (length, windows) in enumerate(zip(size, grid_size, strict=True)):
        inside = (torch.arange(windows * window_size, device=device) < length).reshape(windows, window_size)
        inside = inside[:, :, None] if axis == 0 else inside[:, None, :]
        inside_WP = inside.expand(windows, window_size, window_size).flatten(1)
        inside_WN = F.pad(inside_WP, (num_regional, 0), value=True)
        pairs.append(inside_WN[:, :, None] & inside_WN[:, None, :])
    vertical, horizontal = pairs[0][:, None], pairs[1][None]
    mask = (vertical & horizontal).flatten(0, 1)
    if corner == "union":
        # Concatenated instead of assigned in place, because the mask may be part of a compiled or traced forward.
        mask = torch.cat([mask[:-1], vertical[-1] | horizontal[:, -1]])
    return mask
