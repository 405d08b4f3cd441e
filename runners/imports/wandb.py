"""Weights & Biases: the `.wandb` files of offline runs, and of online ones where they were kept.

wandb has no reader of them in Python any more. The format is LevelDB's log, after a header of 7 bytes, of the messages
that wandb's own protobuf classes define:

    https://github.com/google/leveldb/blob/main/doc/log_format.md
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

# An extra; only who imports from it needs it.
from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore[reportAttributeAccessIssue]

from runners.imports.source_run import EPOCH, SourceRun, SourceRuns, flat, number_of
from search_space.parsing.errors import Problem, SpecError

__all__ = ["read_wandb"]

_HEADER = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)
_BLOCK, _CHUNK_HEADER = 32768, struct.Struct("<IHB")
_FULL, _FIRST, _LAST = 1, 2, 4
_EXPORT = "if it was sent and removed (`wandb sync --clean`), export the project's table as CSV and import that"


def read_wandb(path: Path, keys: Collection[str]) -> SourceRuns:
    """The runs of a folder `wandb`, of what contains it, of one run's folder, or of one file.

    Raises:
        SpecError: there is none, a folder of a run has no file, or a file is damaged.
    """
    found = [path] if path.is_file() else [*path.rglob("run-*.wandb")]
    files = sorted({each.resolve(): each for each in found}.values())  # `latest-run` is a link to one of them
    problems: list[Problem] = []
    if not path.is_file():
        folders = [path, *(each for each in path.rglob("*run-*") if each.is_dir() and not each.is_symlink())]
        with_file = {each.parent for each in files}
        problems = [
            Problem("has no run-*.wandb file", where=str(each), hint=_EXPORT)
            for each in sorted(folders)
            if each.name.startswith(("run-", "offline-run-")) and each not in with_file
        ]
    runs: list[SourceRun] = []
    for file in files:
        try:
            runs.append(_run(file, {*keys, EPOCH}))
        except SpecError as err:
            problems += err.problems
    if not runs and not problems:
        problems.append(Problem("has no run-*.wandb file", where=str(path), hint=_EXPORT))
    if problems:
        raise SpecError(problems)
    return SourceRuns(tuple(runs), tuple(files), f"wandb {importlib.metadata.version('wandb')}")


def _run(path: Path, keys: Collection[str]) -> SourceRun:
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    history: dict[str, list[tuple[int, float]]] = {}
    last: dict[str, float] = {}
    exit_code: int | None = None
    last_seen = 0.0
    for record in _records(path):
        kind = record.WhichOneof("record_type")
        if kind in ("run", "config"):
            changed = record.run.config if kind == "run" else record.config
            for item in changed.update:
                _set(config, item)
            for item in changed.remove:
                config.pop(item.key, None)
        elif kind == "history":
            items = {_key(item): _value(item.value_json) for item in record.history.item}
            step = int(items.get("_step", record.history.step.num))
            last_seen = max(last_seen, number_of(items.get("_timestamp")) or 0.0)
            for key, value in flat(items).items():
                if key.startswith("_") or (number := number_of(value)) is None:
                    continue
                last[key] = number
                if key in keys:
                    history.setdefault(key, []).append((step, number))
        elif kind == "summary":
            for item in record.summary.update:
                summary[_key(item)] = _value(item.value_json)
        elif kind == "exit":
            exit_code = record.exit.exit_code
    config.pop("_wandb", None)
    final = {key: value for key, value in flat(summary).items() if not key.startswith("_")}
    return SourceRun(
        place=path.parent.resolve().name,
        where=str(path.parent),
        config=flat(config),
        metrics=last | final,
        history=history,
        failure=f"the run ended with exit code {exit_code}" if exit_code else "",
        is_unfinished=exit_code is None,
        finished_at=datetime.datetime.fromtimestamp(last_seen, datetime.UTC).isoformat(timespec="seconds")
        if last_seen
        else "",
    )


def _key(item: Any) -> str:
    return item.key or ".".join(item.nested_key)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _set(config: dict[str, Any], item: Any) -> None:
    *parents, last = [item.key] if item.key else list(item.nested_key)
    below = config
    for key in parents:
        inner = below.get(key)
        below[key] = below = inner if isinstance(inner, dict) else {}
    below[last] = _value(item.value_json)


def _records(path: Path) -> Iterator[Any]:
    """The messages of the file; a torn last one, as a killed run leaves it, is left out.

    Raises:
        SpecError: it is no such file, or a checksum is wrong.
    """
    try:
        content = path.read_bytes()
    except OSError as err:
        raise SpecError(Problem(f"cannot read: {err.strerror}", where=str(path))) from err
    if not content.startswith(_HEADER):
        raise SpecError(Problem("is no file of wandb offline runs, or of another version", where=str(path)))
    position, message = len(_HEADER), b""
    while position + _CHUNK_HEADER.size <= len(content):
        if (left := _BLOCK - position % _BLOCK) < _CHUNK_HEADER.size:
            position += left
            continue
        checksum, size, kind = _CHUNK_HEADER.unpack_from(content, position)
        begin = position + _CHUNK_HEADER.size
        part, position = content[begin : begin + size], begin + size
        if len(part) < size or not (kind or size or checksum):
            return
        if zlib.crc32(part, zlib.crc32(bytes([kind]))) != checksum:
            raise SpecError(Problem(f"is damaged at byte {begin}", where=str(path), hint="leave this run out"))
        message = part if kind in (_FULL, _FIRST) else message + part
        if kind in (_FULL, _LAST):
            yield Record.FromString(message)
