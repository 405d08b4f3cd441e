"""What counts of a source file: the modules of ours that it imports, and a digest of its code without words.

Comments, docstrings and layout do not count. Parsing every module that trains takes half a second, so what was found is
remembered in the user's cache, by the content of the file: never by its name or time, which say nothing of it.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from runners.machine.user_cache import code_parts, default_directory, write_fact

__all__ = ["ROOMS", "CodePart", "code_part", "remember_code_parts"]

# What a spec says is in its identity, and how records are stored changes no number: the other rooms do not count.
ROOMS = ("modelzoo", "runners")
_FORMAT = "1"


@dataclass(frozen=True)
class CodePart:
    """What counts of a file.

    Attributes:
        names: of ours that it imports: modules, and members of modules.
        digest: of its syntax tree without docstrings.
    """

    names: frozenset[str]
    digest: str


class _Known:
    """Parts by the digest of their files, read from the cache when the first is asked for."""

    def __init__(self) -> None:
        self._parts: dict[str, CodePart] | None = None
        self._is_new = False

    def part(self, code: bytes) -> CodePart:
        if self._parts is None:
            self._parts = _read()
        # The dump of a syntax tree depends on the version of Python.
        key = hashlib.sha256(f"{_FORMAT} {sys.version_info[:2]}\n".encode() + code).hexdigest()
        if key not in self._parts:
            self._parts[key] = _parse(code)
            self._is_new = True
        return self._parts[key]

    def write(self) -> None:
        memory = default_directory()
        if not self._is_new or self._parts is None or memory is None:
            return
        self._is_new = False
        entries = {key: [sorted(part.names), part.digest] for key, part in self._parts.items()}
        write_fact(code_parts(memory), json.dumps(entries) + "\n")


_KNOWN = _Known()


def code_part(code: str | bytes) -> CodePart:
    """What counts of the content of a source file."""
    return _KNOWN.part(code.encode(errors="surrogateescape") if isinstance(code, str) else code)


def remember_code_parts() -> None:
    """Keep what was found for other processes, if anything was."""
    _KNOWN.write()


def _read() -> dict[str, CodePart]:
    memory = default_directory()
    if memory is None:
        return {}
    try:
        entries = json.loads(code_parts(memory).read_bytes())
        return {str(key): CodePart(frozenset(map(str, names)), str(digest)) for key, (names, digest) in entries.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _parse(code: bytes) -> CodePart:
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError):  # a file of a plug-in's folder that is no module of it: its text counts
        return CodePart(frozenset(), hashlib.sha256(code).hexdigest())
    found: set[str] = set()
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
    names = frozenset(name for name in found if name.split(".")[0] in ROOMS)
    return CodePart(names, hashlib.sha256(ast.dump(tree).encode(errors="surrogatepass")).hexdigest())


def _statements(node: Any) -> Iterator[Any]:
    """The node and the statements in it, which imports and definitions are; `ast.walk` visits every expression, too,
    and takes most of a second for all of our modules."""
    yield node
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        for inner in getattr(node, name, ()):
            yield from _statements(inner)
