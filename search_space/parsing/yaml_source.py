"""YAML parser that keeps the source location of every value, so that later checks can report it.

The tree is built from PyYAML's events instead of its composer and constructors: a sweep file cannot execute code,
nesting and aliases are bounded while reading, duplicate keys are detected, and scalars follow YAML 1.2.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from search_space.parsing.errors import Problem, SpecError
from search_space.parsing.yaml_scalars import CORE_TAGS, Scalar, resolve_scalar

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_NODES", "MAX_PROBLEMS", "Mark", "Node", "Source", "read_file", "read_text"]

MAX_BYTES = 2**20
MAX_DEPTH = 64
MAX_NODES = 100_000
MAX_PROBLEMS = 100  # more of them help no reader, and take seconds to write
_LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # the line breaks of libyaml, so that line numbers agree
_EXCERPT_WIDTH = 100
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_parse: Callable[..., Iterator[Any]] = getattr(yaml, "parse")  # noqa: B009 - its type stub leaves out what it yields


@dataclass(frozen=True)
class Source:
    """Source text with its display name: the path of a file, or `--set path=value`."""

    name: str
    text: str
    is_file: bool = True

    @cached_property
    def lines(self) -> list[str]:
        return _LINE_BREAK.split(self.text)


@dataclass(frozen=True)
class Mark:
    """Location in a source; line and column are 0-based."""

    source: Source = field(repr=False)
    line: int
    column: int

    @property
    def where(self) -> str:
        return f"{self.source.name}:{self.line + 1}:{self.column + 1}" if self.source.is_file else self.source.name

    @property
    def excerpt(self) -> str:
        """Source line with a caret below the location; long lines are cut around it."""
        if not self.source.is_file or self.line >= len(self.source.lines):
            return ""
        line = self.source.lines[self.line]
        start = max(0, self.column - _EXCERPT_WIDTH // 2) if len(line) > _EXCERPT_WIDTH else 0
        # One visible character for each invisible one, so that the caret stays aligned.
        shown = "".join(char if char.isprintable() else " " if char.isspace() else "?"
                        for char in line[start : start + _EXCERPT_WIDTH])  # fmt: skip
        before = shown[: self.column - start]
        width = sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in before)
        return f"{shown.rstrip()}\n{' ' * width}^" if shown.strip() else ""


@dataclass(frozen=True)
class Node:
    """YAML value with its location. `keys` are the locations of a mapping's keys, `size` the number of values below."""

    value: Scalar | tuple[Node, ...] | dict[str, Node]
    mark: Mark
    keys: Mapping[str, Mark] = field(default_factory=dict[str, Mark])
    size: int = 1

    def plain(self) -> Any:
        """Value without locations: scalars, tuples and dicts."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, tuple):
            return tuple(node.plain() for node in self.value)
        return self.value


def read_file(path: str | Path) -> tuple[Node, list[Problem]]:
    """YAML tree of a file and its recoverable problems (see `read_text`)."""
    name = str(path)
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise SpecError(Problem("there is no such file", where=name, hint=_neighbours(Path(path)))) from None
    except IsADirectoryError:
        raise SpecError(Problem("this is a folder, not a sweep file", where=name, hint=_files_in(Path(path)))) from None
    except (OSError, ValueError) as err:  # ValueError: a NUL in the path
        reason = err.strerror if isinstance(err, OSError) and err.strerror else str(err)
        raise SpecError(Problem(f"cannot be read: {reason}", where=name)) from err
    if len(content) > MAX_BYTES:
        raise SpecError(Problem(f"is larger than {MAX_BYTES // 1024} KiB: not a sweep file", where=name))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = content.count(b"\n", 0, err.start) + 1
        column = err.start - content.rfind(b"\n", 0, err.start)
        message = f"the byte 0x{content[err.start]:02x} is not UTF-8"
        raise SpecError(Problem(message, where=f"{name}:{line}:{column}", hint="save the file as UTF-8")) from None
    return read_text(text, name)


def read_text(text: str, name: str, *, is_file: bool = True) -> tuple[Node, list[Problem]]:
    """YAML tree of one document and the problems of its keys and scalars.

    Raises:
        SpecError: no tree can be built: syntax, several documents, nesting or aliases beyond the limits.
    """
    if len(text) > MAX_BYTES:
        raise SpecError(Problem(f"is larger than {MAX_BYTES // 1024} KiB: not a sweep file", where=name))
    reader = _Reader(Source(name, text, is_file))
    try:
        return reader.read(), reader.problems
    except yaml.MarkedYAMLError as err:
        raise SpecError(_syntax_problem(err, reader.source)) from None
    except yaml.YAMLError as err:  # characters that YAML forbids
        reason = str(err).split("\n")[0]
        raise SpecError(Problem(f"not YAML: {reason}", where=name)) from None
    except UnicodeEncodeError:
        raise SpecError(Problem("not YAML: half of a surrogate pair is not a character", where=name)) from None


class _Reader:
    """Builder of the tree of one document from the parser's events."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self._events: Iterator[Any] = iter(())
        self._anchors: dict[str, Node | None] = {}  # None: not yet complete, so an alias to it would be a cycle

    def read(self) -> Node:
        self._events = _parse(self.source.text, Loader=_LOADER)
        next(self._events)  # the start of the stream
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            return Node(None, Mark(self.source, 0, 0))
        root = self._node(next(self._events), depth=0)
        next(self._events)  # the end of the document
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            self._refuse(
                self._mark(event), "a second document starts here", "one file holds one sweep; remove the `---`"
            )
        return root

    def _node(self, event: Any, depth: int) -> Node:
        mark = self._mark(event)
        if depth > MAX_DEPTH:
            self._refuse(mark, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor, mark)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            node = Node(self._scalar(event, mark), mark)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._check_tag(event, mark, "seq")
            node = self._sequence(mark, depth)
        else:
            self._check_tag(event, mark, "map")
            node = self._mapping(mark, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _sequence(self, mark: Mark, depth: int) -> Node:
        items: list[Node] = []
        size = 1
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
            size = self._grow(size, items[-1])
        return Node(tuple(items), mark, size=size)

    def _mapping(self, mark: Mark, depth: int) -> Node:
        items: dict[str, Node] = {}
        keys: dict[str, Mark] = {}
        size = 1
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key_node = self._node(event, depth + 1)
            value = self._node(next(self._events), depth + 1)
            size = self._grow(size, value)
            key = key_node.value
            if not isinstance(key, str):
                shown = "a list or mapping" if isinstance(key, tuple | dict) else _as_yaml(key)
                self._note(key_node.mark, f"a key must be text, but got {shown}", "quote it if it is meant as text")
            elif key == "<<":
                hint = "`<<` is YAML 1.1; write the keys out, or use an alias for a whole value"
                self._note(key_node.mark, "merge keys are not supported", hint)
            elif key in items:
                first = keys[key].line + 1
                self._note(
                    key_node.mark, f"the key {key!r} is given twice (first on line {first})", "remove one of them"
                )
            else:
                items[key], keys[key] = value, key_node.mark
        return Node(items, mark, keys, size)

    def _scalar(self, event: Any, mark: Mark) -> Scalar:
        try:
            return resolve_scalar(event.value, plain=event.implicit[0] or event.style is None, tag=event.tag)
        except ValueError as err:
            known = ", ".join("!!" + tag.rsplit(":", 1)[1] for tag in sorted(CORE_TAGS))
            hint = f"a sweep supports only the tags {known}" if "tag" in str(err) else ""
            self._note(mark, str(err), hint)
            return event.value

    def _alias(self, name: str, mark: Mark) -> Node:
        if name not in self._anchors:
            self._refuse(mark, f"there is no anchor &{name} before this alias")
        node = self._anchors[name]
        if node is None:
            self._refuse(mark, f"the alias *{name} is inside its own anchor")
        assert node is not None
        self._grow(0, node)
        return Node(node.value, mark, node.keys, node.size)

    def _grow(self, size: int, node: Node) -> int:
        if size + node.size > MAX_NODES:
            self._refuse(node.mark, f"aliases and lists expand to more than {MAX_NODES} values")
        return size + node.size

    def _check_tag(self, event: Any, mark: Mark, kind: str) -> None:
        if event.tag not in (None, "!", f"tag:yaml.org,2002:{kind}"):
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._note(mark, f"the tag {tag!r} is not supported", "remove it; a sweep holds plain values only")

    def _mark(self, event: Any) -> Mark:
        return Mark(self.source, event.start_mark.line, event.start_mark.column)

    def _problem(self, mark: Mark, message: str, hint: str) -> Problem:
        return Problem(message, where=mark.where, hint=hint, excerpt=mark.excerpt)

    def _note(self, mark: Mark, message: str, hint: str = "") -> None:
        self.problems.append(self._problem(mark, message, hint))
        if len(self.problems) == MAX_PROBLEMS:
            self._refuse(mark, f"{MAX_PROBLEMS} problems so far: the rest of the file was not read")

    def _refuse(self, mark: Mark, message: str, hint: str = "") -> None:
        raise SpecError([*self.problems, self._problem(mark, message, hint)])


def _syntax_problem(err: yaml.MarkedYAMLError, source: Source) -> Problem:
    place = err.problem_mark or err.context_mark
    mark = Mark(source, place.line, place.column) if place else Mark(source, 0, 0)
    message = f"not YAML: {err.problem or err.context}"
    if err.problem and err.context:
        message += f" ({err.context}"
        if err.context_mark is not None and place is not None and err.context_mark.line != place.line:
            message += f" that starts on line {err.context_mark.line + 1}"
        message += ")"
    line = source.lines[mark.line] if mark.line < len(source.lines) else ""
    hint = "indent with spaces, not with tabs" if "\t" in line[: mark.column + 1] else ""
    return Problem(message, where=mark.where, hint=hint, excerpt=mark.excerpt)


def _as_yaml(value: Scalar) -> str:
    return json.dumps(value)


def _neighbours(path: Path) -> str:
    return _files_in(path.parent)


def _files_in(folder: Path) -> str:
    try:
        names = sorted(str(file) for file in folder.iterdir() if file.suffix in (".yaml", ".yml"))[:10]
    except OSError:
        return f"the folder {str(folder)!r} does not exist either" if not folder.exists() else ""
    return f"sweeps there: {', '.join(names)}" if names else ""
