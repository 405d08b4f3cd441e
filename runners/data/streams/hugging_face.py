"""Streams of Hugging Face datasets (`hfids/`): local files or the Hub, read with the package `datasets`.

Images are left encoded; where a row has the path of a file only, the file is read here. A shard is one or several of
the files that the dataset has, so a dataset of one file has one shard.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from runners.data.readers.hugging_face import (
    IMAGE_COLUMN,
    LABEL_COLUMN,
    check_columns,
    names_of_classes,
)
from runners.data.readers.place import Place
from runners.data.streams.sample_stream import Sample, SampleStream, rows_of

__all__ = ["HuggingFaceStream", "open_hugging_face_stream"]

_MOST_SHARDS = 256


class HuggingFaceStream(SampleStream):
    """A split of a dataset of the package `datasets`, opened for streaming.

    Attributes:
        builder, split: what it is read with, for the fingerprint.
        input_key, target_key: its columns of images and labels.
    """

    def __init__(self, name: str, builder: Any, split: str, rows: Any, keys: tuple[str, str], num_samples: int) -> None:
        self.name = f"{name} {split}"
        self.builder = builder
        self.split = split
        self.input_key, self.target_key = keys
        self.num_shards = min(_MOST_SHARDS, rows.num_shards)
        self.num_samples = num_samples
        self.class_to_idx = names_of_classes(rows.features, self.target_key)
        self._rows = rows
        self._root = f"{name}/" if os.path.isdir(name) else ""

    def shard(self, number: int) -> Iterator[Sample]:
        rows = self._rows if self.num_shards == 1 else self._rows.shard(num_shards=self.num_shards, index=number)
        for index, row in enumerate(rows_of(self.name, rows)):
            image, label = row[self.input_key] or {}, row[self.target_key]
            name = (image.get("path") or f"image {index} of part {number}").removeprefix(self._root)
            try:
                yield Sample(number, index, name, _encoded(image), label)
            except OSError as err:
                yield Sample(number, index, name, b"", label, err.strerror or str(err))


def open_hugging_face_stream(place: Place, split: str, *, input_key: str | None, target_key: str | None) -> Any:
    """A split as a stream whose length and classes are known.

    Raises:
        MissingColumn: it has no such columns.
        ImportError, OSError, ValueError, ...: `datasets` cannot load it.
    """
    datasets = import_module("datasets")
    keys = input_key or IMAGE_COLUMN, target_key or LABEL_COLUMN
    builder = datasets.load_dataset_builder(place.name, cache_dir=place.root)
    rows = builder.as_streaming_dataset(split=split)
    columns = rows.features or builder.info.features or next(iter(rows.take(1)), {})
    check_columns(columns, *keys)
    known = (builder.info.splits or {}).get(split)
    num_samples = getattr(known, "num_examples", 0)
    if not num_samples:  # without the images: rows of a table, or names of files
        num_samples = sum(1 for _ in rows.select_columns([keys[1]]))
    rows = rows.select_columns(list(keys)).cast_column(keys[0], datasets.Image(decode=False))
    return HuggingFaceStream(place.name, builder, split, rows, keys, num_samples)


def _encoded(image: dict[str, Any]) -> bytes:
    if image.get("bytes"):
        return image["bytes"]
    if not image.get("path"):
        raise OSError("there is no image")
    # `datasets` requires fsspec, which opens what its paths name: files, members of archives, files of the Hub.
    with import_module("fsspec").open(image["path"], "rb") as stream:
        return stream.read()
