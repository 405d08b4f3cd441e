"""A loaded plug-in: its name, where it came from, its sources and what it adds."""

from __future__ import annotations

import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

__all__ = ["Plugin", "SourceFinder", "package_folder", "plugin_of", "sources_digest", "sources_of"]

_MOST_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Plugin:
    """Plug-in that this process has loaded.

    Attributes:
        name: as sweeps write it under `plugins`.
        kind: `file` for a file or folder that the caller named, `installed` for an entry point.
        origin: path of the file or folder, or `DISTRIBUTION VERSION`.
        module: name of the module that has `PLUGINS`.
        sources: module name -> its text. They are what every process of the run executes.
        packages: names in `sources` that are packages.
        digest: sha256 over the sources, 16 hexadecimal digits.
        contributes: family -> names that it adds, models of timm's registry under `model`.
    """

    name: str
    kind: Literal["file", "installed"]
    origin: str
    module: str
    sources: Mapping[str, str] = field(repr=False)
    packages: frozenset[str] = frozenset()
    contributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    @property
    def digest(self) -> str:
        return sources_digest(self.sources)

    @property
    def files(self) -> dict[str, str]:
        """Its sources by their paths, `/` between the parts: `my_lab/__init__.py`, `my_lab/gated.py`."""
        return {_path_of(module, module in self.packages): text for module, text in self.sources.items()}

    def adds(self, family: str, name: str) -> bool:
        return name in self.contributes.get(family, ())

    def shipped(self) -> dict[str, Any]:
        """Plain values from which `load_shipped` loads the same plug-in in another process."""
        return {
            "name": self.name,
            "kind": self.kind,
            "origin": self.origin,
            "module": self.module,
            "sources": dict(self.sources),
            "packages": sorted(self.packages),
            "compiled": self.has_compiled(),
        }

    def has_compiled(self) -> bool:
        """Whether the package of an installed plug-in has parts that are no Python, which do not travel."""
        folder = package_folder(self)
        return folder is not None and any(file.suffix in (".so", ".pyd") for file in folder.rglob("*"))

    def described(self) -> dict[str, Any]:
        """What provenance says of it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "origin": self.origin,
            "digest": self.digest,
            "contributes": {family: list(names) for family, names in sorted(self.contributes.items())},
        }


def package_folder(plugin: Plugin) -> Path | None:
    """Folder of the package of an installed plug-in; None for a single module and for a file of the caller."""
    if plugin.kind != "installed":
        return None
    spec = importlib.util.find_spec(plugin.module.partition(".")[0])
    if spec is None or spec.origin is None or spec.submodule_search_locations is None:
        return None
    folder = Path(spec.origin).parent
    return folder if folder.is_dir() else None


LOADED: dict[str, Plugin] = {}
"""Plug-ins of this process by name, in the order of loading."""


def plugin_of(module: str) -> Plugin | None:
    """The loaded plug-in that a module belongs to."""
    return next((plugin for plugin in LOADED.values() if module in plugin.sources), None)


def sources_of(path: Path, module: str) -> tuple[dict[str, str], frozenset[str]]:
    """Sources of a file, or of a folder with an `__init__.py`, as module name -> text, and which are packages.

    Raises:
        OSError, UnicodeDecodeError: a file cannot be read.
        ValueError: there is more than a plug-in may have.
    """
    if path.is_file():
        return {module: _text(path)}, frozenset()
    found: dict[str, str] = {}
    packages: set[str] = set()
    for file in sorted(path.rglob("*.py")):
        parts = file.relative_to(path).with_suffix("").parts
        if any(not part.isidentifier() for part in parts):
            continue  # no module: a script beside it
        is_package = parts[-1] == "__init__"
        name = ".".join([module, *(parts[:-1] if is_package else parts)])
        found[name] = _text(file)
        packages |= {name} if is_package else set()
    size = sum(map(len, found.values()))
    if size > _MOST_BYTES:
        raise ValueError(f"has {size / 2**20:.1f} MiB of Python, more than the {_MOST_BYTES // 2**20} of a plug-in")
    return found, frozenset(packages)


def _path_of(module: str, is_package: bool) -> str:
    return f"{module.replace('.', '/')}{'/__init__' if is_package else ''}.py"


def _text(path: Path) -> str:
    return importlib.util.decode_source(path.read_bytes())


def sources_digest(sources: Mapping[str, str]) -> str:
    """sha256 over names and texts, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, text in sorted(sources.items()):
        content = text.encode(errors="surrogateescape")
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


class SourceFinder(importlib.abc.MetaPathFinder):
    """Finder of the modules of one plug-in, whose sources are in memory: the same on every machine of a run."""

    def __init__(self, sources: Mapping[str, str], packages: frozenset[str], origin: str, module: str) -> None:
        self.sources = sources
        self._packages = packages
        self._origin = origin
        self._module = module

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self.sources:
            return None
        is_package = fullname in self._packages
        file = self._file_of(fullname)
        loader = _TextLoader(fullname, file, self.sources[fullname])
        spec = importlib.machinery.ModuleSpec(fullname, loader, origin=file, is_package=is_package)
        spec.has_location = True
        return spec

    def files(self) -> set[str]:
        """Paths of all its modules."""
        return {self._file_of(name) for name in self.sources}

    def _file_of(self, fullname: str) -> str:
        """The path on the machine of the driver, for tracebacks."""
        origin = Path(self._origin)
        if fullname == self._module and fullname not in self._packages:
            return str(origin)
        inner = fullname.split(".")[1:]
        if fullname in self._packages:
            return str(origin.joinpath(*inner, "__init__.py"))
        return str(origin.joinpath(*inner[:-1], f"{inner[-1]}.py"))


class _TextLoader(importlib.abc.SourceLoader):
    """Loader of a module whose text is known; `inspect` and tracebacks ask it for the source."""

    def __init__(self, fullname: str, path: str, text: str) -> None:
        self._fullname, self._path, self._text = fullname, path, text

    def get_filename(self, fullname: str) -> str:
        return self._path

    def get_data(self, path: str) -> bytes:
        return self._text.encode(errors="surrogateescape")


def install(finder: SourceFinder) -> None:
    """Let `import` find the modules of a plug-in, before folders that have a module of the same name."""
    sys.meta_path.insert(0, finder)
