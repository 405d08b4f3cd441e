"""Hugging Face datasets with random access (`hfds/`), by the names of their columns.

Written on the public functions of `datasets`, because timm's reader asks for columns called `image` and `label`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, BinaryIO

from runners.data.readers.labelled_images import LabelledImages
from runners.data.readers.place import Place

__all__ = [
    "IMAGE_COLUMN",
    "LABEL_COLUMN",
    "MissingColumn",
    "Rows",
    "check_columns",
    "hub_offline",
    "names_of_classes",
    "open_rows",
]

IMAGE_COLUMN, LABEL_COLUMN = "image", "label"


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

        check_columns(dataset.column_names, image_key, label_key)
        self.dataset = dataset.cast_column(image_key, datasets.Image(decode=False))
        self.image_key = image_key
        self.label_key = label_key
        self.class_to_idx = names_of_classes(dataset.features, label_key)

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
    return LabelledImages(Rows(found, input_key or IMAGE_COLUMN, target_key or LABEL_COLUMN), in_chans)


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


def check_columns(columns: Sequence[str] | Mapping[str, Any], image_key: str, label_key: str) -> None:
    """Refuse a dataset without these columns.

    Raises:
        MissingColumn: the message names those there are.
    """
    names = [str(name) for name in columns]
    missing = [(what, key) for what, key in (("input_key", image_key), ("target_key", label_key)) if key not in names]
    if missing:
        wanted = " and ".join(repr(key) for _, key in missing)
        raise MissingColumn(
            f"has no column {wanted}, only {', '.join(names)}",
            f"name {' and '.join(f'{what}: COLUMN' for what, _ in missing)} in task.dataset",
        )


def names_of_classes(features: Any, label_key: str) -> dict[str, int]:
    """Name of a class -> its label; empty where the labels have no names."""
    names = getattr(features.get(label_key) if features else None, "names", None)
    return {name: index for index, name in enumerate(names or ())}
