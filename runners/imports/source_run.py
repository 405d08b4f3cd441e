"""A run as its source has it, in one form for all sources, and the values of its configuration."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from search_space.parsing.secrets import masked
from search_space.parsing.type_guards import is_list_or_tuple, is_mapping
from search_space.settings.paths import leaves

__all__ = ["EPOCH", "Points", "SourceRun", "SourceRuns", "flat", "number_of", "plain", "value_of_text"]

Points = list[tuple[int, float]]
"""Steps and values of one metric, in the order in which they were reported."""

EPOCH = "epoch"
"""Key under which a history has its epochs, where it has them."""

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "infinity": math.inf, "-inf": -math.inf, "-infinity": -math.inf}
_MOST_EXACT = 2**53


@dataclass(frozen=True)
class SourceRun:
    """One run of a source.

    Attributes:
        place: what it is in its source, without folders of this machine: `runs.csv:12`, `offline-run-...-abc`.
        where: the same for messages, with its path as the user gave it.
        config: its configuration, flat.
        is_row: `config` has all cells of a table, metrics among them, because a table does not say which they are.
        metrics: last values; texts where the source has a text.
        history: metric -> its points, of the metrics that were asked for and `epoch`.
        failure: how it ended, if the source says that it did not succeed.
        is_unfinished: the source says that it is running; it may have been killed.
        finished_at: ISO 8601, empty if unknown.
    """

    place: str
    where: str
    config: Mapping[str, Any]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    history: Mapping[str, Points] = field(default_factory=dict)
    failure: str = ""
    is_unfinished: bool = False
    finished_at: str = ""
    is_row: bool = False

    def with_metrics(self, keys: Collection[str]) -> SourceRun:
        """The run with these cells of a table as metrics; of any other source the run itself."""
        if not self.is_row:
            return self
        config = {key: value for key, value in self.config.items() if key not in keys}
        return replace(self, config=config, metrics={key: self.config[key] for key in keys if key in self.config})


@dataclass(frozen=True)
class SourceRuns:
    """What was read of one source.

    Attributes:
        files: what was read, for the digest.
        tool: package and version that wrote or read it.
        notes: what was left out, as phrases.
    """

    runs: tuple[SourceRun, ...]
    files: tuple[Path, ...]
    tool: str = ""
    notes: tuple[str, ...] = ()


def plain(value: Any) -> Any:
    """A value of a configuration as JSON holds it; equal numbers are equal values, whether written 1 or 1.0."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < _MOST_EXACT:
        return int(value)
    if isinstance(value, int | float):
        return value
    if is_list_or_tuple(value):
        return [plain(each) for each in value]
    if is_mapping(value):
        return {str(key): plain(each) for key, each in value.items()}
    # JSON of a tracker may have half of a surrogate pair, which no file can have.
    return masked(str(value).encode(errors="backslashreplace").decode())


def value_of_text(text: str) -> Any:
    """A value that was written as text: a number, a truth value, None where it is empty, else the text."""
    text = text.strip()
    if not text:
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return plain(float(text))
    return plain(text)


def number_of(value: Any) -> float | None:
    """The number, also one that is not finite and was written as text; None where the value is no number."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    return _NOT_FINITE.get(value.strip().lower()) if isinstance(value, str) else None


def flat(config: Mapping[Any, Any]) -> dict[str, Any]:
    """The configuration with one level: `{optim: {lr: 1}}` becomes `{optim.lr: 1}`."""
    return {key: plain(value) for key, value in leaves(config)}
