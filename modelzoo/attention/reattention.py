"""Re-attention: the heads' softmax maps are mixed by a learned H x H matrix and normalised before they weight V.

Paper:   DeepViT: Towards Deeper Vision Transformer, Zhou et al. 2021, arXiv:2103.11886, equation 3.
Source:  written from the paper and from the released configuration; parity with the official module is tested.
Differs: as released, not as printed: the mixing has a bias of H, the norm is BatchNorm over (B, N, N) per head, and
         the mixing matrix is initialised at random (torch's convolution default), not as the identity.
         Ours: each of these is an option, because the paper leaves them open. `norm: layer` normalises over the heads
         at every pair of tokens, so it needs at least two heads.
         Attention reuse (equation 5 of the appendix) is two further classes for models that carry maps: one that
         hands on its softmax map, and one without queries and keys that mixes the map it was handed. The paper does
         not say where dropout acts then; here every block drops entries of the shared map by itself.
Cost:    H^2 * N^2 multiply-accumulates per image in addition to softmax attention, and its N x N maps are stored.

Shapes:  B images, N tokens (K keys), D dim, H heads, E head_dim (D = H * E).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from modelzoo.attention.contract import MapTap, Slot, TokenAttention, check_heads, softmax_map, unmasked
from modelzoo.attention.map_kernels.chosen import are_in_training, takes_kernels
from modelzoo.attention.map_kernels.mixed_attention import mixed_attention
from modelzoo.attention.placebo import HeldConv2d, refuse_placebo, without_mixing
from modelzoo.attention.recomputed_batchnorm import BatchNorm2dOfOnePass
from modelzoo.attention.valid_entries import normalised, times
from search_space.parsing.errors import Problem, SpecError

__all__ = ["HeadLayerNorm", "MapLendingReattention", "MapReusingReattention", "Reattention"]

_TORCHS_MOMENTUM = 0.1
_FEWEST_ENTRIES = 2**19
"""Of the maps of a batch, from which on a training step that keeps none of them takes less time."""


class Reattention(TokenAttention):
    """Re-attention Norm(Theta^T softmax(q k^T / sqrt(E))) v.

    Args:
        transform_scale: Multiply the normalised map by the scale of the softmax.
        theta_bias: Learned number per head, added to every entry of the mixed map.
        theta_init: `random`: uniform in +-1/sqrt(H), including the bias; `identity`: identity matrix, bias 0.
        norm: Norm after the mixing. `batch`: per head over images and pairs of tokens; `layer`: over the heads at
            every pair of tokens; `none`: no norm; with `theta_init: identity` this starts as softmax attention.
        norm_momentum: Weight of the newest batch in BatchNorm's running statistics.
        placebo: Heads do not exchange their maps: the mixing matrix only scales each head's own (placebo.py).
        apply_transform: False gives plain softmax attention (option of the official class).
        qk_scale: Scale of the logits instead of head_dim ** -0.5.
        batch_norm_eps: Epsilon of either norm.
    """

    unswept = frozenset({"apply_transform", "qk_scale", "batch_norm_eps"})
    mixes_maps = True

    def __init__(
        self,
        slot: Slot,
        *,
        transform_scale: bool = False,
        theta_bias: bool = True,
        theta_init: Literal["random", "identity"] = "random",
        norm: Literal["batch", "layer", "none"] = "batch",
        norm_momentum: float = _TORCHS_MOMENTUM,
        placebo: bool = False,
        apply_transform: bool = True,
        qk_scale: float | None = None,
        batch_norm_eps: float = 1e-5,
    ) -> None:
        check_heads(slot)
        _check_norm(slot, norm, norm_momentum)
        if placebo and norm == "layer":
            refuse_placebo("norm", "a norm over the heads mixes their maps, too", "choose norm: batch or norm: none")
        super().__init__(slot)
        # As in the official code, 0 counts as not given.
        self.scale = qk_scale or (slot.dim // slot.num_heads) ** -0.5
        self.map_scale = self.scale if transform_scale else 1.0
        self.reatten_matrix: nn.Conv2d | None = None
        self.var_norm: nn.Module | None = None
        if not apply_transform:
            return
        self.reatten_matrix = nn.Conv2d(slot.num_heads, slot.num_heads, 1, bias=theta_bias, **slot.factory)
        if theta_init == "identity":
            nn.init.dirac_(self.reatten_matrix.weight)
            if self.reatten_matrix.bias is not None:
                nn.init.zeros_(self.reatten_matrix.bias)
        if placebo:
            heads = list(range(slot.num_heads))
            self.reatten_matrix = without_mixing(self.reatten_matrix, heads, heads)
        if norm == "batch":
            self.var_norm = BatchNorm2dOfOnePass(
                slot.num_heads, eps=batch_norm_eps, momentum=norm_momentum, **slot.factory
            )
        elif norm == "layer":
            self.var_norm = HeadLayerNorm(slot.num_heads, eps=batch_norm_eps, **slot.factory)

    def forward(
        self, x_BND: torch.Tensor, attn_mask: torch.Tensor | None = None, is_causal: bool = False
    ) -> torch.Tensor:
        mixing, norm = self.reatten_matrix, self.var_norm
        dropped = self.attn_drop.p if self.attn_drop.training else 0.0
        if (
            mixing is None
            or isinstance(mixing, HeldConv2d)
            or not isinstance(norm, nn.BatchNorm2d)
            or not self._keeps_no_map(norm, x_BND, dropped)
        ):
            return super().forward(x_BND, attn_mask, is_causal)
        q_BHNE, k_BHNE, v_BHNE = self.heads_of(self.qkv(unmasked(x_BND, attn_mask, is_causal, type(self).__name__)))
        with self.in_map_precision(q_BHNE) as wide:
            out_BHNE = mixed_attention(
                *(wide(q_BHNE), wide(k_BHNE), wide(v_BHNE)),
                mixing=mixing,
                norm=norm,
                scale=self.scale,
                map_scale=self.map_scale,
                dropped=dropped,
            )
        return self.merge(out_BHNE)

    def _keeps_no_map(self, norm: nn.Module, x_BND: torch.Tensor, dropped: float) -> bool:
        """Whether a training computes the output without forming the map as a whole: to save memory, or because it
        takes less time. Where the map is recorded it is formed."""
        if self.numerics == "single" or not are_in_training([norm]):
            return False
        if isinstance(self.seen, MapTap) and self.seen.watchers:
            return False
        B, N, _ = x_BND.shape
        is_faster = not dropped and B * self.slot.num_heads * N * N >= _FEWEST_ENTRIES
        with self.in_map_precision(x_BND) as wide:
            return (self.numerics == "recompute" or is_faster) and takes_kernels(self.numerics, wide(x_BND[:1]))

    def attend(
        self, x_BND: torch.Tensor, incoming_BHNN: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        out_BND, _, attn_BHNN = self._with_maps(x_BND)
        return out_BND, attn_BHNN

    def _with_maps(self, x_BND: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Tokens after attention, the softmax map, and the map that weighs V."""
        q_BHNE, k_BHNE, v_BHNE = self.heads_of(self.qkv(x_BND))
        # Dropout acts before the heads are mixed, so a dropped entry is missing from all mixed maps.
        with self.in_map_precision(q_BHNE) as wide:
            softmax_BHNN = softmax_map(wide(q_BHNE), wide(k_BHNE), self.scale)
            attn_BHNN = self.transform(self.attn_drop(softmax_BHNN))
        return self.merge(self.weigh(attn_BHNN, v_BHNE)), softmax_BHNN, attn_BHNN

    def transform(self, softmax_BHNK: torch.Tensor, valid_B1NK: torch.Tensor | None = None) -> torch.Tensor:
        if self.reatten_matrix is None:
            return times(softmax_BHNK, valid_B1NK)
        mixed_BHNK = self.reatten_matrix(softmax_BHNK)
        if isinstance(self.var_norm, HeadLayerNorm):  # of each pair of tokens by itself
            mixed_BHNK = self.var_norm(mixed_BHNK)
        elif self.var_norm is not None:
            mixed_BHNK = normalised(self.var_norm, mixed_BHNK, valid_B1NK)
        return times(mixed_BHNK * self.map_scale, valid_B1NK)


