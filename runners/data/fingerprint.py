"""Fingerprint of a dataset: equal if and only if training and measuring would read the same images and labels.

It is a digest over the manifest of both splits: for every file its name relative to the split, its label, its size and
the digest of its content; for data in arrays the digest of these. The name of the folder and times are not in it, so
that a copy on another machine has the same one. Names, because the order of the images follows from them.

A second look costs one `stat` per file (`FileDigests`). Not seen: the content of shards and streams that are read over
a network, which are known by name (`by_name`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from runners.data.parts import Part, parts_of
from runners.data.sources import source_of
from runners.machine.file_digests import FileDigests, user_file_digests
from search_space.schema.resources import Resources
from search_space.schema.trial import TaskSpec

__all__ = ["DataChanged", "Fingerprint", "Folder", "check_data", "difference", "fingerprint"]

_DIGITS = 16
_MOST_FOLDERS = 4096  # more would say nothing to a reader; the digest covers all
_MOST_NAMED = 5


class DataChanged(Exception):
    """The images or labels here are not those that the driver saw."""


@dataclass(frozen=True)
class Folder:
    """Files of one folder of a split: number, bytes, and a digest over all."""

    files: int
    bytes: int
    digest: str


@dataclass(frozen=True)
class Fingerprint:
    """Fingerprint of a dataset.

    Attributes:
        digest: 16 hexadecimal digits.
        files, bytes: of both splits; an array counts as one file.
        by_name: number of files of which only the name is known.
        folders: `train/CLASS` -> its files; empty for a dataset of more than 4,096 folders.
    """

    digest: str
    files: int
    bytes: int
    by_name: int = 0
    folders: Mapping[str, Folder] = field(default_factory=dict)


def fingerprint(
    task: TaskSpec, resources: Resources, digests: FileDigests, *, say: Callable[[str], None] = lambda text: None
) -> Fingerprint:
    """The fingerprint of the task's dataset.

    Args:
        digests: knows the files that were read before.
        say: called with a message before much is read.

    Raises:
        SpecError: the data is missing or cannot be read.
    """
    train, test = source_of(task.dataset).open(task.dataset, resources)
    total, by_name, num_bytes, num_files = hashlib.sha256(), 0, 0, 0
    folders: dict[str, list[tuple[int, bytes]]] = {}
    for role, split in (("train", train), ("test", test)):
        parts = parts_of(split)
        name = f"{task.dataset.name} {role} {os.path.abspath(resources.data_dir or '.')}"
        for part, (size, digest) in zip(parts, _contents(parts, name, digests, say), strict=True):
            line = f"{role}\0{part.name}\0{part.label}\0{size}\0{digest}\n".encode(errors="surrogateescape")
            total.update(line)
            folder = "/".join([role, *part.name.split("/")[:-1]])
            folders.setdefault(folder, []).append((size, line))
            by_name += not digest
            num_bytes += size
            num_files += 1
    summary = {name: _folder(found) for name, found in folders.items()} if len(folders) <= _MOST_FOLDERS else {}
    return Fingerprint(total.hexdigest()[:_DIGITS], num_files, num_bytes, by_name, summary)


def check_data(task: TaskSpec, resources: Resources, expected: str) -> None:
    """Compare the data of this machine with what the driver saw when it started.

    Raises:
        DataChanged: it is other data.
        SpecError: it cannot be read.
    """
    found = fingerprint(task, resources, user_file_digests()).digest
    if found != expected:
        raise DataChanged(
            f"{task.dataset.name} has the fingerprint {found} here, and had {expected} when the driver started: "
            "the files were changed, or this node has other ones"
        )


def difference(old: Fingerprint, new: Fingerprint) -> str:
    """What differs, for a message: `train/cat (40 files), test/dog (20 -> 18 files) and 2 more folders`."""
    names = sorted(name for name in {*old.folders, *new.folders} if old.folders.get(name) != new.folders.get(name))
    if not names:
        return f"{_count(old.files, new.files)}, {old.bytes} -> {new.bytes} bytes"
    named = [f"{name} ({_count(_files(old, name), _files(new, name))})" for name in names[:_MOST_NAMED]]
    more = len(names) - len(named)
    return ", ".join(named) + (f" and {more} more folder{'s' * (more > 1)}" if more else "")


def _contents(
    parts: Iterable[Part], name: str, digests: FileDigests, say: Callable[[str], None]
) -> Iterable[tuple[int, str]]:
    """Size and digest of every part; an empty digest where only the name is known."""
    paths = [part.content for part in parts if isinstance(part.content, str)]
    files = iter(digests.of(name, paths, say=say) if paths else ())
    for part in parts:
        if isinstance(part.content, bytes):
            yield len(part.content), hashlib.sha256(part.content).hexdigest()
        else:
            yield next(files) if part.content is not None else (0, "")


def _folder(found: list[tuple[int, bytes]]) -> Folder:
    digest = hashlib.sha256(b"".join(line for _, line in found)).hexdigest()
    return Folder(len(found), sum(size for size, _ in found), digest[:_DIGITS])


def _files(of: Fingerprint, name: str) -> int:
    return of.folders[name].files if name in of.folders else 0


def _count(old: int, new: int) -> str:
    return f"{new} file{'s' * (new != 1)}" if old == new else f"{old} -> {new} files"
