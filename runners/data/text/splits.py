"""A split of a dataset of text: as texts with labels, and as tokens with labels.

Shapes: N texts, L tokens of a padded text.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from runners.data.parts import Part

__all__ = ["Texts", "Tokens"]


@dataclass(frozen=True)
class Texts(Dataset):
    """A split as it is stored.

    Attributes:
        texts: one or two sentences each.
        labels: (N,), int64 numbers of classes or float64 numbers.
        files: files that decide what is read, by their names in the dataset; the table first.
        lines: where each text is in its file, counted from 1.
        notes: what is in the file and is not read, as sentences.
        class_names: empty where labels are numbers.
    """

    texts: list[tuple[str, ...]]
    labels: np.ndarray
    files: tuple[tuple[str, Path], ...]
    lines: list[int]
    notes: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> tuple[tuple[str, ...], Any]:
        return self.texts[index], self.labels[index]

    def parts(self) -> list[Part]:
        return [Part(name, "", str(path)) for name, path in self.files]


@dataclass(frozen=True)
class Tokens(Dataset):
    """A split in memory.

    Attributes:
        tokens: (N, 3, L) int16 or int32: token ids, sentence of each token (0 or 1), 1 for real tokens; padded with 0.
        labels: (N,) int64 or float32.
        vocabulary: tokens in the order of their ids; empty where ids are drawn.
    """

    tokens: Tensor
    labels: Tensor
    vocabulary: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.tokens[index], self.labels[index]

    @property
    def lengths(self) -> Tensor:
        """Real tokens of each text, (N,)."""
        return self.tokens[:, 2].sum(dim=1, dtype=torch.int64)

    def subset(self, positions: np.ndarray | Tensor) -> Tokens:
        index = torch.as_tensor(positions)
        return Tokens(self.tokens[index], self.labels[index], self.vocabulary)

    def parts(self) -> list[Part]:
        found = {"tokens": self.tokens.numpy(), "labels": self.labels.numpy()}
        return [Part(f"{name} {each.dtype} {each.shape}", "", each.tobytes()) for name, each in found.items()]
