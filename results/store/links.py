"""Nothing that a run writes leaves its directory through a symbolic link.

A run directory may be foreign, or lie where others may write. A link in it, `provenance.jsonl -> ~/.bashrc`, would make
the driver append the words of a sweep to a file of the user. So a driver refuses to start where a link leads out of the
run directory (`refuse_unsafe_entries`), and every file that is not replaced in one step is opened by `opener_within`,
because a link can be made later. Files that are replaced (`results/store/files.py`) are safe by themselves: a rename
replaces a link and does not follow it.

Legal are links that stay inside, and a run directory that is a link itself (to another disk). Reading follows links,
since it changes nothing. Hard links cannot be distinguished from the file itself.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from results.store.files import special_file
from results.store.run_layout import RunDir
from search_space.parsing.errors import Problem, SpecError

__all__ = ["folder_within", "open_within", "opener_within", "refuse_linked_sources", "refuse_unsafe_entries"]

_MOST_NAMED = 20


def refuse_unsafe_entries(run_dir: RunDir) -> None:
    """Check every entry of the run directory, at any depth, before anything is written.

    Raises:
        SpecError: some are links that lead out of it, or pipes or devices; the message names them.
    """
    root = os.path.realpath(run_dir)
    problems = [problem for entry in _entries(root) if (problem := _problem(entry, root, run_dir))]
    if len(problems) > _MOST_NAMED:
        more = Problem(f"and {len(problems) - _MOST_NAMED} more of this kind", where=str(run_dir))
        problems = [*problems[:_MOST_NAMED], more]
    if problems:
        raise SpecError(problems)


def opener_within(root: str | os.PathLike[str]) -> Callable[[str, int], int]:
    """For `open(path, "a", opener=opener_within(run_dir))`, which follows no link that leads out of `root`.

    Returns:
        A function of path and flags that gives a descriptor. It raises OSError (ELOOP) where the path leads out.
    """

    def open_within(path: str, flags: int) -> int:
        return os.open(_within(path, root), flags | getattr(os, "O_NOFOLLOW", 0), 0o644)

    return open_within


def open_within(path: Path, root: str | os.PathLike[str]) -> IO[bytes]:
    """The plain file at `path` for reading, by a program that shows it to others than who started it.

    Raises:
        OSError: there is none, it cannot be read, it leads out of `root` (ELOOP), or it is a pipe or a device (EINVAL).
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # a pipe must not be waited for
    descriptor = os.open(_within(path, root), flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is no plain file", str(path))
    return open(descriptor, "rb")


def refuse_linked_sources(run_dir: RunDir) -> None:
    """For a program that shows runs to others: none of the files that views read may be a link out of the run.

    Raises:
        SpecError: some are; the message names them.
    """
    root = os.path.realpath(run_dir)
    sources = (run_dir.plan, run_dir.ledger, run_dir.progress, run_dir.provenance, run_dir.sweep, run_dir.lock)
    linked = [path for path in sources if path.is_symlink() and not _is_within(os.path.realpath(path), root)]
    if linked:
        hint = "put the file itself here; the whole run directory may be a link"
        raise SpecError(
            [Problem("is a symbolic link that leads out of the run directory", str(path), hint=hint) for path in linked]
        )


def folder_within(path: Path, root: str | os.PathLike[str]) -> None:
    """Make the folder `path` and its parents, if they do not exist.

    Raises:
        OSError: it leads out of `root` (ELOOP), or cannot be made.
    """
    os.makedirs(_within(path, root), exist_ok=True)


def _within(path: str | os.PathLike[str], root: str | os.PathLike[str]) -> str:
    target = os.path.realpath(path)
    if not _is_within(target, os.path.realpath(root)):
        raise OSError(errno.ELOOP, f"a symbolic link leads out of {root}", str(path))
    return target


def _is_within(target: str, root: str) -> bool:
    return target == root or target.startswith(os.path.join(root, ""))


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    """Everything below the folder, in order of its names; links to folders are entries and are not entered."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:  # not there, or not for us: then nothing is written there either
        return
    for entry in entries:
        yield entry
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(entry.path)


def _problem(entry: os.DirEntry[str], root: str, run_dir: RunDir) -> Problem | None:
    path = run_dir.path / os.path.relpath(entry.path, root)
    if os.path.exists(entry.path) and not os.path.isfile(entry.path) and not os.path.isdir(entry.path):
        return special_file(path)
    if not entry.is_symlink() or _is_within(target := os.path.realpath(entry.path), root):
        return None
    return Problem(
        f"is a symbolic link that leads out of the run directory, to {target}",
        where=str(path),
        hint="put the file or folder itself here, or move the link away; the whole run directory may be a link",
    )
