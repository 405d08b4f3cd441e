"""Parts of a split: the files, arrays and names that decide which images and labels it has.

timm's readers and torchvision's datasets keep them under different names; each kind is one function here. Files on
this machine are known by content, and so are arrays in memory. What is read over a network (shards and streams of a
hub) is known by name only, which `Part.content` None says.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from runners.data.dataset_info import Images

__all__ = ["Part", "parts_of"]


@dataclass(frozen=True)
class Part:
    """Part of a split.

    Attributes:
        name: relative to the root of the split, with `/`.
        label: class index of an image file; empty for a file or an array that holds its labels itself.
        content: path of a file, or the bytes of an array; None where only the name is known.
    """

    name: str
    label: str = ""
    content: str | bytes | None = None


def parts_of(split: Any) -> list[Part]:
    """The parts of a split that `Source.load` or timm returns, in the order in which it is read."""
    if isinstance(split, Images):
        return list(_arrays(pixels=split.pixels, labels=split.labels))
    if hasattr(split, "parts"):
        return split.parts()
    reader = getattr(split, "reader", split)
    for kind in (_samples, _archives, _cached_tables, _shards, _hub_builder, _arrays_of):
        if (found := kind(reader)) is not None:
            return list(found)
    raise NotImplementedError(f"the files of a {type(reader).__name__} are not known")


def _samples(reader: Any) -> Iterable[Part] | None:
    """Class folders (timm, torchvision's ImageFolder, ImageNet, Places365), and iNaturalist's index."""
    samples = getattr(reader, "samples", None)
    samples = getattr(reader, "imgs", None) if samples is None else samples
    if samples is None and hasattr(reader, "index") and hasattr(reader, "all_categories"):
        folders = [os.path.join(reader.root, name) for name in reader.all_categories]
        samples = [(os.path.join(folders[index], name), index) for index, name in reader.index]
    if samples is None or not len(samples) or not isinstance(samples[0][0], str):
        return None
    root = reader.root
    return (Part(_relative(path, root), str(label), path) for path, label in samples)


def _archives(reader: Any) -> Iterable[Part] | None:
    """Images in tar files: the archives. Their labels follow from the names inside."""
    if not hasattr(reader, "samples") or not hasattr(reader, "root"):
        return None
    root = Path(reader.root)
    archives = [root] if root.is_file() else sorted(root.rglob("*.tar"))
    return (Part(_relative(path, root.parent if root.is_file() else root), "", str(path)) for path in archives)


def _cached_tables(reader: Any) -> Iterable[Part] | None:
    """Hugging Face datasets with random access: the rows of the Arrow table, and image files that it only names."""
    dataset = getattr(reader, "dataset", None)
    table = getattr(getattr(dataset, "data", None), "table", None)
    return None if table is None else _rows(dataset, table)


def _rows(dataset: Any, table: Any) -> Iterator[Part]:
    if dataset._indices is not None:  # rows that were selected or reordered
        yield Part("indices", "", _bytes(np.asarray(dataset._indices.column(0))))
    files = {name: _files_in(table.column(name)) for name in table.column_names}
    mapped = [str(each["filename"]) for each in dataset.cache_files]
    if mapped and not any(files.values()):  # images inside the table: a file that is read once
        yield from (Part(os.path.basename(path), "", path) for path in mapped)
        return
    for name, paths in files.items():
        if paths:
            root = os.path.commonpath(paths)
            yield from (_file(path, _relative(path, root)) for path in paths)
        else:
            # Values as text: the buffers of equal columns differ where rows were sliced off.
            yield Part(name, "", repr(table.column(name).to_pylist()).encode(errors="surrogateescape"))


def _files_in(column: Any) -> list[str]:
    """Paths of an image column whose images are files; empty for any other column."""
    import pyarrow

    if not pyarrow.types.is_struct(column.type) or {field.name for field in column.type} != {"bytes", "path"}:
        return []
    if any(chunk.field("bytes").null_count < len(chunk) for chunk in column.chunks):
        return []
    return [path for chunk in column.chunks for path in chunk.field("path").to_pylist() if path]


def _shards(reader: Any) -> Iterable[Part] | None:
    """WebDataset: the shards of the split, by content where they are files."""
    files = getattr(reader, "shard_files", None)
    return None if files is None else (_file(place, name) for name, place in files)


def _hub_builder(reader: Any) -> Iterable[Part] | None:
    """Streams of TensorFlow Datasets and of the Hugging Face Hub: files of the builder where they are here."""
    builder = getattr(reader, "builder", None)
    if builder is None:
        return None
    found = [Part(f"{builder.info.full_name if hasattr(builder.info, 'full_name') else reader.name}:{reader.split}")]
    files = getattr(getattr(builder, "config", None), "data_files", None) or {}
    found += [_file(str(path)) for path in files.get(reader.split, ())]
    if hasattr(builder, "data_path") and os.path.isdir(builder.data_path):
        prefix = f"{builder.name}-{reader.split.partition('[')[0]}."
        found += [
            _file(str(path)) for path in sorted(Path(builder.data_path).iterdir()) if path.name.startswith(prefix)
        ]
    return found


def _arrays_of(dataset: Any) -> Iterable[Part] | None:
    """torchvision's CIFAR and MNIST, which hold all images in one array."""
    data, targets = getattr(dataset, "data", None), getattr(dataset, "targets", None)
    if not isinstance(data, np.ndarray | torch.Tensor) or targets is None:
        return None
    return _arrays(pixels=data, labels=targets)


def _arrays(**arrays: Any) -> Iterator[Part]:
    for name, array in arrays.items():
        values = np.asarray(array)
        yield Part(f"{name} {values.dtype} {values.shape}", "", _bytes(values))


def _bytes(values: np.ndarray) -> bytes:
    return np.ascontiguousarray(values).tobytes()


def _file(path: str, name: str = "") -> Part:
    """A file that is known by content where it is here, else by its name (default: the path)."""
    return Part(name or path, "", path if os.path.isfile(path) else None)


def _relative(path: str | Path, root: str | Path) -> str:
    path, root = os.fspath(path), os.fspath(root)
    inside = path[len(root) + 1 :] if path.startswith(root + os.sep) else os.path.relpath(path, root)
    return inside.replace(os.sep, "/")
