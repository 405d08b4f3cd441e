"""WebDataset shards that are read over a network or from a command (`pipe:`), one after the other.

The package `webdataset` opens the addresses. Which members are a sample, its image and its label, is the same as for
shards on this machine (`readers/shard_samples.py`).
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from importlib import import_module

from runners.data.readers.shard_info import ShardSplit
from runners.data.readers.shard_samples import Member, SampleFault, SampleKeys, grouped
from runners.data.readers.split_folders import SplitNotFound
from runners.data.streams.sample_stream import Sample, SampleStream, rows_of

__all__ = ["NetworkShards", "is_address", "read_beside_shards"]


class NetworkShards(SampleStream):
    """Shards of a split, by their addresses.

    Attributes:
        shard_files: (name, address) of each shard.
        input_key, target_key: how images and labels are named; empty for the defaults.

    Raises:
        SplitNotFound: the number of samples is not said.
    """

    def __init__(self, name: str, root: str, split: ShardSplit, keys: SampleKeys) -> None:
        if not split.num_samples:
            hint = "write it into _info.json (num_samples), or behind the shards: train-{000..009}.tar|10000"
            raise SplitNotFound(
                "the number of samples in its shards is not said, and counting would read them all", hint
            )
        self.name = name
        self.num_shards = len(split.names)
        self.num_samples = split.num_samples
        self.class_to_idx = {}
        self.shard_files = [(name, name if is_address(name) else _below(root, name)) for name in split.names]
        self.input_key, self.target_key = keys.image or "", keys.label or split.label_field
        self._keys = SampleKeys(keys.image, self.target_key or None)

    def shard(self, number: int) -> Iterator[Sample]:
        name, address = self.shard_files[number]
        for index, sample in enumerate(grouped(_members(address))):
            try:
                encoded, label, fault = sample.image(self._keys).read(), sample.label(self._keys), ""
            except SampleFault as err:
                encoded, label, fault = b"", None, f"it has {err.kind}{err.detail and f' ({err.detail})'}"
            yield Sample(number, index, f"{name}/{sample.key}", encoded, label, fault)


def is_address(name: str) -> bool:
    """Whether the name of a shard or of a folder is an address or a command, and no path."""
    return "://" in name or name.startswith("pipe:")


def read_beside_shards(root: str, name: str) -> bytes | None:
    """Content of a file in the folder of the shards; None where there is none."""
    try:
        if not is_address(root):
            with open(os.path.join(root, name), "rb") as stream:
                return stream.read()
        with import_module("webdataset").gopen(_below(root, name)) as stream:
            return stream.read()
    except OSError:
        return None


def _below(root: str, name: str) -> str:
    return f"{root.rstrip('/')}/{name}" if is_address(root) else os.path.join(root, name)


def _members(address: str) -> Iterator[Member]:
    return rows_of(address, _opened_members(address), tarfile.TarError)


def _opened_members(address: str) -> Iterator[Member]:
    with import_module("webdataset").gopen(address) as stream, tarfile.open(fileobj=stream, mode="r|*") as archive:
        for each in archive:
            content = archive.extractfile(each) if each.isreg() else None
            if content is not None:
                yield _held(each, content.read())


def _held(member: tarfile.TarInfo, content: bytes) -> Member:
    return Member(member.name, member.offset_data, member.size, lambda: content)
