"""Reading `provenance.jsonl`: one line for every start of the driver, validated because a run may be foreign."""

from __future__ import annotations

import json
import os
from typing import Any

from results.store.run_layout import RunDir
from search_space.parsing.secrets import masked

__all__ = ["read_sessions"]


def read_sessions(run_dir: str | os.PathLike[str]) -> tuple[dict[str, Any], ...]:
    """The starts of the driver, the oldest first; lines that are no JSON object are skipped, passwords are masked."""
    try:
        lines = RunDir.of(run_dir).provenance.read_bytes().splitlines()
    except OSError:
        return ()
    found = []
    for line in lines:
        try:
            session = json.loads(masked(line.decode(errors="replace")))
        except (ValueError, RecursionError):
            continue
        if isinstance(session, dict):
            found.append(session)
    return tuple(found)
