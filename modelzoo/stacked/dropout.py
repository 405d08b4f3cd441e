"""Stacked dropout: of entries, of whole images on a residual path, and of patches.

Shapes:  K members, B images, N tokens, D dim, M maps of a member.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.layers.drop import DropPath
from timm.layers.patch_dropout import PatchDropout
from torch import Tensor, nn

from modelzoo.stacked.layer import Building, StackedLayer

__all__ = ["StackedDropPath", "StackedDropout", "StackedPatchDropout"]


class StackedDropout(StackedLayer):
    """`nn.Dropout`, each member at its own rate: all of them have one, or none."""

    def __init__(self, members: Sequence[nn.Module], building: Building) -> None:
        super().__init__(members, building)
        self._rates = [each.p for each in members if isinstance(each, nn.Dropout)]
        self._streams = building.streams
        if 0 in self._rates and any(self._rates):
            raise ValueError("members with a dropout and members without one are not stacked")

    @staticmethod
    def reason(layer: nn.Module) -> str | None:
        assert isinstance(layer, nn.Dropout)
        if layer.p == 1:
            return "drops everything (a dropout rate of 1)"
        return "uses dropout in place" if layer.inplace else None

    @property
    def is_active(self) -> bool:
        """Whether entries are dropped now."""
        return self.training and self._rates[0] > 0

    def forward(self, x: Tensor) -> Tensor:
        """Of x (K, ...), with masks drawn in this order of axes."""
        return x * self._streams.keep_masks(self._rates, x, x.shape[1:]) if self.is_active else x

    def of_transposed(self, x_KBND: Tensor) -> Tensor:
        """Of tokens that the single model holds channel by channel: its masks are drawn in that order."""
        if not self.is_active:
            return x_KBND
        _, B, N, D = x_KBND.shape
        return x_KBND * self._streams.keep_masks(self._rates, x_KBND, (B, D, N)).transpose(2, 3)

    def of_maps(self, maps_BKMNN: Tensor) -> Tensor:
        """Of maps (B, K * M, N, N'), with masks drawn in the order (B, M, N, N')."""
        if not self.is_active:
            return maps_BKMNN
        B, _, *tokens = maps_BKMNN.shape
        masks = self._streams.keep_masks(self._rates, maps_BKMNN, (B, maps_BKMNN.shape[1] // self.num_members, *tokens))
        return maps_BKMNN * masks.transpose(0, 1).flatten(1, 2)

    def keep(self, rows: Sequence[int]) -> None:
        super().keep(rows)
        self._rates = [self._rates[row] for row in rows]


class StackedDropPath(StackedLayer):
    """timm's `DropPath`, each member at its own rate."""

    def __init__(self, members: Sequence[nn.Module], building: Building) -> None:
        super().__init__(members, building)
        self._rates = [float(each.drop_prob) for each in members if isinstance(each, DropPath)]
        self._streams = building.streams

    @staticmethod
    def reason(layer: nn.Module) -> str | None:
        assert isinstance(layer, DropPath)
        if not layer.scale_by_keep or not 0 < layer.drop_prob < 1:
            return "drops paths without scaling the others"
        return None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * self._streams.keep_masks(self._rates, x, (x.shape[1], *[1] * (x.ndim - 2)))

    def keep(self, rows: Sequence[int]) -> None:
        super().keep(rows)
        self._rates = [self._rates[row] for row in rows]


class StackedPatchDropout(StackedLayer):
    """timm's `PatchDropout`: every image keeps as many patches, chosen at random, and all prefix tokens."""

    def __init__(self, members: Sequence[nn.Module], building: Building) -> None:
        super().__init__(members, building)
        first = members[0]
        assert isinstance(first, PatchDropout)
        self._rate, self._num_prefix, self._is_ordered = first.prob, first.num_prefix_tokens, first.ordered
        self._streams = building.streams

    def forward(self, x_KBND: Tensor) -> Tensor:
        if not self.training or self._rate == 0:
            return x_KBND
        prefix, patches = x_KBND[:, :, : self._num_prefix], x_KBND[:, :, self._num_prefix :]
        _, B, N, D = patches.shape
        num_kept = max(1, int(N * (1.0 - self._rate)))
        kept_KBN = torch.argsort(self._streams.normal(x_KBND, (B, N)), dim=-1)[..., :num_kept]
        if self._is_ordered:
            kept_KBN = kept_KBN.sort(dim=-1)[0]
        patches = patches.gather(2, kept_KBN[..., None].expand(-1, -1, -1, D))
        return torch.cat((prefix, patches), dim=2) if self._num_prefix else patches
