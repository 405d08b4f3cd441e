"""Streams of TensorFlow Datasets (`tfds/`): prepared files below the data directory, read with their own package.

TensorFlow reads the records; images stay encoded and are decoded as all others are. Its own shuffling and its cache in
memory are off, so that a shard is the same every time.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from runners.data.readers.hugging_face import IMAGE_COLUMN, LABEL_COLUMN, check_columns, names_of_classes
from runners.data.readers.place import Place
from runners.data.streams.sample_stream import Sample, SampleStream, rows_of

__all__ = ["TensorFlowStream", "open_tensorflow_stream"]

_MOST_SHARDS = 256
_ID = "tfds_id"  # file and position of a record


class TensorFlowStream(SampleStream):
    """A split of a prepared dataset.

    Attributes:
        builder, split: what it is read with, for the fingerprint.
        input_key, target_key: its features that are images and labels.
    """

    def __init__(self, name: str, builder: Any, split: str, keys: tuple[str, str]) -> None:
        found = builder.info.splits[split]
        self.name = f"{name} {split}"
        self.builder = builder
        self.split = split
        self.input_key, self.target_key = keys
        self.num_samples = found.num_examples
        self.num_shards = min(_MOST_SHARDS, found.num_shards) if split in list(builder.info.splits) else 1
        self.class_to_idx = names_of_classes(dict(builder.info.features), self.target_key)
        self._num_files = found.num_shards

    def shard(self, number: int) -> Iterator[Sample]:
        package = import_module("tensorflow_datasets")
        # Of a slice (`train[:10%]`), which has no shards of its own, the whole.
        first, last = (at * self._num_files // self.num_shards for at in (number, number + 1))
        part = self.split if self.num_shards == 1 else f"{self.split}[{first}shard:{last}shard]"
        rows = self.builder.as_dataset(
            split=part,
            shuffle_files=False,
            decoders={self.input_key: package.decode.SkipDecoding()},
            read_config=package.ReadConfig(add_tfds_id=True, interleave_cycle_length=1, try_autocache=False),
        )
        errors = import_module("tensorflow").errors.OpError
        for index, row in enumerate(rows_of(self.name, package.as_numpy(rows), errors)):
            label = row[self.target_key]
            value = label.item() if getattr(label, "ndim", 1) == 0 else label
            yield Sample(number, index, row[_ID].decode(), row[self.input_key], value)


def open_tensorflow_stream(
    place: Place, split: str, *, download: bool, input_key: str | None, target_key: str | None
) -> Any:
    """A split as a stream whose length and classes are known.

    Raises:
        MissingColumn: it has no such features.
        ImportError, LookupError, ValueError, ...: the package cannot read it.
    """
    import_module("tensorflow").config.set_visible_devices([], "GPU")  # it would take all of a GPU's memory
    keys = input_key or IMAGE_COLUMN, target_key or LABEL_COLUMN
    builder = import_module("tensorflow_datasets").builder(place.name, data_dir=place.root)
    if download:
        builder.download_and_prepare()
    check_columns(dict(builder.info.features), *keys)
    return TensorFlowStream(place.name, builder, split, keys)
