"""Files that belong to a training of the user's own: their content is part of where its numbers come from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from runners.data.fingerprint import DataChanged
from runners.machine.file_digests import FileDigests, user_file_digests
from runners.training.foreign.command import command_line, working_directory
from search_space.parsing.errors import Problem, SpecError
from search_space.schema.resources import Resources
from search_space.schema.task import CommandSpec, ForeignSpec
from search_space.schema.trial import Setting
from search_space.settings.broken_relation import BrokenRelation
from search_space.settings.placeholders import WORDS, filled

__all__ = ["check_files", "files_digest", "missing_files", "script_digest"]

_DIGITS = 16
_RELATIVE = "paths are relative to the sweep"


def files_digest(task: ForeignSpec, resources: Resources, digests: FileDigests | None = None) -> str:
    """Digest over name and content of what `task.files` names, relative to the sweep; empty without any.

    Raises:
        SpecError: a file is missing or cannot be read.
    """
    base = Path(resources.sweep_dir or ".")
    found: list[tuple[str, Path]] = []
    for name, path in _named(task, base):
        if not path.exists():
            raise SpecError(Problem(_no_file(path), path="task.files", hint=_RELATIVE))
        found += [(name, path)] if path.is_file() else [(f"{name}/{inner}", path / inner) for inner in _below(path)]
    return _digest("task.files", found, digests) if found else ""


def missing_files(task: ForeignSpec, resources: Resources) -> Iterator[BrokenRelation]:
    """What `files` and `cwd` name and is not there."""
    base = Path(resources.sweep_dir or ".")
    for _, path in _named(task, base):
        if not path.exists():
            yield BrokenRelation("task.files", _no_file(path), _RELATIVE, ("task.files",))
    if isinstance(task, CommandSpec) and (message := _no_folder(working_directory(task, base))):
        yield BrokenRelation("task.cwd", message, _RELATIVE, ("task.cwd",))


def _named(task: ForeignSpec, base: Path) -> list[tuple[str, Path]]:
    """The files and folders of `files`, by their names there."""
    return [(name, base / Path(name).expanduser()) for name in task.files]


def _no_file(path: Path) -> str:
    return f"no such file: {path}"


def _no_folder(cwd: Path | None) -> str:
    """What is wrong with a working directory; empty if it is there, or none is named."""
    return "" if cwd is None or cwd.is_dir() else f"no such folder: {cwd}"


def script_digest(setting: Setting, resources: Resources, digests: FileDigests | None = None) -> str:
    """Digest over the files that the arguments of a program name: its scripts, also where `config` chooses them. The
    folder they are in does not count; files elsewhere, such as the program of an absolute path, do not either.

    Raises:
        SpecError: there is no folder `cwd`.
    """
    task = setting.task
    assert isinstance(task, CommandSpec)
    base = Path(resources.sweep_dir or ".").resolve()
    cwd = working_directory(task, base)
    if message := _no_folder(cwd):
        raise SpecError(Problem(message, path="task.cwd", hint=_RELATIVE))
    inside = {base, *([cwd.resolve()] if cwd is not None else [])}
    # What differs from trial to trial names no script: such a placeholder stays as it is.
    words = {name: f"{{{name}}}" for name in WORDS}
    arguments = command_line(task, base, lambda text: filled(text, setting, words))
    paths = [Path(text.partition("=")[2] if text.startswith("-") else text) for text in arguments]
    files = [
        (path.name, path)
        for path in paths
        if path.is_absolute() and path.is_file() and inside & {*path.resolve().parents}
    ]
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
