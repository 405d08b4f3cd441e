"""Hugging Face datasets: rows with random access (`hfds/`) and streams (`hfids/`), by the names of their columns.

Written on the public functions of `datasets`, because timm's readers ask for columns called `image` and `label`, and
for the length of a stream, which a folder of files does not know before its files are counted.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, BinaryIO

from timm.data import create_dataset

from runners.data.readers.labelled_images import LabelledImages
from runners.data.readers.place import Place

__all__ = ["MissingColumn", "Rows", "hub_offline", "open_rows", "open_stream"]

_IMAGE, _LABEL = "image", "label"


class MissingColumn(Exception):
    """A column of images or labels has another name. `hint` says how to name it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Rows:
    """Reader of a dataset with random access: encoded images and their labels.

    Attributes:
        dataset: of the package `datasets`.
        label_key: name of its column of labels.
        class_to_idx: name of a class -> its label; empty where the dataset has no names.
    """

    def __init__(self, dataset: Any, image_key: str, label_key: str) -> None:
        import datasets  # pyright: ignore[reportMissingImports]  # an optional package

        _check_columns(dataset.column_names, image_key, label_key)
        self.dataset = dataset.cast_column(image_key, datasets.Image(decode=False))
        self.image_key = image_key
        self.label_key = label_key
        self.class_to_idx = _class_names(dataset.features, label_key)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[BinaryIO, Any]:
        row = self.dataset[index]
        image = row[self.image_key]
        if image is None:
            raise ValueError("there is no image")
        if image.get("bytes"):
            return io.BytesIO(image["bytes"]), row[self.label_key]
        return open(image["path"] or "", "rb"), row[self.label_key]

    def filename(self, index: int) -> str:
        image = self.dataset[index][self.image_key] or {}
        return image.get("path") or f"row {index}"


def open_rows(place: Place, split: str, *, in_chans: int, input_key: str | None, target_key: str | None) -> Any:
    """A split with random access.

    Raises:
        MissingColumn: it has no such columns.
        ImportError, OSError, ValueError, ...: `datasets` cannot load it.
    """
    datasets = import_module("datasets")
    found = datasets.load_dataset(place.name, split=split, cache_dir=place.root)
    return LabelledImages(Rows(found, input_key or _IMAGE, target_key or _LABEL), in_chans)


def open_stream(
    place: Place,
    split: str,
    *,
    is_training: bool,
    mode: str,
    download: bool,
    input_key: str | None,
    target_key: str | None,
) -> Any:
    """A split as a stream of timm's, whose length and classes are known.

    Raises:
        MissingColumn: it has no such columns.
        ImportError, OSError, ValueError, ...: `datasets` cannot load it.
    """
    datasets = import_module("datasets")
    image_key, label_key = input_key or _IMAGE, target_key or _LABEL
    builder = datasets.load_dataset_builder(place.name, cache_dir=place.root)
    options: dict[str, Any] = {"download": True} if download else {}
    features = builder.info.features
    if not download:
        stream = builder.as_streaming_dataset(split=split)
        features = stream.features or features
        if not getattr((builder.info.splits or {}).get(split), "num_examples", 0):
            # Without the images: rows of a table, or names of files.
            labels = stream.select_columns([label_key]) if features and label_key in features else stream
            options["num_samples"] = sum(1 for _ in labels)
    if features:
        _check_columns(features, image_key, label_key)
    found: Any = create_dataset(
        f"hfids/{place.name}",
        root=place.root,
        split=split,
        is_training=is_training,
        input_img_mode=mode,
        input_key=image_key,
        target_key=label_key,
        **options,
    )
    found.reader.class_to_idx = found.reader.class_to_idx or _class_names(features, label_key)
    return found


_SWITCHES = (("datasets.config", "HF_HUB_OFFLINE"), ("huggingface_hub.constants", "HF_HUB_OFFLINE"))


@contextmanager
def hub_offline() -> Iterator[None]:
    """Restrict the Hugging Face Hub's libraries to local files and their cache.

    `datasets.load_dataset` downloads by default. Its switch, the environment variable HF_HUB_OFFLINE, is read when the
    libraries are imported, and timm has imported them long before; so the module constants are set instead.

    Raises:
        ImportError: the package `datasets` is not installed.
    """
    modules = [(import_module(module), name) for module, name in _SWITCHES]
    before = [getattr(module, name) for module, name in modules]
    for module, name in modules:
        setattr(module, name, True)
    try:
        yield
    finally:
        for (module, name), value in zip(modules, before, strict=True):
            setattr(module, name, value)


def _check_columns(columns: Sequence[str] | Mapping[str, Any], image_key: str, label_key: str) -> None:
    names = [str(name) for name in columns]
    missing = [(what, key) for what, key in (("input_key", image_key), ("target_key", label_key)) if key not in names]
    if missing:
        wanted = " and ".join(repr(key) for _, key in missing)
        raise MissingColumn(
            f"has no column {wanted}, only {', '.join(names)}",
            f"name {' and '.join(f'{what}: COLUMN' for what, _ in missing)} in task.dataset",
        )


def _class_names(features: Any, label_key: str) -> dict[str, int]:
    names = getattr(features.get(label_key) if features else None, "names", None)
    return {name: index for index, name in enumerate(names or ())}
