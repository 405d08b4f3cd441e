"""Batches of tokens held in memory, cut to the longest text of each batch.

The amount of padding changes no result (`modelzoo/text/attention.py`), so that a batch is as long as its texts need.

Shapes: B texts, L tokens; a batch is (B, 3, L) int64 and labels (B,).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from runners.data.dataset_info import Batch
from runners.data.random_streams import Seed, generator
from runners.data.text.splits import Tokens
from runners.data.transfer import sent

__all__ = ["TokenBatches", "TokenTrainBatches", "unpadded"]


class TokenBatches:
    """Batches with every text once, in order (`EvalBatches`)."""

    def __init__(self, split: Tokens, *, batch_size: int, device: torch.device) -> None:
        self._split, self._batch_size, self._device = split, batch_size, device
        self._lengths = split.lengths

    def __len__(self) -> int:
        return -(-len(self._split) // self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self._split), self._batch_size):
            yield _batch(
                self._split,
                self._lengths,
                torch.arange(len(self._split))[start : start + self._batch_size],
                self._device,
            )


class TokenTrainBatches:
    """Shuffled batches of equal size (`TrainBatches`); texts that fill no batch are left out that epoch."""

    def __init__(self, split: Tokens, *, batch_size: int, device: torch.device, seed: Seed) -> None:
        self._split, self._batch_size, self._device, self._seed = split, batch_size, device, seed
        self._lengths = split.lengths

    def __len__(self) -> int:
        return len(self._split) // self._batch_size

    def epoch(self, number: int) -> Iterator[Batch]:
        order = torch.randperm(len(self._split), generator=generator(self._seed, "order", number))
        for index in range(len(self)):
            picked = order[index * self._batch_size : (index + 1) * self._batch_size]
            yield _batch(self._split, self._lengths, picked, self._device)


def unpadded(text_B3L: Tensor) -> Iterator[Tensor]:
    """Every text by itself, (1, 3, its length), for what would count padding as tokens."""
    for text in text_B3L:
        yield text[None, :, : int(text[2].sum())]


def _batch(split: Tokens, lengths: Tensor, picked: Tensor, device: torch.device) -> Batch:
    longest = int(lengths[picked].max())
    return sent(split.tokens[picked, :, :longest], device).long(), sent(split.labels[picked], device)
