"""Data of a trial of the task `text`: hold out the validation split, and make batches of tokens.

Of classes the validation split is stratified; of numbers it is drawn at random. It is the same for all seeds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from runners.data.dataset_info import Data, DataInfo, EvalBatches
from runners.data.epochs import train_batch_size
from runners.data.holdout import after_holdout, random_holdout, stratified_holdout, validation_seed
from runners.data.random_streams import Seed, generator
from runners.data.sharding import ShardedEvalBatches, ShardedTrainBatches, Share
from runners.data.sources import source_of
from runners.data.text.batches import TokenBatches, TokenTrainBatches
from runners.data.text.splits import Tokens
from search_space.schema.task import TaskSpec
from search_space.schema.trial import TrainSpec

__all__ = ["describe_text", "load_text"]


def describe_text(task: TaskSpec, resources: Any, *, in_memory_bytes: int) -> DataInfo:
    """Sizes and counts of a dataset of text: `img_size` is (1, most tokens of a text).

    Raises:
        SpecError: the data is missing, or it cannot be split as requested.
    """
    return after_holdout(task, source_of(task.dataset).describe(task.dataset, resources, in_memory_bytes))


def load_text(
    task: TaskSpec,
    train: TrainSpec,
    resources: Any,
    device: torch.device,
    *,
    img_size: tuple[int, int],
    seed: Seed,
    share: Share | None,
    info: DataInfo,
) -> Data:
    """Batches of one trial: tokens (B, 3, L) int64, labels (B,) int64 or float32. See `load_data`."""
    train_split, test_split = source_of(task.dataset).load(task.dataset, resources, info, img_size)
    assert isinstance(train_split, Tokens)
    assert isinstance(test_split, Tokens)
    val_split = None
    if info.num_val:
        train_split, val_split = _held_out(train_split, task.val_fraction, info.num_val, validation_seed(seed))
    batch_size = train_batch_size(train, info.num_train)
    sample = torch.randperm(len(train_split), generator=generator(0, "calibration"))
    sample = train_split.subset(sample[: max(1, train.recalibrate_bn * train.batch_size)])
    training = TokenTrainBatches(train_split, batch_size=batch_size, device=device, seed=seed)

    def in_order(split: Tokens) -> EvalBatches:
        batches = TokenBatches(split, batch_size=train.batch_size, device=device)
        return batches if share is None else ShardedEvalBatches(batches, share)

    return Data(
        info=replace(info, tokens=train_split.vocabulary),
        train=training if share is None else ShardedTrainBatches(training, share),
        calibration=TokenBatches(sample, batch_size=batch_size, device=device),
        val=None if val_split is None else in_order(val_split),
        test=in_order(test_split),
    )


def _held_out(split: Tokens, fraction: float, number: int, seed: int) -> tuple[Tokens, Tokens]:
    """What is kept for training, and the validation split."""
    if split.labels.dtype == torch.int64:
        kept, held = stratified_holdout(split.labels.numpy(), fraction, seed=seed)
    else:
        kept, held = random_holdout(len(split), number, seed=seed)
    return split.subset(kept), split.subset(held)
