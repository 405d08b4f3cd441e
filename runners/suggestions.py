"""`suggestions.jsonl`: what a search proposed, written down before the trial starts."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from results.durable_files import write_errors_in_words

__all__ = ["append_suggestion", "read_suggestions"]


def read_suggestions(path: Path) -> list[dict[str, Any]]:
    """What was proposed, by number: `params`, and in `attrs` what the sampler noted (its generation, its state).

    A torn last line is a suggestion whose trial never started: it is cut off.
    """
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    return [json.loads(line) for line in whole.splitlines()]


def append_suggestion(path: Path, entry: Mapping[str, Any]) -> None:
    """Writes the suggestion; when this returns, it is on the disk."""
    with write_errors_in_words(path), path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry, sort_keys=True) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
