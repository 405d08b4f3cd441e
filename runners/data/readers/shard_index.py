"""Index of a shard: where each image of a tar file is, and its label.

The index of a shard is text, kept by size and times of the shard (`FileFacts`); a shard that cannot be indexed has a
list of its faults instead. Python's `tarfile` takes an archive that was cut off between two members, or whose later
headers are damaged, for a shorter one; so the end mark, a block of zeros, is looked for.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np

from runners.data.readers.shard_samples import Member, SampleFault, SampleKeys, grouped
from runners.machine.file_digests import FAULT, FileFacts
from runners.machine.user_cache import default_directory, image_facts

__all__ = ["ShardFault", "ShardIndex", "forget", "indexes_of"]

_BLOCK = 512
_END = bytes(_BLOCK)
_MOST_BYTES_OF_TEXT = 2**24  # of a label or a .json: more is no label
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_TAR_ERRORS = (tarfile.TarError, OSError, ValueError, EOFError, OverflowError, RecursionError, LookupError, TypeError)
"""What `tarfile` raises for damaged headers."""


class ShardFault(msgspec.Struct, array_like=True):
    """What is wrong with a sample; with the shard as a whole, where `key` is empty."""

    kind: str
    key: str = ""
    detail: str = ""


class ShardIndex(msgspec.Struct, array_like=True):
    """Images of a shard in their order.

    Attributes:
        names: of their members, separated by a zero character.
        columns: offsets and sizes in bytes, labels, and digests of the keys: int64, one array after the other.
    """

    names: str
    columns: bytes

    def arrays(self) -> np.ndarray:
        """(4, N), int64: offsets, sizes, labels, digests of the keys."""
        return np.frombuffer(self.columns, dtype="<i8").reshape(4, -1)


def indexes_of(paths: Sequence[str], root: str, keys: SampleKeys) -> list[ShardIndex | list[ShardFault]]:
    """Index of each shard, or its faults.

    Args:
        root: folder of the dataset, under which they are kept.

    Raises:
        SpecError: a shard is gone.
    """
    name = "\0".join(["shards", os.path.abspath(root), *paths])
    return [
        msgspec.json.decode(text.removeprefix(FAULT), type=list[ShardFault])
        if text.startswith(FAULT)
        else msgspec.json.decode(text, type=ShardIndex)
        for _, text in _store(default_directory(), keys).of(f"{name}\0{keys}", paths)
    ]


def forget() -> None:
    """Forget what this process knows of shards; what is kept in the cache directory stays."""
    _store.cache_clear()


@functools.cache
def _store(directory: Path | None, keys: SampleKeys) -> FileFacts:
    folder = None if directory is None else image_facts(directory)
    return FileFacts(folder, functools.partial(_read, keys=keys), lambda name, files, size: "")


def _read(path: str, keys: SampleKeys) -> str:
    faults: list[ShardFault] = []
    names: list[str] = []
    rows: list[tuple[int, int, int, int]] = []
    seen = set[str]()
    try:
        with open(path, "rb") as stream:
            for sample in grouped(_members(stream)):
                if sample.key in seen:
                    faults.append(ShardFault("a key that comes again", sample.key))
                seen.add(sample.key)
                try:
                    image, label = sample.image(keys), sample.label(keys)
                except SampleFault as fault:
                    faults.append(ShardFault(fault.kind, fault.key, fault.detail))
                    continue
                names.append(image.name)
                rows.append((image.offset, image.size, label, _digest(sample.key)))
    except _DamagedShard as err:
        faults.append(ShardFault(str(err)))
    except OSError as err:
        faults.append(ShardFault(err.strerror or str(err)))
    if faults:
        return FAULT + msgspec.json.encode(faults).decode()
    columns = np.array(rows, dtype="<i8").reshape(-1, 4).T
    return msgspec.json.encode(ShardIndex("\0".join(names), columns.tobytes())).decode()


class _DamagedShard(Exception):
    pass


def _members(stream: BinaryIO) -> Iterator[Member]:
    """The files of an archive.

    Raises:
        _DamagedShard: it is no tar file, or not a whole one.
    """
    end, last = 0, ""
    try:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            for each in archive:
                if each.size < 0 or each.offset < end or each.issparse():
                    raise _DamagedShard(f"it is damaged at {_shown(each.name)!r}")
                has_content = each.isreg()
                end, last = each.offset_data + has_content * _blocks(each.size) * _BLOCK, each.name
                if has_content:
                    yield Member(each.name, each.offset_data, each.size, functools.partial(_text, stream, each))
    except _DamagedShard:
        raise
    except _TAR_ERRORS as err:
        raise _DamagedShard(_no_tar(stream, last, err)) from err
    stream.seek(end)
    if stream.read(_BLOCK) != _END:
        raise _DamagedShard(f"it is cut off or damaged after {_shown(last)!r}" if last else "it is no tar file")


def _no_tar(stream: BinaryIO, last: str, err: BaseException) -> str:
    if last:
        return f"it is cut off or damaged after {_shown(last)!r}"
    stream.seek(0)
    head = stream.read(8)
    if not head:
        return "it is empty"
    kind = next((kind for mark, kind in _COMPRESSED.items() if head.startswith(mark)), "")
    return f"it is compressed ({kind}), and images are read by their place: unpack it" if kind else "it is no tar file"


def _text(stream: BinaryIO, member: tarfile.TarInfo) -> bytes:
    if member.size > _MOST_BYTES_OF_TEXT:
        return b""
    return os.pread(stream.fileno(), member.size, member.offset_data)


def _blocks(size: int) -> int:
    return -(-size // _BLOCK)


def _digest(key: str) -> int:
    found = hashlib.blake2b(key.encode(errors="surrogateescape"), digest_size=8).digest()
    return int.from_bytes(found, "little", signed=True)


def _shown(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()
