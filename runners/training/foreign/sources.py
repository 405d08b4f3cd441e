"""Numbers that a program gives: in JSON files, CSV files, or by patterns in its output."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runners.training.foreign.report import BadReport, measured_numbers
from search_space.parsing.type_guards import is_dict
from search_space.schema.metrics import METRICS
from search_space.schema.tasks.command import ProgressSpec, ResultSpec
from search_space.settings.paths import leaves

__all__ = ["OutputPatterns", "Progress", "result_of"]

_MOST_BYTES = 64 * 2**20


class OutputPatterns:
    """The latest number of every pattern in the output."""

    def __init__(self, patterns: Mapping[str, str]) -> None:
        self._patterns = {name: re.compile(pattern) for name, pattern in patterns.items()}
        self.found: dict[str, float] = {}

    def see(self, line: str) -> None:
        """A line of the output.

        Raises:
            BadReport: a pattern found something that is no number.
        """
        for name, pattern in self._patterns.items():
            for match in pattern.finditer(line):
                text = (match[1] or "").replace(",", "").strip().rstrip("%")
                try:
                    self.found[name] = float(text)
                except ValueError as err:
                    raise BadReport(f"the pattern of {name} found {match[1]!r}, which is no number") from err

    def taken(self) -> dict[str, float] | None:
        """The numbers since the last call, once every pattern has found one."""
        if not self._patterns or self.found.keys() != self._patterns.keys():
            return None
        numbers, self.found = self.found, {}
        return numbers


def result_of(spec: ResultSpec, folder: Path, seen: OutputPatterns, metric: str) -> dict[str, float]:
    """The metrics of the ended program.

    Raises:
        BadReport: the file is not there or is no such file, or a value in it is no number; a pattern found nothing.
    """
    if spec.regex:
        missing = [name for name in spec.regex if name not in seen.found]
        if missing:
            raise BadReport(f"no line of the output fits the pattern of {', '.join(missing)}")
        return dict(seen.found)
    if spec.json_file is not None:
        path = folder / spec.json_file
        content = _json_of(_text_of(path), path)
        if not is_dict(content):
            raise BadReport(f"{path} must have a JSON object, but has a {type(content).__name__}")
        return _without_epoch(_numbers(content, spec.rename, path))
    assert spec.csv is not None
    path = folder / spec.csv
    rows = [_without_epoch(_numbers(row, spec.rename, path)) for row in _rows_of(_text_of(path))]
    if not rows:
        raise BadReport(f"{path} has no row")
    if spec.row == "last":
        return rows[-1]
    scored = [row for row in rows if math.isfinite(row.get(metric, math.nan))]
    if not scored:
        raise BadReport(f"{path} has no row with a number for {metric}")
    choose = max if METRICS[metric].direction == "maximize" else min
    return choose(scored, key=lambda row: row[metric])


def _without_epoch(numbers: dict[str, float]) -> dict[str, float]:
    """The numbers but for that of the epoch, which is no metric."""
    return {name: value for name, value in numbers.items() if name != "epoch"}


class Progress:
    """The epochs that a program has reported so far, each given once and in order."""

    def __init__(self, spec: ProgressSpec, folder: Path) -> None:
        self._spec, self._folder = spec, folder
        self._open = OutputPatterns(spec.regex)
        self._waiting: list[dict[str, float]] = []
        self._given = 0

    def see(self, line: str) -> None:
        """A line of the output: an epoch is complete when every pattern has found a number since the last one."""
        self._open.see(line)
        if epoch := self._open.taken():
            self._waiting.append(epoch)

    def fresh(self) -> Iterator[dict[str, float]]:
        """Epochs since the last call. A file may be missing, or end in mid-line."""
        if self._spec.regex:
            while self._waiting:
                yield self._waiting.pop(0)
            return
        name = self._spec.json_file or self._spec.csv
        assert name is not None
        path, rename = self._folder / name, self._spec.rename
        try:
            text = _text_of(path)
        except BadReport:
            return
        whole = text[: text.rfind("\n") + 1]
        if self._spec.csv is not None:
            rows = [_numbers(row, rename, path) for row in _rows_of(whole)]
        else:
            rows = [_numbers(_json_of(line, path), rename, path) for line in whole.splitlines() if line.strip()]
        new, self._given = rows[self._given :], max(len(rows), self._given)
        yield from new


def _text_of(path: Path) -> str:
    try:
        if not path.is_file():
            raise BadReport(f"the program wrote no {path.name} ({path})")
        if path.stat().st_size > _MOST_BYTES:
            raise BadReport(f"{path} has more than {_MOST_BYTES >> 20} MiB")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise BadReport(f"{path} cannot be read: {err}") from err


def _json_of(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as err:
        raise BadReport(f"{path} is no JSON: {err}") from err


def _rows_of(text: str) -> list[dict[str, Any]]:
    """Rows by their header. A program that continues may write the header again, which is no row."""
    rows = csv.DictReader(io.StringIO(text))
    named = ({str(key).strip(): value for key, value in row.items() if key is not None} for row in rows)
    return [row for row in named if any(key != value for key, value in row.items())]


def _numbers(content: Any, rename: Mapping[str, str], path: Path) -> dict[str, float]:
    """The numbers of a mapping by the names of metrics; other values are left out unless they are asked for.

    Raises:
        BadReport: what `rename` asks for is missing or no number.
    """
    flat = dict(leaves(content)) if is_dict(content) else {}
    found: dict[str, float] = {}
    for name, value in flat.items():
        number = _as_number(value)
        if number is not None and name not in rename.values():
            found[name] = number
    for name, key in rename.items():
        if key not in flat:
            raise BadReport(f"{path} has no {key!r}; it has: {', '.join(list(flat)[:20]) or 'nothing'}")
        number = _as_number(flat[key])
        if number is None:
            raise BadReport(f"{path}: {key} must be a number, but is {flat[key]!r}"[:300])
        found[name] = number
    return measured_numbers(found, what=str(path))


def _as_number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None
