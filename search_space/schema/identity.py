"""Identity of a trial: equal id = same experiment.

Resume, deduplication and pairing need no other machinery. The id hashes the canonical JSON of the spec without the
fields that stand at their defaults, so that spelling a default out, the order of keys, comments and resources change
nothing, and a field added later leaves old ids alone. Changing the *meaning* of a default must raise
`IDENTITY_VERSION`.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from search_space.schema.trial import Setting, TrialSpec

__all__ = ["IDENTITY_VERSION", "canonical_json", "trial_id", "variant_id"]

IDENTITY_VERSION = 1


def canonical_json(spec: Setting) -> str:
    """The spec as sorted, compact JSON without fields at their default values."""
    content = spec.model_dump(mode="json", exclude_defaults=True)
    # A discriminated node at other than its default must name itself even where `name` is the class default.
    content = _name_nodes(content, spec)
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def trial_id(spec: TrialSpec) -> str:
    """12 hexadecimal digits that name the trial, seed included."""
    return _digest(canonical_json(spec.setting) + f"#seed={spec.seed}")


def variant_id(setting: Setting) -> str:
    """12 hexadecimal digits that name the variant; the seed, if there is one, takes no part."""
    bare = setting.setting if isinstance(setting, TrialSpec) else setting
    return _digest(canonical_json(bare))


def _digest(text: str) -> str:
    return hashlib.sha256(f"{IDENTITY_VERSION}:{text}".encode()).hexdigest()[:12]


def _name_nodes(content: dict[str, Any], spec: Setting) -> dict[str, Any]:
    attention = spec.arch.attention
    if attention.name != "softmax":
        content.setdefault("arch", {}).setdefault("attention", {})["name"] = attention.name
    dataset = spec.task.dataset
    if dataset.name != "builtin/digits":
        content.setdefault("task", {}).setdefault("dataset", {})["name"] = dataset.name
    return content
