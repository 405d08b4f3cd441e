"""A document of `--json`, and how it is written: strict JSON, in which what is not a number is null."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Literal, TextIO

from pydantic import BaseModel, ConfigDict, Field

from search_space.parsing.errors import Problem, SpecError
from search_space.parsing.secrets import masked
from search_space.parsing.visible import visible_json

__all__ = ["Document", "Part", "ProblemEntry", "ProblemsDocument", "problem_entries", "refused", "write_document"]

_PLACE = re.compile(r"(?P<file>.+):(?P<line>\d+):(?P<column>\d+)")


class Part(BaseModel):
    """A part of a document. NaN and infinities are null in JSON."""

    # `defer_build`: a verb writes one document.
    model_config = ConfigDict(
        extra="forbid", frozen=True, serialize_by_alias=True, validate_by_name=True, defer_build=True
    )


class Document(Part):
    """A whole document. Subclasses have `kind`, which is its key `schema`."""


def write_document(document: Document, stream: TextIO) -> None:
    """Write the document with a line end; control characters are escaped."""
    text = json.dumps(_strict(document.model_dump(mode="json")), indent=1, ensure_ascii=False, allow_nan=False)
    stream.write(visible_json(text) + "\n")


class ProblemEntry(Part):
    message: str = Field(description="what is wrong")
    where: str = Field(description="place as text: `FILE:LINE:COLUMN`, an option, a directory; may be empty")
    file: str | None = Field(description="the file; null where the problem is in none")
    line: int | None = Field(description="its line, from 1")
    column: int | None = Field(description="its column, from 1")
    path: str = Field(description="path inside the sweep, e.g. `baseline.arch.depth`; may be empty")
    hint: str = Field(description="what is legal and what to do; may be empty")
    excerpt: str = Field(description="the line with a caret below it; may be empty")


class ProblemsDocument(Document):
    """Printed by every verb instead of its own document where it cannot be carried out; exit code 2."""

    kind: Literal["archsweep.problems/1"] = Field(default="archsweep.problems/1", alias="schema")
    problems: list[ProblemEntry] = Field(description="all of them, in the order of the file")


def problem_entries(problems: Iterable[Problem]) -> list[ProblemEntry]:
    """Problems as parts of a document, without passwords and tokens."""
    return [_entry(problem) for problem in problems]


def _entry(problem: Problem) -> ProblemEntry:
    place = _PLACE.fullmatch(problem.where)
    texts = {name: masked(getattr(problem, name)) for name in ("message", "where", "path", "hint", "excerpt")}
    return ProblemEntry(
        **texts,
        file=place["file"] if place else None,
        line=int(place["line"]) if place else None,
        column=int(place["column"]) if place else None,
    )


def refused(err: SpecError, stream: TextIO) -> None:
    """Write the problems of a call that cannot be carried out."""
    write_document(ProblemsDocument(problems=problem_entries(err.problems)), stream)
    stream.flush()


def _strict(value: Any) -> Any:
    """Plain values with null for NaN and infinities, at any depth."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {name: _strict(each) for name, each in value.items()}
    return [_strict(each) for each in value] if isinstance(value, list | tuple) else value
