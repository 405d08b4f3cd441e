"""Preregistration: a plan that is frozen before its first result, with a hash that can be published, and a date.

Frozen is what a claim rests on: variants, seeds and looks, metric, analysis, data and length of the trainings. Not
frozen is what changes no number: resources, columns of the table, trackers. The file beside the plan is compared with
the plan at every start; what differs is part of the table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from results.plan.run_plan import RunPlan
from results.plan.stored import Preregistered, value_text
from search_space.parsing.errors import Problem, SpecError

__all__ = ["differences", "digest_of", "frozen", "preregistered", "read_preregistration"]

_FORMAT = 1
_FIELDS = (
    *("sweep", "profile", "design", "metric", "objectives", "num_trials", "seeds", "rounds", "analysis"),
    *("seed_sources", "epochs", "steps", "dataset", "num_test_images", "data", "blocks", "retuned"),
)
_OF_A_VARIANT = ("name", "changes", "components", "is_baseline", "dropped", "block")


def frozen(plan: RunPlan) -> dict[str, Any]:
    """What of a plan is frozen, as plain values."""
    content = plan.model_dump(mode="json", include={*_FIELDS, "path"})
    kept = {name: content.get(name) for name in _FIELDS}
    kept |= {"path": content["path"]} if plan.path is not None else {}  # other plans keep the hash that they have
    variants = [each.model_dump(mode="json") for each in plan.variants]
    kept["variants"] = [{name: each.get(name) for name in _OF_A_VARIANT} for each in variants]
    return kept


def digest_of(content: dict[str, Any]) -> str:
    """SHA-256 of the frozen plan as JSON with sorted keys and without spaces."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def preregistered(plan: RunPlan, date: str) -> str:
    """The file of a preregistration.

    Args:
        date: ISO 8601, UTC.
    """
    content = frozen(plan)
    document = {"format": _FORMAT, "date": date, "sha256": digest_of(content), "plan": content}
    return json.dumps(document, indent=2) + "\n"


def read_preregistration(path: Path) -> tuple[Preregistered, dict[str, Any]] | None:
    """Date and hash of a preregistration, and the frozen plan; None if there is no such file.

    Raises:
        SpecError: it cannot be read, or was changed after it was written.
    """
    try:
        found = json.loads(path.read_bytes())
        made, content = Preregistered(date=found["date"], digest=found["sha256"]), found["plan"]
        is_whole = found["format"] == _FORMAT and digest_of(content) == made.digest
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as err:
        hint = "restore it, or remove it: the plan is then not preregistered"
        raise SpecError(Problem(f"cannot be read: {err}", where=str(path), hint=hint)) from err
    if not is_whole:
        hint = "restore it, or remove it: the plan is then not preregistered"
        raise SpecError(Problem("was changed after it was written: its hash is another", where=str(path), hint=hint))
    return made, content


def differences(content: dict[str, Any], plan: RunPlan) -> Iterator[str]:
    """What of the plan is not as it was frozen, a text each."""
    now = frozen(plan)
    for name in (*_FIELDS, "path"):
        earlier, later = content.get(name), now.get(name)
        if isinstance(earlier, dict) and isinstance(later, dict):
            for key in sorted(earlier.keys() | later.keys()):
                if earlier.get(key) != later.get(key):
                    yield f"{name}.{key}: {value_text(earlier.get(key))} -> {value_text(later.get(key))}"
        elif earlier != later:
            yield f"{name}: {value_text(earlier)} -> {value_text(later)}"
    before, after = ({each["name"]: each for each in one["variants"]} for one in (content, now))
    for name in before.keys() - after.keys():
        yield f"row left out: {name}"
    for name, each in after.items():
        if name not in before:
            yield f"row added: {name}"
        elif plan.retuned is None and each != before[name]:  # a tuned row has its own optimum
            yield f"row changed: {name}"
