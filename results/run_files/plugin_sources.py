"""Sources of plug-ins in a run directory: `plugins/NAME-DIGEST/`, one folder for each content that the run has used.

An edit between two starts makes another folder, so that the sources behind every record stay. They are kept for readers
and for `--plugin`; nothing of a run directory is executed because it is there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from results.store.files import atomic_write
from results.store.links import folder_within
from results.store.run_layout import IN_RUN_DIR, RunDir
from search_space.parsing.secrets import masked
from search_space.plugins.plugin import Plugin, sources_digest

__all__ = [
    "changed_sources",
    "described_option",
    "is_plugin_file",
    "kept_sources",
    "plugin_files",
    "write_plugin_sources",
]

_FOLDER = re.compile(r"([A-Za-z][A-Za-z0-9_]*)-([0-9a-f]{16})")
_MASK = "***"  # a source with a password is kept without it, so that its digest is another


def write_plugin_sources(run_dir: RunDir, plugins: Iterable[Plugin]) -> None:
    """Keep the sources of the plug-ins of this start, passwords masked; those that are kept already stay."""
    for plugin in plugins:
        folder = run_dir.plugin(plugin.name, plugin.digest)
        for name, text in plugin.files.items():
            path = folder / name
            if not path.exists():
                folder_within(path.parent, run_dir)
                atomic_write(path, masked(text))


def kept_sources(run_dir: RunDir, name: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Digest and sources of each content of a plug-in that the run has used; unreadable ones are left out."""
    for folder in sorted(run_dir.path.glob(str(IN_RUN_DIR.plugin("*", "*")))):
        match = _FOLDER.fullmatch(folder.name)
        if match is None or match[1] != name:
            continue
        try:
            files = {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in _python(folder)}
        except (OSError, UnicodeDecodeError):
            continue
        yield match[2], {_module_of(path): text for path, text in files.items()}


def plugin_files(run_dir: RunDir) -> list[str]:
    """Paths of the kept sources within the run directory, `/` between their parts; no link is followed."""
    found = []
    for folder in sorted(run_dir.path.glob(str(IN_RUN_DIR.plugin("*", "*")))):
        found += [path.relative_to(run_dir.path).as_posix() for path in _python(folder)]
    return [name for name in found if is_plugin_file(name)]


def is_plugin_file(name: str) -> bool:
    """Whether a path within a run directory can be that of a plug-in's source: no `..`, nothing absolute."""
    parts = name.split("/")
    return (
        len(parts) >= 3
        and parts[0] == _top()
        and _FOLDER.fullmatch(parts[1]) is not None
        and all(part.isidentifier() for part in parts[2:-1])
        and parts[-1].endswith(".py")
        and parts[-1].removesuffix(".py").isidentifier()
    )


def changed_sources(run_dir: RunDir, names: Iterable[str]) -> list[str]:
    """Folders of these files whose content is not that of their digest; such with a masked password are not known."""
    folders: dict[str, dict[str, str]] = {}
    for name in names:
        parts = PurePosixPath(name).parts
        text = (run_dir.path / name).read_bytes().decode(errors="surrogateescape")
        folders.setdefault("/".join(parts[:2]), {})[_module_of("/".join(parts[2:]))] = text
    return [
        folder
        for folder, sources in folders.items()
        if not folder.endswith(f"-{sources_digest(sources)}") and not any(_MASK in text for text in sources.values())
    ]


def described_option(described: Mapping[str, object]) -> str:
    """The kept file or folder of a plug-in of provenance, as `--plugin` takes it; empty for what is no such entry."""
    name, digest = str(described.get("name")), str(described.get("digest"))
    if described.get("kind") != "file" or _FOLDER.fullmatch(f"{name}-{digest}") is None:
        return ""
    is_folder = not str(described.get("origin")).endswith(".py")
    return (IN_RUN_DIR.plugin(name, digest) / (name if is_folder else f"{name}.py")).as_posix()


def _top() -> str:
    return IN_RUN_DIR.plugin("a", "b").parts[0]


def _module_of(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _python(folder: Path) -> list[Path]:
    found: list[Path] = []
    for parent, folders, files in os.walk(folder):  # does not follow links
        folders.sort()
        paths = [Path(parent) / name for name in sorted(files) if name.endswith(".py")]
        found += [path for path in paths if path.is_file() and not path.is_symlink()]
    return found
