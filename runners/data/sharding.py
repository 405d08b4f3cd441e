"""Sharding of every batch over the processes that train one trial together (data parallelism).

Images in memory are augmented a batch at a time with one stream, so the whole batch is made and the shard taken from
it. Images that a loader reads one by one have streams of their own: only those of the shard are decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Sampler

from runners.data.dataset_info import Batch, EvalBatches, TrainBatches
from runners.data.transfer import sent

__all__ = ["ShardedEvalBatches", "ShardedTrainBatches", "Share", "reading"]

Share = Callable[[int], Tensor]
"""Function from a batch size to the positions of this process's images in the batch."""


class ShardedTrainBatches:
    """This process's shard of every training batch (`TrainBatches`)."""

    def __init__(self, batches: TrainBatches, share: Share) -> None:
        self._batches = batches
        self._share = share

    def __len__(self) -> int:
        return len(self._batches)

    def epoch(self, number: int) -> Iterator[Batch]:
        for batch in self._batches.epoch(number):
            yield _part(batch, self._share)


class ShardedEvalBatches:
    """This process's shard of every evaluation batch (`EvalBatches`).

    A batch with fewer images than processes has no shard for some of them; such empty shards are skipped.
    """

    def __init__(self, batches: EvalBatches, share: Share) -> None:
        self._batches = batches
        self._share = share

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches:
            images, labels = _part(batch, self._share)
            if len(labels):
                yield images, labels


def reading(loader: DataLoader, order: Sampler, share: Share | None, *, drop_last: bool) -> DataLoader:
    """Loader like another one that reads in this order, and of every batch only this process's images.

    Args:
        order: indices of the loader's dataset, or what it takes as such.
        share: None: all images; empty shards of a batch are skipped.
    """
    assert loader.batch_size is not None
    batches = BatchSampler(order, loader.batch_size, drop_last)
    return DataLoader(
        loader.dataset,
        batch_sampler=batches if share is None else _ShardSampler(batches, share),
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        worker_init_fn=loader.worker_init_fn,
    )


class _ShardSampler(Sampler[list]):
    def __init__(self, batches: BatchSampler, share: Share) -> None:
        self._batches = batches
        self._share = share

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list]:
        for batch in self._batches:
            mine = [batch[at] for at in self._share(len(batch)).tolist()]
            if mine:
                yield mine


def _part(batch: Any, share: Share) -> Batch:
    images, labels = batch
    index = sent(share(len(labels)), labels.device)
    return images[index], labels[index]
