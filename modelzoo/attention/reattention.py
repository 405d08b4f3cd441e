"""Re-attention: the heads' softmax maps are mixed by a learned H x H matrix and normalised before they weigh V.

Paper:   DeepViT: Towards Deeper Vision Transformer, Zhou et al. 2021, arXiv:2103.11886, equation 3.
Source:  written from the paper and from the released configuration; parity with the official module is tested.
Differs: as released, not as printed: the mixing has a bias of H, the norm is BatchNorm over (B, N, N) per head, and
         the mixing matrix starts random (torch's convolution default), not at the identity.
Cost:    H^2 * N^2 multiply-accumulates per image beside softmax attention, and its N x N maps are stored.

Shapes:  B images, N tokens, D dim, H heads, E head_dim (D = H * E).
"""

from __future__ import annotations

import torch
from torch import nn

from modelzoo.attention.contract import Slot, TokenAttention, check_heads, softmax_map

__all__ = ["Reattention"]


class Reattention(TokenAttention):
    """Norm(Theta^T softmax(q k^T / sqrt(E))) v.

    Args:
        transform_scale: multiply the normalised map by the softmax's scale before it weighs V.
        apply_transform: False gives plain attention that shows its map (the official class's way to switch off).
        qk_scale: scale of the logits in place of head_dim ** -0.5.
    """

    unswept = frozenset({"apply_transform", "qk_scale", "batch_norm_eps"})

    def __init__(
        self,
        slot: Slot,
        *,
        transform_scale: bool = False,
        apply_transform: bool = True,
        qk_scale: float | None = None,
        batch_norm_eps: float = 1e-5,
    ) -> None:
        check_heads(slot)
        super().__init__(slot)
        # As officially, 0 counts as not given.
        self.scale = qk_scale or (slot.dim // slot.num_heads) ** -0.5
        self.map_scale = self.scale if transform_scale else 1.0
        self.reatten_matrix = nn.Conv2d(slot.num_heads, slot.num_heads, 1) if apply_transform else None
        self.var_norm = nn.BatchNorm2d(slot.num_heads, eps=batch_norm_eps) if apply_transform else None

    def attend(
        self, x_BND: torch.Tensor, incoming_BHNN: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        q_BHNE, k_BHNE, v_BHNE = self.heads_of(self.qkv(x_BND))
        # Dropout acts before the heads are mixed: what is dropped from one head is missing in all.
        attn_BHNN = self.attn_drop(softmax_map(q_BHNE, k_BHNE, self.scale))
        if self.reatten_matrix is not None and self.var_norm is not None:
            attn_BHNN = self.var_norm(self.reatten_matrix(attn_BHNN)) * self.map_scale
        return self.merge(attn_BHNN @ v_BHNE), attn_BHNN
