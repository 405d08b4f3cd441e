"""Items of a dataset, each augmented with a random stream of its own: named by the trial's seed, the epoch, the item.

So the augmentation depends neither on the number of loader workers nor on the dropout of the architecture. Items are
read with the generators as they are (a dataset of a plug-in may draw from them), and augmented with those generators
lent: for several items at a time, because to save and restore them costs ten times what it costs to seed them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset

from runners.data.random_streams import Seed, lent_streams, stream_seed

__all__ = ["SeededItems"]

_READ_AT_ONCE = 16  # decoded images that wait for their augmentation: many more would cost memory and save little


class SeededItems(Dataset, ABC):
    """Dataset whose items are augmented with the stream of (seed, epoch, item).

    Attributes:
        epoch: set before each epoch.
    """

    def __init__(self, seed: Seed) -> None:
        self._seed = seed
        self.epoch = 0

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: Any) -> Any:
        """An item as it is stored, decoded."""

    @abstractmethod
    def augmented(self, item: Any) -> Any:
        """An item that was read, as it enters a batch; draws from the global generators."""

    def names_of(self, index: Any) -> tuple[str | int, ...]:
        """What names the stream of an item beside the trial's seed and the epoch."""
        return (index,)

    def __getitem__(self, index: Any) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[Any]) -> list[Any]:
        """The items of a batch: what PyTorch's loader asks for, where a dataset has it."""
        found = []
        for start in range(0, len(indices), _READ_AT_ONCE):
            part = indices[start : start + _READ_AT_ONCE]
            items = [self.read(index) for index in part]
            with lent_streams() as seed_them:
                for index, item in zip(part, items, strict=True):
                    seed_them(stream_seed(self._seed, "augmentation", self.epoch, *self.names_of(index)))
                    found.append(self.augmented(item))
        return found
