"""One mechanism with one set of options, built and fed for the conditions of its contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from modelzoo.attention.contract import Slot, TokenAttention

__all__ = ["DIM", "HEADS", "Case", "expect", "largest_difference"]

DIM, HEADS = 40, 4


@dataclass(frozen=True)
class Case:
    """A mechanism with options; sizes are small, and the grid is not square.

    Attributes:
        is_global: whether each token depends on every other.
    """

    made: type[TokenAttention]
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    is_global: bool = True

    @property
    def name(self) -> str:
        given = ", ".join(f"{key}={value!r}" for key, value in self.options.items())
        return f"{self.made.__name__}({given})"

    def slot(self, *, grid: tuple[int, int] = (2, 3), num_prefix_tokens: int = 1, **fields: Any) -> Slot:
        return Slot(dim=DIM, num_heads=HEADS, grid_size=grid, num_prefix_tokens=num_prefix_tokens, **fields)

    def built(self, slot: Slot | None = None, *, seed: int = 0) -> TokenAttention:
        """The module in training mode; equal seeds give equal weights."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return self.made(slot or self.slot(), **self.options)

    def tokens(self, batch: int = 3, slot: Slot | None = None) -> torch.Tensor:
        """Random tokens (B, N, D), the same at every call."""
        slot = slot or self.slot()
        height, width = slot.grid_size or (2, 3)
        num_tokens = slot.num_prefix_tokens + height * width
        return torch.randn(batch, num_tokens, slot.dim, generator=torch.Generator().manual_seed(1))


def expect(holds: bool, case: Case, sentence: str) -> None:
    """Raise AssertionError with the mechanism, its options and what is wrong, unless it holds."""
    if not holds:
        raise AssertionError(f"{case.name}: {sentence}")


def largest_difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one.detach().double() - other.detach().double()).abs().max())
