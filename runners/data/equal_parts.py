"""Training of a given number of updates, in equal parts (`train.steps`).

An epoch is then a number of batches and not once through the images: it may end in the middle of a pass, and may have
several. Each epoch begins with a pass of its own, so that it depends on its number and the trial's seed only.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from runners.data.dataset_info import Batch, TrainBatches

__all__ = ["EqualParts"]


class EqualParts:
    """Epochs of `steps` batches each (`TrainBatches`), taken from the passes of other batches."""

    def __init__(self, passes: TrainBatches, steps: int) -> None:
        self._passes = passes
        self._steps = steps

    def __len__(self) -> int:
        return self._steps

    def epoch(self, number: int) -> Iterator[Batch]:
        of_an_epoch = -(-self._steps // len(self._passes))
        for index in range(of_an_epoch):
            left = self._steps - index * len(self._passes)
            yield from islice(self._passes.epoch((number - 1) * of_an_epoch + index + 1), left)
