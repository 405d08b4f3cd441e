"""Random numbers of stacked models: one generator a member, from which its masks are drawn as it would draw them alone.

A single model draws from torch's global generator, mask after mask, in the order of its layers. A member of a stack
draws masks of the same shape in the same order from a generator of its own; given the same seed on a CPU they are the
same bits. So dropout does not depend on who is in the stack.

Shapes:  K members, B images; the rest as the layer has it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

__all__ = ["Streams"]


class Streams:
    """Generators of the members.

    Args:
        generators: one a member.
        num_rows: rows of the stacked tensors; those behind the members only fill up, and nothing is drawn for them.
    """

    def __init__(self, generators: Sequence[Generator], num_rows: int) -> None:
        self.generators = list(generators)
        self.num_rows = num_rows

    def keep_masks(self, drop: Sequence[float], like: Tensor, shape: Sequence[int]) -> Tensor:
        """Masks (K, *shape) of what stays, 0 or 1 / (1 - drop): of every member at its own rate.

        Args:
            like: has their dtype and device.
        """
        masks = like.new_ones((self.num_rows, *shape))
        for row, generator in enumerate(self.generators):
            stays = 1 - drop[row]
            masks[row].bernoulli_(stays, generator=generator).div_(stays)
        return masks

    def normal(self, like: Tensor, shape: Sequence[int]) -> Tensor:
        """Normal numbers (K, *shape) in float32, as `torch.randn` draws them."""
        numbers = torch.zeros((self.num_rows, *shape), device=like.device)
        for row, generator in enumerate(self.generators):
            numbers[row] = torch.randn(*shape, generator=generator, device=like.device)
        return numbers

    def keep(self, members: Sequence[int], num_rows: int) -> None:
        """Keep the generators of these members, in this order."""
        self.generators = [self.generators[member] for member in members]
        self.num_rows = num_rows
