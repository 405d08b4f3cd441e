"""Evaluation of the members of a group: every image passes through the stack once, for all of them.

Trials of one shape are measured on the same images, whatever their seeds, so the first member's batches serve for all.
Metrics, choice by validation and best weights are each member's own, from its logits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial

import torch
from torch import Tensor

from modelzoo.stacked.reasons import BATCH_MULTIPLE
from runners.data import Batch, Data, DataInfo
from runners.tasks.classification import MeasuredClassification, logits_by
from runners.tasks.metrics.predictions import MOST_SCORES
from runners.training.bn_recalibration import recalibrate
from runners.training.stacked.group_steps import StackedTraining
from runners.training.state import TrainingState
from runners.trials.form import LARGEST_GROUP
from search_space.schema.task import TaskSpec
from search_space.schema.trial import TrainSpec

__all__ = ["GroupEvaluation", "evaluated_together", "padded_sizes"]


def evaluated_together(task: TaskSpec, info: DataInfo) -> bool:
    """Whether the logits of all members are computed at once.

    Not at a test size, which is another model, and not where the logits of a whole split for the largest group take
    more memory than is spent on those of one trial; each member is then measured by itself.
    """
    most = max(info.num_val, info.num_test) * info.num_classes * LARGEST_GROUP
    return getattr(task, "test_img_size", None) is None and most <= MOST_SCORES


def padded_sizes(train: TrainSpec, info: DataInfo) -> set[int]:
    """Images of the batches that pass through a stack at evaluation."""
    return {_padded(min(train.batch_size, images)) for images in (info.num_val, info.num_test) if images}


class GroupEvaluation:
    """Recalibration, and logits of every split that a member is measured on, for all members together.

    Args:
        data: of one member.
    """

    def __init__(self, stack: StackedTraining, data: Data, train: TrainSpec) -> None:
        self._stack, self._data, self._train = stack, data, train
        self._logits: dict[str, dict[int, list[Batch]]] = {}  # by split, and identity of a member's state

    def take_over(self, state: TrainingState, measured: MeasuredClassification, data: Data) -> None:
        """Let a member's metrics take its logits from here.

        Args:
            data: the member's own.
        """
        measured.take_logits_of(partial(self._logits_of, state, data, measured.flips))

    def begin_epoch(self) -> None:
        """The weights have changed: recalibrate, and forget logits."""
        self._logits.clear()
        model = self._stack.evaluated
        batches = ((_of_all(images, model.size), labels) for images, labels in self._data.calibration)
        recalibrate(model, model.batchnorms, batches, num_batches=self._train.recalibrate_bn)

    def _logits_of(
        self, state: TrainingState, own: Data, flips: bool, batches: Iterable[Batch]
    ) -> Sequence[tuple[Tensor, Tensor]]:
        """Logits (B, classes) and labels of every batch of a member's validation or test split."""
        split = "val" if batches is own.val else "test"
        if split not in self._logits:
            self._logits[split] = self._predict(split, flips)
        return self._logits[split][id(state)]

    @torch.inference_mode()
    def _predict(self, split: str, flips: bool) -> dict[int, list[Batch]]:
        model = self._stack.evaluated.eval()
        logits_of = logits_by(model, flips)
        found: dict[int, list[Batch]] = {id(state): [] for state in self._stack.states}
        size = 0
        for images, labels in getattr(self._data, split):
            size = size or _padded(len(images))
            filling = images.new_zeros(size - len(images), *images.shape[1:])
            logits_KBC = logits_of(_of_all(torch.cat([images, filling]), model.size))
            for state, logits_BC in zip(self._stack.states, logits_KBC, strict=True):
                found[id(state)].append((logits_BC[: len(images)], labels))
        return found


def _padded(images: int) -> int:
    return math.ceil(images / BATCH_MULTIPLE) * BATCH_MULTIPLE


def _of_all(images_BCHW: Tensor, size: int) -> Tensor:
    return images_BCHW.expand(size, *images_BCHW.shape)
