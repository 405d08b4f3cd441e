"""Samples of a WebDataset shard: which members of the archive belong together, which is the image, what is the label.

Members of one key follow one another; the key is the path up to the first dot of the file's name, what follows is the
kind of the member (`a/0001.seg.png` is the `seg.png` of `a/0001`). The image is the one member of a format that is
read, or what `input_key` names. The label is the number in `.cls`, else the field `label` or `cls` of `.json`, or what
`target_key` names: a kind of member that holds a number, else a field of `.json`. `a;b` takes the first of the two
that is there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from runners.data.readers.class_folders import IMAGE_TYPES

__all__ = ["Member", "SampleFault", "SampleKeys", "ShardSample", "grouped"]

_KINDS_OF_IMAGES = frozenset(kind[1:] for kind in IMAGE_TYPES)
_LABEL_FIELDS = ("label", "cls")
_NAME = re.compile(r"((?:.*/|)[^./]+)\.([^/]*)", re.DOTALL)
_META = re.compile(r"__[^/]*__(?:$|/)")
_NUMBER = re.compile(rb"\s*[+-]?\d{1,18}\s*")


class SampleFault(Exception):
    """A sample has no image or no label. `kind` is what its faults have in common, for a list of several."""

    def __init__(self, kind: str, key: str, detail: str = "") -> None:
        super().__init__(f"{key}: {kind}{detail and f' ({detail})'}")
        self.kind = kind
        self.key = key
        self.detail = detail


@dataclass(frozen=True)
class Member:
    """Member of an archive: a file, with the place of its content."""

    name: str
    offset: int
    size: int
    read: Callable[[], bytes]


@dataclass(frozen=True)
class SampleKeys:
    """How images and labels are named in a sample.

    Attributes:
        image: `input_key`.
        label: `target_key`, else the field that `_info.json` names.
    """

    image: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class ShardSample:
    """Members of one key.

    Attributes:
        members: kind (`png`, `cls`, `json`, ... in lower case) -> member.
        repeated: a kind that two members have; empty for none.
    """

    key: str
    members: Mapping[str, Member]
    repeated: str = ""

    def image(self, keys: SampleKeys) -> Member:
        """The member that is the image.

        Raises:
            SampleFault: there is none, or several and `input_key` names none of them.
        """
        if self.repeated:
            raise SampleFault("two members of one name", self.key, self.repeated)
        if keys.image is not None:
            wanted = _named(keys.image)
            kinds = [kind for kind in wanted if kind in self.members][:1]
        else:
            kinds = sorted(self.members.keys() & _KINDS_OF_IMAGES)
        if len(kinds) > 1:
            raise SampleFault("several images, of which input_key names none", self.key, ", ".join(kinds))
        if not kinds:
            raise SampleFault("no image", self.key, f"only {', '.join(sorted(self.members))}")
        return self.members[kinds[0]]

    def label(self, keys: SampleKeys) -> int:
        """The label.

        Raises:
            SampleFault: there is none, or it is no whole number.
        """
        if keys.label is None:
            kinds, fields = ("cls",), _LABEL_FIELDS
        else:
            kinds = fields = _named(keys.label, lower=False)
        for kind in kinds:
            if kind.lower() in self.members and kind.lower() != "json":
                text = self.members[kind.lower()].read()
                if not _NUMBER.fullmatch(text):
                    raise SampleFault("a label that is no number", self.key, _short(text.decode(errors="replace")))
                return int(text)
        if "json" not in self.members:
            raise SampleFault("no label", self.key, f"only {', '.join(sorted(self.members))}")
        value = _field(_document(self.key, self.members["json"]), self.key, fields)
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
            raise SampleFault("a label that is no number", self.key, _short(value))
        return value


def grouped(members: Iterable[Member]) -> Iterator[ShardSample]:
    """The samples of a shard, from its files in their order; names that begin with a dot or `__` are left out."""
    key, found, repeated = "", dict[str, Member](), ""
    for member in members:
        match = None if _META.match(member.name) else _NAME.fullmatch(member.name)
        if match is None:
            continue
        if match[1] != key:
            if found:
                yield ShardSample(key, found, repeated)
            key, found, repeated = match[1], {}, ""
        kind = match[2].lower()
        repeated = kind if kind in found else repeated
        found[kind] = member
    if found:
        yield ShardSample(key, found, repeated)


def _named(keys: str, *, lower: bool = True) -> tuple[str, ...]:
    names = tuple(name.strip().removeprefix(".") for name in keys.split(";") if name.strip())
    return tuple(name.lower() for name in names) if lower else names


def _document(key: str, member: Member) -> Mapping[str, object]:
    try:
        found = msgspec.json.decode(member.read())
    except (msgspec.DecodeError, UnicodeDecodeError) as err:
        raise SampleFault("a .json that cannot be read", key, str(err)) from err
    except RecursionError as err:
        raise SampleFault("a .json that cannot be read", key, "it is nested too deeply") from err
    if not isinstance(found, dict):
        raise SampleFault("a .json that has no fields", key)
    return found


def _field(document: Mapping[str, object], key: str, names: tuple[str, ...]) -> object:
    """The first field that is there; `a/b` is the field `b` of the field `a`."""
    for name in names:
        value: object = document
        for part in [name] if name in document else name.split("/"):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            return value
    raise SampleFault(f"no field {' or '.join(names)} in .json", key, f"only {', '.join(map(str, document))}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
