"""Crops of a batch of images: two global views of each, and some smaller local ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["NUM_GLOBAL", "Crops"]

NUM_GLOBAL = 2
"""Global views of an image; the teacher sees these only."""


@dataclass(frozen=True)
class Crops:
    """Views of B images, float32, normalised.

    Attributes:
        global_views: (B, 2, C, H, W).
        local_views: (B, n, C, h, w); n may be 0.
    """

    global_views: Tensor
    local_views: Tensor

    def __post_init__(self) -> None:
        assert self.global_views.shape[:2] == (len(self.local_views), NUM_GLOBAL), "two global views of each image"

    def __len__(self) -> int:
        return len(self.global_views)

    def __getitem__(self, index: Tensor) -> Crops:
        """Views of the images at these positions of the batch."""
        index = index.to(self.global_views.device)
        return Crops(self.global_views[index], self.local_views[index])

    @property
    def views(self) -> list[Tensor]:
        """The 2 + n views, global ones first, each (B, C, side, side) of its own size."""
        return [*self.global_views.unbind(1), *self.local_views.unbind(1)]

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Crops:
        moved = (each.to(device, non_blocking=non_blocking) for each in (self.global_views, self.local_views))
        return Crops(*moved)

    def pin_memory(self) -> Crops:
        """In page-locked memory; PyTorch's loader calls this."""
        return Crops(self.global_views.pin_memory(), self.local_views.pin_memory())

    @classmethod
    def stack(cls, images: Sequence[tuple[Tensor, Tensor]]) -> Crops:
        """Of the global views (2, C, H, W) and the local views (n, C, h, w) of each image."""
        return cls(*(torch.stack(parts) for parts in zip(*images, strict=True)))
