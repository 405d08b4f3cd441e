"""What an epoch is: the size of its batches, and their number.

By default an epoch is once through the training images. With `train.steps` it is a number of batches: it may end in the
middle of a pass, and may have several. Each epoch begins with a pass of its own, so that it depends on its number and
the trial's seed only.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from runners.data.dataset_info import Batch, SharedImages, TrainBatches
from runners.data.random_streams import Seed
from search_space.schema.trial import TrainSpec

__all__ = ["EqualParts", "batches_of_an_epoch", "train_batch_size", "updates_of", "updates_of_an_epoch"]


def train_batch_size(train: TrainSpec, num_train: int) -> int:
    """Batch size of training: `batch_size`, at most the number of images; even for mixup, which pairs images."""
    size = min(train.batch_size, num_train)
    return size // 2 * 2 if train.mixes else size


def updates_of_an_epoch(train: TrainSpec, num_train: int) -> int:
    """Optimiser steps of an epoch: those of `train.steps`, else of `num_train` images (at least 1)."""
    if train.steps is not None:
        return train.steps // train.epochs
    return updates_of(num_train // max(1, train_batch_size(train, num_train)), train)


def updates_of(num_batches: int, train: TrainSpec) -> int:
    """Optimiser steps (at least 1) of the batches of an epoch, the last of which may have fewer batches."""
    return max(1, -(-num_batches // train.grad_accum_steps))


def batches_of_an_epoch(train: TrainSpec) -> int | None:
    """Batches of an epoch of `train.steps`; None: as many as the training images make."""
    return None if train.steps is None else train.steps // train.epochs * train.grad_accum_steps


class EqualParts:
    """Epochs of `steps` batches each (`TrainBatches`), taken from the passes of other batches."""

    def __init__(self, passes: TrainBatches, steps: int) -> None:
        self._passes = passes
        self._steps = steps

    def __len__(self) -> int:
        return self._steps

    def of_seed(self, seed: Seed) -> EqualParts | None:
        """Parts of the same images for a trial of another seed (`SharedImages`); None where they cannot be shared."""
        passes = self._passes.of_seed(seed) if isinstance(self._passes, SharedImages) else None
        return None if passes is None else EqualParts(passes, self._steps)

    def epoch(self, number: int) -> Iterator[Batch]:
        of_an_epoch = -(-self._steps // len(self._passes))
        for index in range(of_an_epoch):
            left = self._steps - index * len(self._passes)
            yield from islice(self._passes.epoch((number - 1) * of_an_epoch + index + 1), left)
