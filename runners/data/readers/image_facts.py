"""Facts about image files: whether they can be decoded, their sizes, and a digest of their pixels.

A file is decoded once and afterwards known by its size and times (`FileFacts`), so that a second look at 100,000 files
costs one `stat` each. Two files with equal pixels are the same image, whatever their names and formats.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from runners.data.decoding import in_mode
from runners.data.readers.labelled_images import DECODING_ERRORS
from runners.machine.file_digests import FAULT, FileFacts
from runners.machine.user_cache import default_directory, image_facts

__all__ = ["ImageFact", "facts_of_files", "forget", "known_sizes", "pixel_digest"]

_MANY = 5000


@dataclass(frozen=True)
class ImageFact:
    """What is known of one image.

    Attributes:
        height, width: 0 where it cannot be decoded.
        digest: of its pixels, 32 hexadecimal digits; empty where it cannot be decoded.
        fault: why not.
    """

    height: int
    width: int
    digest: str
    fault: str = ""


def facts_of_files(paths: Sequence[str], root: str, *, say: Callable[[str], None]) -> list[ImageFact]:
    """Facts of the image files of a split, in their order.

    Args:
        root: folder of the split, under which they are kept.
        say: called with a message before many files are decoded.

    Raises:
        SpecError: a file is gone.
    """
    return [_fact(text) for _, text in _store(default_directory()).of(_name(root), paths, say=say)]


def known_sizes(paths: Sequence[str], root: str) -> list[tuple[int, int] | None]:
    """(height, width) of image files, from their headers where they have not been decoded before; None where a file is
    no image."""
    known = _store(default_directory()).known(_name(root), paths)
    return [
        _size_by_header(path) if text is None else (_fact(text).height, _fact(text).width)
        for path, text in zip(paths, known, strict=True)
    ]


def pixel_digest(image: Image.Image) -> str:
    """Digest of size and pixels; a grey image has that of the same image in colours."""
    pixels = in_mode(image, 3)
    return hashlib.blake2b(f"{pixels.size}".encode() + pixels.tobytes(), digest_size=16).hexdigest()


def forget() -> None:
    """Forget what this process knows of image files; what is kept in the cache directory stays."""
    _store.cache_clear()


@functools.cache
def _store(directory: Path | None) -> FileFacts:
    return FileFacts(None if directory is None else image_facts(directory), _read, _announce)


def _read(path: str) -> str:
    if not os.path.isfile(path):
        return f"{FAULT}it is no file"
    if not os.path.getsize(path):
        return f"{FAULT}it is empty"
    try:
        with Image.open(path) as image:
            height, width = image.height, image.width
            return f"{height} {width} {pixel_digest(image)}"
    except DECODING_ERRORS as err:
        return f"{FAULT}{reason(err, path)}"


def reason(err: BaseException, path: str = "") -> str:
    """Message of an error of Pillow, one line without the path."""
    text = next(iter(str(err).splitlines()), "") or type(err).__name__
    return "it is no image that can be read" if "cannot identify" in text else text.replace(path, "") if path else text


def _fact(text: str) -> ImageFact:
    if text.startswith(FAULT):
        return ImageFact(0, 0, "", text.removeprefix(FAULT))
    height, width, digest = text.split(" ")
    return ImageFact(int(height), int(width), digest)


def _size_by_header(path: str) -> tuple[int, int] | None:
    try:
        if os.path.isfile(path):  # a pipe would never end
            with Image.open(path) as image:
                return image.height, image.width
    except DECODING_ERRORS:
        pass
    return None


def _name(root: str) -> str:
    return f"images {os.path.abspath(root)}"


def _announce(name: str, files: int, size: int) -> str:
    what = name.removeprefix("images ")
    return f"decoding {files} images of {what}, once, to see whether all can be read" * (files > _MANY)
