"""Decoded images and the description of a dataset, made by the first trial of a run on a node and mapped by the others.

Both are files of `runners/machine/node_files.py`, whose names are digests of all that they depend on; first of all of
the fingerprint that this trial's data was just compared with, so a dataset that was changed has another file. A mapping
is private: pages that a trial writes into are its own from then on, and no other trial sees them.

Only what the driver has fingerprinted is shared, and only images in memory, so a file has at most `IN_MEMORY_BYTES`.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from runners.data.dataset_info import DataInfo, Images, Split
from runners.data.fingerprint import check_data
from runners.data.sources import source_of
from runners.machine.node_files import shared_value
from search_space.plugins import contributed, shipped_plugins
from search_space.schema.task import TaskSpec

__all__ = ["shared_description", "shared_splits"]

_DECODING_PACKAGES = ("pillow", "torch", "torchvision", "numpy")
_DIGITS = 32
_NAMES = ("train.pixels", "train.labels", "test.pixels", "test.labels")

Splits = tuple[Split, Split]


def shared_splits(task: TaskSpec, resources: Any, info: DataInfo, img_size: tuple[int, int]) -> Splits:
    """Training and test split of the task's dataset, as `Source.load` gives them for inputs of `img_size`.

    Raises:
        DataChanged: the files were changed since the trial began.
        SpecError, UnreadableImage: they cannot be read.
    """
    source = source_of(task.dataset)

    def make() -> Splits:
        return source.load(task.dataset, resources, info, img_size)

    def make_unchanged() -> Splits:
        splits = make()
        check_data(task, resources, info.fingerprint)  # what all trials will read is what the name says
        return splits

    if not info.fingerprint or info.storage != "memory" or task.dataset.num_built_in is not None:
        return make()
    # Where an input has more pixels than the images, these are kept in their own size.
    size = min(img_size, info.img_size, key=lambda each: each[0] * each[1])
    name = _name(task.dataset.model_dump_json(), resources, info.fingerprint, size, info.img_size)
    return shared_value(
        f"{name}.safetensors", make=make_unchanged, read=_read_splits, write=_write_splits, num_bytes=_bytes_of
    )


def shared_description(
    task: TaskSpec, resources: Any, fingerprint: str, describe: Callable[[TaskSpec, Any], DataInfo]
) -> DataInfo:
    """What `describe` says of the task's data, with its fingerprint; empty: unknown, so nothing is shared.

    Raises:
        SpecError: as `describe`.
    """

    def make() -> DataInfo:
        return replace(describe(task, resources), fingerprint=fingerprint)

    if not fingerprint or task.name in contributed("task"):  # whose `DataInfo` may be a class of its own
        return make()
    name = _name(task.model_dump_json(), resources, fingerprint)
    return shared_value(
        f"{name}.json",
        make=make,
        read=lambda path: msgspec.json.decode(path.read_bytes(), type=DataInfo),
        write=lambda found, path: path.write_bytes(msgspec.json.encode(found)),
        num_bytes=lambda found: len(msgspec.json.encode(found)),
    )


def _name(said: str, resources: Any, fingerprint: str, *more: object) -> str:
    """Digest of what a file depends on: what is read as which sizes, where it is, and the code that reads it."""
    place = os.path.abspath(resources.data_dir or ".")
    parts = [said, place, fingerprint, more, shipped_plugins(), _code()]
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:_DIGITS]


@functools.cache
def _code() -> str:
    """Digest of this package's sources, and the versions of the packages that decode."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in _DECODING_PACKAGES]
    digest = hashlib.sha256(" ".join(versions).encode())
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _read_splits(path: Path) -> Splits:
    with safe_open(path, framework="pt") as file:  # maps the file, privately
        train, of_train, test, of_test = map(file.get_tensor, _NAMES)
    return Images(train, of_train), Images(test, of_test)


def _write_splits(splits: Splits, path: Path) -> None:
    save_file(dict(zip(_NAMES, _tensors(splits), strict=True)), path)


def _bytes_of(splits: Splits) -> int:
    return sum(each.nbytes for each in _tensors(splits))


def _tensors(splits: Splits) -> list[Tensor]:
    found = []
    for split in splits:
        assert isinstance(split, Images), "a dataset in memory"
        found += [split.pixels.contiguous(), split.labels.contiguous()]
    return found
