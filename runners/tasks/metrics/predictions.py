"""Predictions of a classifier for a whole split, collected batch by batch and from all processes.

Everything stays on the device until the split has been measured, so that no batch waits for a copy.

Shapes: B images of a batch, N of the split, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributed import all_gather_object, get_world_size

__all__ = ["MOST_SCORES", "CollectedPredictions", "Predictions"]

MOST_SCORES = 2**26
"""Logits of a split (N * K) up to which they are kept, 256 MiB: 67,108 images of 1,000 classes."""


@dataclass(frozen=True)
class Predictions:
    """Predictions for the images of a split, in any order.

    Attributes:
        labels, predicted: (N,) int64.
        confidence: probability of the predicted class, (N,) float64.
        logits: (N, K) float32; None where they are more than `MOST_SCORES`.
    """

    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    num_classes: int
    logits: np.ndarray | None = None


class CollectedPredictions:
    """Predictions of the batches that were added.

    Args:
        most_scores: logits that all processes keep together.
    """

    def __init__(self, num_classes: int, *, most_scores: int = MOST_SCORES) -> None:
        self._num_classes = num_classes
        self._most_scores = most_scores
        self._parts: list[tuple[Tensor, Tensor, Tensor]] = []
        self._logits: list[Tensor] = []
        self._num = 0

    def add(self, logits: Tensor, predicted: Tensor, labels: Tensor) -> None:
        """Add a batch: logits (B, K), the top prediction and the label of each image, (B,)."""
        logits = logits.float()
        confidence = logits.softmax(dim=-1).gather(1, predicted[:, None])[:, 0]
        self._parts.append((labels, predicted, confidence))
        self._num += len(labels)
        if self._num * self._num_classes <= self._most_scores:
            self._logits.append(logits)
        else:
            self._logits.clear()

    def of_all_processes(self, *, is_shared: bool) -> Predictions:
        """The predictions of all processes (a collective where there are several)."""
        mine = self._mine()
        if not is_shared:
            return mine
        # Either all processes send their logits or none does: their shares differ by an image a batch.
        nums: list[Any] = [None] * get_world_size()
        all_gather_object(nums, len(mine.labels))
        if sum(nums) * self._num_classes > self._most_scores:
            mine = replace(mine, logits=None)
        found: list[Any] = [None] * get_world_size()
        all_gather_object(found, mine)
        return _joined(found)

    def _mine(self) -> Predictions:
        columns = list(zip(*self._parts, strict=True)) or [[torch.zeros(0)]] * 3
        labels, predicted, confidence = map(torch.cat, columns)
        is_kept = self._num * self._num_classes <= self._most_scores
        logits = torch.cat([torch.zeros(0, self._num_classes), *(each.cpu() for each in self._logits)])
        return Predictions(
            labels=labels.cpu().long().numpy(),
            predicted=predicted.cpu().long().numpy(),
            confidence=confidence.cpu().double().numpy(),
            num_classes=self._num_classes,
            logits=logits.numpy() if is_kept else None,
        )


def _joined(parts: list[Predictions]) -> Predictions:
    def of(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    has_logits = all(part.logits is not None for part in parts)
    return Predictions(
        *(of(name) for name in ("labels", "predicted", "confidence")),
        num_classes=parts[0].num_classes,
        logits=of("logits") if has_logits else None,
    )
