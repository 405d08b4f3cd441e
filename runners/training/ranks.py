"""The processes that train one trial together, and what each of them does of it.

Every process walks through the same batches in the same order and takes its share of each, so that all of them together
do what one process would do: same global batch, same augmentation, same pairs and lambda of mixup. Losses are weighted
by the size of the share, metrics are sums over the processes, decisions are those of process 0. `ALONE` is the trial
that has one process, for which all of this is nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from runners.data import Batch, EvalBatches, TrainBatches

__all__ = ["ALONE", "Ranks", "SharedEvalBatches", "SharedTrainBatches"]

_LOOK_EVERY = 10
"""Updates between two looks whether to stop: agreeing makes the processes wait for one another."""


@dataclass(frozen=True)
class Ranks:
    """This process among `size`; the default process group is initialised where there are several."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share(self, batch: Batch) -> Batch:
        """This process' part: images and their mirror images in the order of the batch. Mixup pairs image i with image
        B - 1 - i, and so it does within every such part. May be empty where there are fewer images than processes."""
        if self.size == 1:
            return batch
        images, labels = batch
        index = self.share_of(len(labels)).to(labels.device)
        return images[index], labels[index]

    def share_of(self, num: int) -> Tensor:
        """Positions of this process' part of `num` images. The middle one of an odd number goes to the last process."""
        pairs = num // 2
        begin, end = (pairs * at // self.size for at in (self.rank, self.rank + 1))
        front = torch.arange(begin, end)
        middle = torch.tensor([pairs] if num % 2 and self.rank == self.size - 1 else [], dtype=torch.int64)
        return torch.cat([front, middle, num - 1 - front.flip(0)])

    def weight(self, num: int, of: int) -> float:
        """What the mean over `num` of `of` images must be multiplied with, so that the mean over processes is that of
        all images."""
        return num * self.size / of

    def mean(self, value: Tensor) -> Tensor:
        """Mean over the processes."""
        if self.size == 1:
            return value
        total = value.clone()
        dist.all_reduce(total)
        return total / self.size

    def agree(self, answer: Callable[[], Any]) -> bool:
        """The answer of process 0, for all."""
        if self.size == 1:
            return bool(answer())
        told = torch.tensor([int(bool(answer())) if self.is_first else 0])  # on the CPU: no GPU waits for it
        dist.broadcast(told, src=0)
        return bool(told.item())

    def now_and_then(self, answer: Callable[[], bool]) -> Callable[[], bool]:
        """`answer` of process 0, asked for once in a number of calls; all processes call it equally often."""
        if self.size == 1:
            return answer
        calls = 0

        def ask() -> bool:
            nonlocal calls
            calls += 1
            return calls % _LOOK_EVERY == 0 and self.agree(answer)

        return ask

    @torch.no_grad()
    def copy_buffers(self, module: nn.Module) -> None:
        """Gives all processes the buffers of process 0: BatchNorm's running statistics differ where it saw shares."""
        if self.size > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, src=0)

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, on all of them."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values


ALONE = Ranks()


class SharedTrainBatches:
    """This process' share of every batch (`TrainBatches`)."""

    def __init__(self, batches: TrainBatches, ranks: Ranks) -> None:
        self._batches = batches
        self._ranks = ranks

    def __len__(self) -> int:
        return len(self._batches)

    def epoch(self, number: int) -> Iterator[Batch]:
        for batch in self._batches.epoch(number):
            yield self._ranks.share(batch)


class SharedEvalBatches:
    """This process' share of every batch (`EvalBatches`); a batch with fewer images than processes leaves some out."""

    def __init__(self, batches: EvalBatches, ranks: Ranks) -> None:
        self._batches = batches
        self._ranks = ranks

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches:
            shared = self._ranks.share(batch)
            if len(shared[1]):
                yield shared
