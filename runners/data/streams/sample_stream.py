"""A split without random access: shards of encoded images, read one after the other, each image once.

The process that trains reads the samples, in an order of its own (`order.py`); the workers of its loader decode and
augment them (`images.py`). So neither their number nor an interruption decides what is trained on, and the samples can
be counted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["Sample", "SampleStream", "UnreadableStream", "WrongCount", "in_file_order", "rows_of"]


_Row = TypeVar("_Row")


class UnreadableStream(Exception):
    """A shard of a stream cannot be read, or not to its end."""


class WrongCount(Exception):
    """A pass over a stream read another number of images than it says."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its label.

    Attributes:
        shard, index: number of its shard, and its position there: which sample it is, in any order of reading.
        name: for messages.
        encoded: content of the image file.
        label: as the data has it.
        fault: why it cannot be used; empty if nothing is known against it.
    """

    shard: int
    index: int
    name: str
    encoded: bytes
    label: Any
    fault: str = ""


class SampleStream(ABC):
    """A split that is read as a stream.

    Attributes:
        name: of the dataset and the split, for messages.
        num_shards: parts that can be read in any order.
        num_samples: images of all shards, as the data says.
        class_to_idx: name of a class -> its label; empty where there are no names.
        notes: what is there and is not read, as sentences.
    """

    name: str
    num_shards: int
    num_samples: int
    class_to_idx: dict[str, int]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.num_samples

    @abstractmethod
    def shard(self, number: int) -> Iterator[Sample]:
        """The samples of a shard, always in the same order."""


def rows_of(name: str, rows: Iterable[_Row], *errors: type[Exception]) -> Iterator[_Row]:
    """The rows that a library reads, of which it raises many types where they cannot be read.

    Args:
        name: of what is read, for the message.
        errors: of the library, beside those of Python.

    Raises:
        UnreadableStream: in their place.
    """
    try:
        yield from rows
    except (OSError, EOFError, ValueError, RuntimeError, LookupError, OverflowError, *errors) as err:
        reason = next(iter(str(err).strip().splitlines()), "") or type(err).__name__
        raise UnreadableStream(f"{name}: {reason}") from err


def in_file_order(stream: SampleStream) -> Iterator[Sample]:
    """All samples of a stream, shard by shard."""
    for number in range(stream.num_shards):
        yield from stream.shard(number)
