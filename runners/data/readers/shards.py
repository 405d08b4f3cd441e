"""WebDataset shards on this machine: images and labels with random access, by an index of the archives.

A shard is read through once for its index (`shard_index.py`); afterwards images are read by offset, so that a shard is
like a folder: any image in any order, by any number of processes. What cannot be indexed is said, for all shards of a
split at once.
"""

from __future__ import annotations

import io
import os
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from runners.data.readers.shard_index import ShardFault, ShardIndex, indexes_of
from runners.data.readers.shard_info import ShardSplit
from runners.data.readers.shard_samples import SampleKeys
from search_space.parsing.errors import first_of

__all__ = ["Shards", "indexed_shards"]

_MOST_NAMED = 3
_MOST_COMPARED = 100
_MOST_OPEN = 64  # files at a time; a process may have about a thousand


class Shards:
    """Reader of the images of local shards.

    Attributes:
        root: folder of the dataset.
        shard_files: (name, path) of each shard, in the order of reading.
        targets: labels (N,), int64.
        input_key, target_key: how images and labels are named; empty for the defaults.
    """

    def __init__(
        self, root: str, files: Sequence[tuple[str, str]], indexes: Sequence[ShardIndex], keys: SampleKeys
    ) -> None:
        self.root = root
        self.shard_files = list(files)
        self.input_key, self.target_key = keys.image or "", keys.label or ""
        arrays = [index.arrays() for index in indexes]
        self._offsets, self._sizes, self.targets, self.key_digests = np.concatenate(
            [np.zeros((4, 0), np.int64), *arrays], axis=1
        )
        self._starts = np.cumsum([0, *(each.shape[1] for each in arrays)])
        self._names = [index.names for index in indexes]
        self._opened = _OpenFiles([path for _, path in files])

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[BinaryIO, int]:
        size = int(self._sizes[index])
        content = os.pread(self._opened.descriptor(self._shard_of(index)), size, int(self._offsets[index]))
        if len(content) < size:
            raise OSError("the shard ends too early")
        return io.BytesIO(content), int(self.targets[index])

    def filename(self, index: int) -> str:
        shard = self._shard_of(index)
        return f"{self.shard_files[shard][1]}/{self._names[shard].split(chr(0))[index - int(self._starts[shard])]}"

    @property
    def lengths(self) -> list[int]:
        """Number of images of each shard."""
        return np.diff(self._starts).tolist()

    def alike(self) -> Iterator[tuple[int, int]]:
        """Positions of images of two shards whose keys, sizes and labels are equal."""
        alike = self.key_digests ^ (self._sizes * 0x9E3779B1) ^ (self.targets << 40)
        order = np.argsort(alike, kind="stable")
        for at in np.flatnonzero(np.diff(alike[order]) == 0).tolist():
            yield int(order[at]), int(order[at + 1])

    def _shard_of(self, index: int) -> int:
        return int(np.searchsorted(self._starts, index, side="right")) - 1


class _OpenFiles:
    """Descriptors of files by their number, the latest 64 of this process; reads by offset share no position."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._process = os.getpid()
        self._descriptors: OrderedDict[int, int] = OrderedDict()

    def descriptor(self, number: int) -> int:
        if self._process != os.getpid():  # a copy in another process, where the numbers may mean other files
            self._process, self._descriptors = os.getpid(), OrderedDict()
        if number not in self._descriptors:
            if len(self._descriptors) == _MOST_OPEN:
                os.close(self._descriptors.popitem(last=False)[1])
            self._descriptors[number] = os.open(self._paths[number], os.O_RDONLY)
        self._descriptors.move_to_end(number)
        return self._descriptors[number]

    def __del__(self) -> None:
        if self._process == os.getpid():
            for descriptor in self._descriptors.values():
                os.close(descriptor)


def indexed_shards(root: Path, split: ShardSplit, keys: SampleKeys) -> tuple[Shards, list[str]]:
    """The reader of the shards of a split, and why they cannot be read as they are, as sentences.

    Raises:
        SpecError: a shard vanished while it was read.
    """
    keys = SampleKeys(keys.image, keys.label or split.label_field or None)
    files = [(name, os.path.join(root, name)) for name in split.names]
    there = [(name, path) for name, path in files if os.path.isfile(path)]
    faults = list(_wrong_files(files, there))
    names = {path: name for name, path in there}
    found = indexes_of(list(names), str(root), keys) if there else []
    faults += _wrong_samples(
        [(name, each) for name, each in zip(names.values(), found, strict=True) if isinstance(each, list)]
    )
    if faults:
        return Shards(str(root), [], [], keys), faults
    reader = Shards(str(root), files, [each for each in found if isinstance(each, ShardIndex)], keys)
    return reader, [*_wrong_numbers(reader, split), *_copies(reader)]


def _wrong_files(files: Sequence[tuple[str, str]], there: Sequence[tuple[str, str]]) -> Iterator[str]:
    if not files:
        yield "no shard is named"
    if missing := sorted({name for name, _ in files} - {name for name, _ in there}):
        yield f"{len(missing)} of {len(files)} shards are not there: {first_of(missing, _MOST_NAMED)}"
    counts = Counter(os.path.realpath(path) for _, path in there)
    if twice := sorted({name for name, path in there if counts[os.path.realpath(path)] > 1}):
        yield f"shards are named twice: {first_of(twice, _MOST_NAMED)}"


def _wrong_samples(broken: Sequence[tuple[str, list[ShardFault]]]) -> Iterator[str]:
    """One sentence for each kind of fault, with the first samples that have it."""
    samples: dict[str, list[str]] = {}
    for name, faults in broken:
        for fault in faults:
            if not fault.key:
                yield f"{name}: {fault.kind}"
            else:
                detail = f" ({fault.detail})" if fault.detail else ""
                samples.setdefault(fault.kind, []).append(f"{name}: {fault.key}{detail}")
    for kind, named in samples.items():
        yield f"{len(named)} sample{'s' * (len(named) > 1)} with {kind}: {first_of(named, _MOST_NAMED)}"


def _wrong_numbers(reader: Shards, split: ShardSplit) -> Iterator[str]:
    found = reader.lengths
    if split.num_samples is not None and split.num_samples != len(reader):
        yield f"{split.num_samples} samples are promised, and {len(reader)} are there"
    if split.lengths and len(split.lengths) != len(found):
        yield f"shard_lengths has {len(split.lengths)} numbers for {len(found)} shards"
    elif split.lengths:
        wrong = [
            f"{name} ({promised} promised, {count} there)"
            for (name, _), promised, count in zip(reader.shard_files, split.lengths, found, strict=True)
            if promised != count
        ]
        if wrong:
            yield f"{len(wrong)} shard{'s' * (len(wrong) > 1)} of another length: {first_of(wrong, _MOST_NAMED)}"
    if not len(reader):
        yield "no sample is in its shards"


def _copies(reader: Shards) -> Iterator[str]:
    """Samples that two shards hold. Equal keys alone are none: each shard may number its samples from 0."""
    found = []
    for number, (first, second) in enumerate(reader.alike()):
        if number == _MOST_COMPARED:
            break
        (ours, _), (theirs, _) = reader[first], reader[second]
        if ours.read() == theirs.read():
            found.append(f"{reader.filename(first)} and {reader.filename(second)}")
    if found:
        yield f"the same sample is in two shards: {first_of(found, _MOST_NAMED)}"
