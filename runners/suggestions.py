"""`suggestions.jsonl`: what a search proposed, written down before the trial starts."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationError

from results.durable_files import write_errors_in_words
from runners.sampler_notes import reason_against_notes
from search_space import Problem, SpecError

__all__ = ["append_suggestion", "read_suggestions"]

_ADVICE = "move the file away: the search then begins anew, and its trials that are in the ledger are not run again"
_MOST_PROBLEMS = 10


class _Suggestion(BaseModel):
    """One line; `number` is its place, so nobody reads it."""

    model_config = ConfigDict(extra="ignore")

    params: dict[str, StrictBool | StrictInt | StrictFloat | StrictStr | None]
    attrs: dict[str, Any] = {}


def read_suggestions(path: Path) -> list[dict[str, Any]]:
    """What was proposed, by number: `params`, and in `attrs` what the sampler noted (its generation, its state).

    A torn last line is a suggestion whose trial never started: it is cut off.

    Raises:
        SpecError: another line is no suggestion, or what it notes would execute something.
    """
    if not path.exists():
        return []
    with write_errors_in_words(path):
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(path, len(whole))
    found, problems = [], []
    for number, line in enumerate(whole.split(b"\n")[:-1], start=1):
        where = f"{path}:{number}"
        try:
            suggestion = _Suggestion.model_validate_json(line)
        except ValidationError as err:
            first = err.errors(include_url=False, include_input=False, include_context=False)[0]
            problems.append(Problem(f"not a suggestion: {first['msg']}", where=where, hint=_ADVICE))
        else:
            if reason := reason_against_notes(suggestion.attrs):
                problems.append(Problem(f"not a suggestion of a sampler: {reason}", where=where, hint=_ADVICE))
            found.append(suggestion.model_dump())
        if len(problems) == _MOST_PROBLEMS:
            break
    if problems:
        raise SpecError(problems)
    return found


def append_suggestion(path: Path, entry: Mapping[str, Any]) -> None:
    """Writes the suggestion; when this returns, it is on the disk."""
    with write_errors_in_words(path), path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry, sort_keys=True) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
