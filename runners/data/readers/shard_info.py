"""Shards of a split of WebDataset: their names, and what is said about how many samples they hold.

A split is a name of `_info.json` (or `info.json`), or the names of the shards themselves, in braces and with their
number of samples behind a bar: `train-{000..009}.tar|10000`, as timm and webdataset write them. `::` separates several.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import msgspec

from runners.data.readers.split_folders import SplitNotFound
from search_space.parsing.errors import did_you_mean

__all__ = ["INFO_NAMES", "ShardSplit", "expand_braces", "shard_split"]

INFO_NAMES = ("_info.json", "info.json")
_MOST_SHARDS = 1_000_000
_INNERMOST = re.compile(r"(?<!\$)\{([^{}]*)\}")
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.(-?\d+))?")


@dataclass(frozen=True)
class ShardSplit:
    """Shards of a split.

    Attributes:
        names: relative to the folder of the dataset, paths, or addresses.
        num_samples: what they are said to hold together; None where nothing is said.
        lengths: what each is said to hold; empty where nothing is said.
        label_field: field of `.json` that holds the labels (`alt_label` of the file); empty for none.
    """

    names: tuple[str, ...]
    num_samples: int | None = None
    lengths: tuple[int, ...] = ()
    label_field: str = ""


class _Split(msgspec.Struct):
    filenames: list[str]
    num_samples: int | None = None
    shard_lengths: list[int] = []
    alt_label: str = ""


class _Info(msgspec.Struct):
    splits: dict[str, _Split] = {}


def shard_split(split: str, read: Callable[[str], bytes | None]) -> ShardSplit:
    """The shards of a split.

    Args:
        read: content of a file of the dataset's folder by its name, None where there is none.

    Raises:
        SplitNotFound: nothing names the shards of the split, or what names them cannot be read.
    """
    name, info = _read_info(read)
    if split in info.splits:
        found = info.splits[split]
        return ShardSplit(
            tuple(found.filenames), found.num_samples, tuple(found.shard_lengths), label_field=found.alt_label
        )
    if not any(mark in split for mark in (".tar", "..", "::", "|", "{")):
        where = f"{name} has no split {split!r}" if name else f"there is no {' or '.join(INFO_NAMES)}"
        names = did_you_mean(split, info.splits) if info.splits else ""
        hint = "name them in _info.json, or write the shards themselves as the split: train-{000..009}.tar|10000"
        raise SplitNotFound(where + ("" if name else f", so the shards of {split!r} are not known"), names or hint)
    patterns, bar, count = split.partition("|")
    if bar and not count.strip().isdecimal():
        hint = "train-{000..009}.tar|10000"
        raise SplitNotFound(f"the number of samples behind the bar is {count.strip()!r}, no number", hint)
    shards = tuple(shard for pattern in _addresses(patterns) for shard in expand_braces(pattern))
    said = {name: length for each in info.splits.values() for name, length in _lengths(each)}
    lengths = tuple(said[shard] for shard in shards) if all(shard in said for shard in shards) else ()
    return ShardSplit(shards, int(count) if bar else sum(lengths) if lengths else None, lengths)


def expand_braces(pattern: str) -> list[str]:
    """Names that a pattern means; numbers of equal width where one bound begins with 0.

    >>> expand_braces("{a,b}-{08..10}.tar")
    ['a-08.tar', 'a-09.tar', 'a-10.tar', 'b-08.tar', 'b-09.tar', 'b-10.tar']

    Raises:
        SplitNotFound: it means more than a million names, or has other braces (inside braces, `{a..c}`).
    """
    if pattern.startswith("pipe:"):  # a command, whose braces may be its own
        return _product(pattern)
    left = _INNERMOST.sub(lambda match: "" if _values(match[1]) is not None else match[0], pattern)
    if "{" in left or "}" in left:
        raise SplitNotFound(f"the braces of {pattern!r} are no list of names", "write {000..009} or {a,b}, not nested")
    return _product(pattern)


def _product(pattern: str) -> list[str]:
    pieces: list[list[str]] = []
    end = 0
    for match in _INNERMOST.finditer(pattern):
        if (values := _values(match[1])) is not None:
            pieces += [[pattern[end : match.start()]], values]
            end = match.end()
    if math.prod(map(len, pieces)) > _MOST_SHARDS:
        raise SplitNotFound(f"{pattern!r} means more than {_MOST_SHARDS} shards", "write fewer")
    return ["".join(chosen) + pattern[end:] for chosen in product(*pieces)]


def _values(text: str) -> list[str] | None:
    if match := _RANGE.fullmatch(text):
        first, last = int(match[1]), int(match[2])
        step = abs(int(match[3] or 1)) or 1
        is_padded = any(re.match(r"-?0\d", bound) for bound in match.groups()[:2])
        width = max(len(match[1]), len(match[2])) if is_padded else 0
        if abs(last - first) // step >= _MOST_SHARDS:
            raise SplitNotFound(f"{{{text}}} means more than {_MOST_SHARDS} shards", "write fewer")
        numbers = range(first, last + 1, step) if first <= last else range(first, last - 1, -step)
        return [f"{number:0{width}d}" for number in numbers]
    return text.split(",") if "," in text else None


def _addresses(patterns: str) -> list[str]:
    """Addresses that `::` separates; a command (`pipe:`) is one, whatever it has in it."""
    return [patterns] if patterns.startswith("pipe:") else [each for each in patterns.split("::") if each]


def _lengths(split: _Split) -> Iterator[tuple[str, int]]:
    if len(split.filenames) == len(split.shard_lengths):
        yield from zip(split.filenames, split.shard_lengths, strict=True)


def _read_info(read: Callable[[str], bytes | None]) -> tuple[str, _Info]:
    for name in INFO_NAMES:
        content = read(name)
        if content is None:
            continue
        try:
            return name, msgspec.json.decode(content, type=_Info)
        except (msgspec.DecodeError, UnicodeDecodeError) as err:
            hint = '{"splits": {"train": {"filenames": ["train-0.tar"], "shard_lengths": [1000], "num_samples": 1000}}}'
            raise SplitNotFound(f"{name} cannot be read: {err}", f"it is {hint}") from err
    return "", _Info()