class MapLendingReattention(Reattention):
    """Re-attention, or with `apply_transform=False` softmax attention, that hands on its softmax map: as it is before
    dropout and mixing."""

    forward = TokenAttention.forward  # a map that is handed on is formed

    def attend(
        self, x_BND: torch.Tensor, incoming_BHNN: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        out_BND, softmax_BHNN, _ = self._with_maps(x_BND)
        return out_BND, softmax_BHNN


class MapReusingReattention(Reattention):
    """Norm(Theta^T incoming) v with its own Theta and norm, but no queries and keys; hands on the map as it came.

    It needs an incoming softmax map, so no slot takes it alone: models that carry maps build it.
    """

    def __init__(self, slot: Slot, **options: Any) -> None:
        super().__init__(slot, **options)
        # V only, as in the map-sharing attention of Refiner.
        self.qkv = nn.Linear(slot.dim, slot.dim, bias=slot.qkv_bias, **slot.factory)

    forward = TokenAttention.forward  # a map that is handed on is formed

    def attend(
        self, x_BND: torch.Tensor, incoming_BHNN: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        if incoming_BHNN is None:
            raise ValueError("an attention that reuses a map needs the map of an earlier block, and none came")
        v_BHNE = self.value_of(x_BND)
        with self.in_map_precision(incoming_BHNN) as wide:
            attn_BHNN = self.transform(self.attn_drop(wide(incoming_BHNN)))
        return self.merge(self.weigh(attn_BHNN, v_BHNE)), incoming_BHNN


class HeadLayerNorm(nn.LayerNorm):
    """LayerNorm over the head axis of maps (B, H, N, K), separately for every pair of tokens."""

    # Named by its shape, as everywhere; PyTorch calls it `input`.
    def forward(self, attn_BHNK: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(attn_BHNK.movedim(1, -1)).movedim(-1, 1)


def _check_norm(slot: Slot, norm: str, momentum: float) -> None:
    if norm != "batch" and momentum != _TORCHS_MOMENTUM:
        raise SpecError(
            Problem(
                f"norm_momentum belongs to `norm: batch`; with norm={norm!r}, {momentum:g} would have no effect",
                path="arch.attention.norm_momentum",
                hint="remove norm_momentum, or write norm: batch",
            )
        )
    if norm == "layer" and slot.num_heads == 1:
        raise SpecError(
            Problem(
                "norm='layer' normalises over the heads, so with num_heads=1 only its bias would remain",
                path="arch.attention.norm",
                hint="choose norm: batch or norm: none, or more heads",
            )
        )
