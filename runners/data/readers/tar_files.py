"""Images in class folders inside a .tar file: a split in one file, with the rules of `class_folders.py`.

timm reads such files as well, but only three formats of images, and labels an image by the folder that it is in,
wherever that is.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from runners.data.readers.class_folders import is_image, natural_order
from search_space.parsing.errors import first_of

__all__ = ["TarFile", "tar_file"]

_MOST_NAMED = 3


class TarFile:
    """Reader of the images of a .tar file.

    Attributes:
        root: path of the file.
        samples: (member, label) in the order of reading.
        targets: labels (N,), int64, in the same order.
        class_to_idx: name of a class -> its label.
        notes: what is in the file and is not read, as sentences.
    """

    def __init__(self, path: str, labelled: Sequence[tuple[tarfile.TarInfo, str]], notes: Sequence[str] = ()) -> None:
        self.root = path
        classes = sorted({name for _, name in labelled}, key=natural_order)
        self.class_to_idx = {name: index for index, name in enumerate(classes)}
        ordered = sorted(labelled, key=lambda each: natural_order(each[0].name))
        self.samples = [(member, self.class_to_idx[name]) for member, name in ordered]
        self.notes = tuple(notes)
        self._opened: tuple[int, tarfile.TarFile] | None = None

    @property
    def targets(self) -> np.ndarray:
        return np.array([label for _, label in self.samples], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[IO[bytes], int]:
        member, label = self.samples[index]
        stream = self._file().extractfile(member)
        assert stream is not None, "members that are no files have been left out"
        return stream, label

    def filename(self, index: int) -> str:
        return f"{self.root}/{self.samples[index][0].name}"

    def _file(self) -> tarfile.TarFile:
        # A process that was forked must not share the position in the file.
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), tarfile.open(self.root)  # noqa: SIM115  # closed with the reader
        return self._opened[1]


def tar_file(path: Path) -> tuple[TarFile, list[str]]:
    """The reader of a .tar file, and why it cannot be read as it is, as sentences.

    Raises:
        OSError: it is no .tar file.
    """
    images: list[tuple[tarfile.TarInfo, list[str]]] = []
    hidden, other = list[str](), list[str]()
    try:
        with tarfile.open(path) as opened:
            for member in opened:
                parts = [part for part in member.name.split("/") if part not in ("", ".")]
                if not member.isfile():
                    continue
                if any(part.startswith(".") or part == "__MACOSX" for part in parts):
                    hidden += [member.name] if is_image(member.name) else []
                elif is_image(member.name):
                    images.append((member, parts))
                else:
                    other.append(member.name)
    except tarfile.TarError as err:
        raise OSError(f"{path}: {err}") from err
    notes = [f"{len(hidden)} hidden files not read: {first_of(hidden, _MOST_NAMED)}"] if hidden else []
    notes += [f"{len(other)} other files not read: {first_of(other, _MOST_NAMED)}"] if other else []
    faults = list(_faults(images))
    labelled = [] if faults else [(member, parts[-2]) for member, parts in images]
    return TarFile(str(path), labelled, notes), faults


def _faults(images: Sequence[tuple[tarfile.TarInfo, list[str]]]) -> Iterator[str]:
    if not images:
        yield "no image in a class folder"
        return
    depth = min(len(parts) for _, parts in images)
    if depth == 1:
        beside = [member.name for member, parts in images if len(parts) == 1]
        yield f"images beside the class folders ({len(beside)}): {first_of(beside, _MOST_NAMED)}"
    elif deeper := sorted({os.path.dirname(member.name) for member, parts in images if len(parts) > depth}):
        yield f"folders of images inside a class folder ({len(deeper)}): {first_of(deeper, _MOST_NAMED)}"
    elif above := sorted({"/".join(parts[:-2]) for _, parts in images})[1:]:
        yield f"class folders in several folders, among them {first_of(above, _MOST_NAMED)}"
