"""Files that belong to a training of the user's own: their content is part of where its numbers come from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from runners.data.fingerprint import DataChanged
from runners.machine.file_digests import FileDigests, user_file_digests
from runners.training.foreign.command import command_line
from search_space.parsing.errors import Problem, SpecError
from search_space.schema.resources import Resources
from search_space.schema.task import CommandSpec, ForeignSpec

__all__ = ["check_files", "files_digest", "script_digest"]

_DIGITS = 16


def files_digest(task: ForeignSpec, resources: Resources, digests: FileDigests | None = None) -> str:
    """Digest over name and content of what `task.files` names, relative to the sweep; empty without any.

    Raises:
        SpecError: a file is missing or cannot be read.
    """
    base = Path(resources.sweep_dir or ".")
    found: list[tuple[str, Path]] = []
    for name in task.files:
        path = base / Path(name).expanduser()
        if not path.exists():
            raise SpecError(Problem(f"no such file: {path}", path="task.files", hint="paths are relative to the sweep"))
        found += [(name, path)] if path.is_file() else [(f"{name}/{inner}", path / inner) for inner in _below(path)]
    return _digest("task.files", found, digests) if found else ""


def script_digest(task: CommandSpec, resources: Resources, digests: FileDigests | None = None) -> str:
    """Digest over the files that `argv` names: the scripts. The folder they are in does not count."""
    base = Path(resources.sweep_dir or ".")
    paths = [Path(text) for text in command_line(task, base) if os.path.isabs(text)]
    files = [(path.name, path) for path in paths if path.is_file() and base.resolve() in path.resolve().parents]
    return _digest("task.argv", files, digests) if files else ""


def check_files(task: ForeignSpec, resources: Resources, expected: str) -> None:
    """Compare the files of this machine with what the driver saw.

    Raises:
        DataChanged: they are others.
        SpecError: they cannot be read.
    """
    found = files_digest(task, resources)
    if found != expected:
        raise DataChanged(
            f"the files of the task have the digest {found} here, and had {expected} when the driver started: they "
            "were changed, or this node has other ones"
        )


def _below(folder: Path) -> Iterator[str]:
    for path, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        yield from (os.path.relpath(os.path.join(path, name), folder) for name in sorted(names))


def _digest(title: str, files: Iterable[tuple[str, Path]], digests: FileDigests | None) -> str:
    listed = list(files)
    known = user_file_digests() if digests is None else digests
    total = hashlib.sha256()
    contents = known.of(f"{title} {listed[0][1].parent}", [str(path) for _, path in listed], say=lambda text: None)
    for (name, _), (size, digest) in zip(listed, contents, strict=True):
        total.update(f"{name}\0{size}\0{digest}\n".encode(errors="surrogateescape"))
    return total.hexdigest()[:_DIGITS]
