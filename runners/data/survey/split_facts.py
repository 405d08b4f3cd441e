"""Facts about the images of a split, whatever reads it: files one by one, arrays, tables, archives and streams.

Image files are known by size and times. Tables, archives and shards are read through, once for each content: what was
found is kept under the digest of their files. Arrays in memory are hashed every time, which takes a second or two for
all of CIFAR.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from PIL import Image

from results.store.files import atomic_write
from runners.data.dataset_info import Images
from runners.data.images.plugin_datasets import PluginImages
from runners.data.parts import parts_of
from runners.data.readers.image_facts import ImageFact, facts_of_files, pixel_digest, reason
from runners.data.readers.labelled_images import DECODING_ERRORS, UnreadableImage
from runners.data.readers.labels import raw_labels
from runners.data.streams.sample_stream import Sample, SampleStream, UnreadableStream, in_file_order
from runners.machine.file_digests import user_file_digests
from runners.machine.user_cache import default_directory, image_facts
from search_space.parsing.errors import SpecError

__all__ = ["SplitFacts", "look_at"]

_Say = Callable[[str], None]


@dataclass(frozen=True)
class SplitFacts:
    """Facts about a split.

    Attributes:
        labels: as the reader gives them, in the order of the images.
        images: of each image.
        names: of an image, by its position, without the folder of the dataset.
        expected: number of images that the reader promises.
        places: of an image, by its position, with the folder.
        notes: what is there and is not read, as sentences.
    """

    labels: Sequence[Any] | np.ndarray
    images: Sequence[ImageFact]
    names: Callable[[int], str]
    expected: int
    notes: tuple[str, ...] = ()
    places: Callable[[int], str] | None = None

    @property
    def faults(self) -> list[tuple[str, str]]:
        """Places of the images that cannot be decoded, and why."""
        place = self.places or self.names
        return [(place(at), fact.fault) for at, fact in enumerate(self.images) if fact.fault]

    @property
    def sizes(self) -> Counter[tuple[int, int]]:
        """(height, width) -> number of images."""
        return Counter((fact.height, fact.width) for fact in self.images if not fact.fault)


def look_at(split: Any, name: str, *, say: _Say) -> SplitFacts | None:
    """Facts about a split as it was opened; None for what is read over a network, which is not looked at.

    Args:
        split: opened for evaluation: in order, every image once.
        name: of the dataset and its split, for messages.
        say: called with a message before much is read.
    """
    if isinstance(split, Images):
        return _of_array(split.pixels, split.labels)
    if isinstance(split, PluginImages):
        labels, facts = split.facts()
        return SplitFacts(labels, facts, f"{name}[{{}}]".format, len(split))
    reader = getattr(split, "reader", split)
    notes = tuple(getattr(reader, "notes", ()))
    samples = getattr(reader, "samples", None)
    if samples is not None and len(samples) and isinstance(samples[0][0], str):
        paths = [path for path, _ in samples]
        facts = facts_of_files(paths, reader.root, say=say)
        above = os.path.dirname(os.path.abspath(reader.root))

        def names(at: int) -> str:
            return os.path.relpath(paths[at], above)

        return SplitFacts(raw_labels(split), facts, names, len(paths), notes, paths.__getitem__)
    data = getattr(split, "data", None)
    if isinstance(data, np.ndarray | torch.Tensor):
        return _of_array(data, raw_labels(split))
    return _kept(split, reader, name, notes, say)


def _of_array(pixels: Any, labels: Any) -> SplitFacts:
    values = np.ascontiguousarray(np.asarray(pixels))
    height, width = values.shape[1:3] if values.ndim == 3 or values.shape[-1] <= 4 else values.shape[2:4]
    facts = [ImageFact(height, width, hashlib.blake2b(each.tobytes(), digest_size=16).hexdigest()) for each in values]
    return SplitFacts(np.asarray(labels), facts, "image {}".format, len(facts))


class _Found(msgspec.Struct):
    """What was found in tables, archives, shards or streams. Labels are as the reader has them; names of streams only,
    because the other readers tell them."""

    labels: list[Any]
    images: list[tuple[int, int, str, str]]
    names: list[str] = []


def _kept(split: Any, reader: Any, name: str, notes: tuple[str, ...], say: _Say) -> SplitFacts | None:
    parts = parts_of(split)
    paths = [part.content for part in parts if isinstance(part.content, str)]
    is_stream = isinstance(split, SampleStream)
    is_local = bool(paths) or any(part.content is not None for part in parts)
    if is_stream and (not is_local or _is_remote(parts)):
        return None
    digests = iter(user_file_digests().of(f"survey {name}", paths, say=say)) if paths else iter(())
    keys = [getattr(reader, name, "") for name in ("image_key", "input_key", "label_key", "target_key")]
    key = hashlib.sha256(f"{type(reader).__name__} {keys}".encode())
    for part in parts:
        content = part.content
        known = next(digests)[1] if isinstance(content, str) else hashlib.sha256(content or b"").hexdigest()
        key.update(f"\n{part.name}\0{known}".encode(errors="surrogateescape"))
    directory = default_directory()
    path = None if directory is None else image_facts(directory) / "splits" / f"{key.hexdigest()[:32]}.msgpack"
    found = _load(path)
    if found is None:
        found = _read(split, name, say)
        _save(path, found)
    facts = [ImageFact(*each) for each in found.images]
    places = found.names.__getitem__ if is_stream else lambda at: reader.filename(at) or f"image {at}"
    root = getattr(reader, "root", None)
    above = f"{os.path.dirname(os.path.abspath(root))}{os.sep}" if root else ""
    return SplitFacts(found.labels, facts, lambda at: places(at).removeprefix(above), len(split), notes, places)


def _is_remote(parts: Any) -> bool:
    """Whether a shard is read over a network or from a command: it has a name and no file."""
    return any(part.content is None and ("://" in part.name or part.name.startswith("pipe:")) for part in parts)


def _read(split: Any, name: str, say: _Say) -> _Found:
    say(f"reading the images of {name}, once, to see whether all can be read")
    found = _Found([], [])
    for image, label, fault, name in _images(split):
        found.labels.append(label)
        found.names += [name] * isinstance(split, SampleStream)
        if image is None:
            found.images.append((0, 0, "", fault))
        else:
            found.images.append((image.height, image.width, pixel_digest(image), ""))
    return found


def _images(split: Any) -> Iterator[tuple[Image.Image | None, Any, str, str]]:
    """Image, or None, label, why there is no image, and name of each sample of a stream."""
    if isinstance(split, SampleStream):
        try:
            yield from map(_of_sample, in_file_order(split))
        except UnreadableStream as err:
            yield None, None, "its images end here", str(err)
        return
    labels = raw_labels(split)
    for index in range(len(split)):
        label = labels[index]
        value = label.item() if isinstance(label, np.generic) else label
        try:
            stream, _ = split.reader[index]
            with stream, Image.open(stream) as image:
                image.load()
                yield image, value, "", ""
        except (*DECODING_ERRORS, UnreadableImage) as err:
            yield None, value, reason(err), ""


def _of_sample(sample: Sample) -> tuple[Image.Image | None, Any, str, str]:
    try:
        with Image.open(io.BytesIO(sample.encoded)) as opened:
            opened.load()
            return opened.copy(), sample.label, "", sample.name
    except DECODING_ERRORS as err:
        return None, sample.label, sample.fault or reason(err), sample.name


def _load(path: Path | None) -> _Found | None:
    try:
        return None if path is None else msgspec.msgpack.decode(path.read_bytes(), type=_Found)
    except (OSError, msgspec.DecodeError):
        return None


def _save(path: Path | None, found: _Found) -> None:
    if path is None or any(fault for _, _, _, fault in found.images):
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, msgspec.msgpack.encode(found))
    except (OSError, SpecError, TypeError, NotImplementedError):
        pass  # a cache that cannot be written costs time only; labels of unusual types are refused anyway
