"""Process group of a trial: rank, world size, sharding of batches, and collectives.

Every process iterates over the same batches in the same order and takes its shard of each, so that together they
compute what one process would: same global batch, same augmentation, same pairs and lambda of mixup. Losses are
weighted by the size of the shard, metrics are sums over the processes, decisions are those of rank 0. `ALONE` is the
group of a single process, for which all of this does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = ["ALONE", "ProcessGroup", "in_order"]

_LOOK_EVERY = 10
"""Updates between two polls whether to stop: each is a collective, so the processes wait for one another."""


@dataclass(frozen=True)
class ProcessGroup:
    """Process `rank` of `size`; with several, torch's default process group is initialised."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def shard_of(self, num: int) -> Tensor:
        """Positions of this process's shard of a batch of `num` images.

        The shard has positions from the front and their mirror positions at the back, because mixup pairs image i with
        image `num` - 1 - i and must find the same pairs in the shard. The middle image of an odd number goes to the
        last process. May be empty where there are fewer images than processes.
        """
        pairs = num // 2
        begin, end = (pairs * at // self.size for at in (self.rank, self.rank + 1))
        front = torch.arange(begin, end)
        middle = torch.tensor([pairs] if num % 2 and self.rank == self.size - 1 else [], dtype=torch.int64)
        return torch.cat([front, middle, num - 1 - front.flip(0)])

    def weight(self, num: int, of: int) -> float:
        """Factor for the mean loss over `num` of `of` images, so that the mean over processes is that of all images."""
        return num * self.size / of

    def mean(self, value: Tensor) -> Tensor:
        """Mean over the processes."""
        if self.size == 1:
            return value
        total = value.clone()
        dist.all_reduce(total)
        return total / self.size

    def agree(self, answer: Callable[[], Any]) -> bool:
        """Answer of rank 0, broadcast to all."""
        if self.size == 1:
            return bool(answer())
        shared = torch.tensor([int(bool(answer())) if self.is_first else 0])  # on the CPU: no GPU synchronisation
        dist.broadcast(shared, src=0)
        return bool(shared.item())

    def now_and_then(self, answer: Callable[[], bool]) -> Callable[[], bool]:
        """`answer` of rank 0, evaluated once in a number of calls; all processes must call it equally often."""
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
        """Broadcast the buffers of rank 0: running statistics of BatchNorm differ between shards."""
        if self.size > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, src=0)

    def gather(self, value: Any) -> list[Any]:
        """Values of all processes, on all of them."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values


def in_order(shares: Sequence[Tensor], *, batch_size: int) -> Tensor:
    """Values of all images in the order of the images.

    Args:
        shares: by rank, one value per image in the order in which the process saw its shards of the batches; together
            they have every image once.
    """
    num = sum(map(len, shares))
    ordered = shares[0].new_empty((num, *shares[0].shape[1:]))
    for rank, share in enumerate(shares):
        shard_of = ProcessGroup(rank, len(shares)).shard_of
        shards = [begin + shard_of(min(batch_size, num - begin)) for begin in range(0, num, batch_size)]
        ordered[torch.cat([torch.zeros(0, dtype=torch.int64), *shards])] = share
    return ordered


ALONE = ProcessGroup()
