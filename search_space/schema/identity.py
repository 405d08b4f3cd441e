"""Identity of a trial: equal id = same experiment.

Resume, deduplication and pairing depend on these ids only. An id is the hash of the spec's canonical JSON without
fields at their default values. Explicit defaults, the order of keys, comments and resources therefore do not change it,
and a field added later does not change old ids. A change of the *meaning* of a default must increment
`IDENTITY_VERSION`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from search_space.parsing.type_guards import is_mapping
from search_space.schema.attention import RELEASED_KERNELS
from search_space.schema.trial import Setting, TrialSpec

__all__ = [
    "IDENTITY_VERSION",
    "IMPORTED",
    "canonical_json",
    "imported_json",
    "training_id",
    "trial_id",
    "trial_id_of",
    "variant_id",
    "variant_id_of",
]

IDENTITY_VERSION = 1

IMPORTED = "imported"
"""`task.name` in the spec of a run that another program trained; no sweep can have it."""


def canonical_json(spec: Setting) -> str:
    """Canonical JSON of a spec: sorted, compact, without fields at their default values."""
    content = spec.model_dump(mode="json", exclude_defaults=True)
    # A discriminated node that is not the default must contain its `name`, which pydantic omits as a class default.
    content = _name_nodes(content, spec)
    _omit_released_kernels(content)
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def imported_json(setting: Mapping[str, Any]) -> str | None:
    """Canonical JSON of the setting of an imported run, which has no defaults; None for any other setting."""
    task = setting.get("task")
    if not is_mapping(task) or task.get("name") != IMPORTED:
        return None
    return json.dumps(setting, sort_keys=True, separators=(",", ":"))


def trial_id(spec: TrialSpec) -> str:
    """Id of a trial: 12 hexadecimal digits, seed included."""
    return trial_id_of(canonical_json(spec.setting), spec.seed)


def variant_id(setting: Setting) -> str:
    """Id of a variant: 12 hexadecimal digits, without the seed of a `TrialSpec`."""
    bare = setting.setting if isinstance(setting, TrialSpec) else setting
    return variant_id_of(canonical_json(bare))


def training_id(setting: Setting) -> str:
    """Id of what is trained: that of the variant without its evaluation-only options, so equal ids at equal seeds are
    one training, whatever it is measured by."""
    bare = setting.setting if isinstance(setting, TrialSpec) else setting
    fields = type(bare.task).model_fields
    defaults = {name: fields[name].get_default() for name in bare.task.evaluation_only}
    task = bare.task.model_copy(update=defaults) if defaults else bare.task
    return variant_id(bare.model_copy(update={"task": task}))


def trial_id_of(canonical: str, seed: int) -> str:
    """Id of the trial of a setting, given by its canonical JSON, with this seed."""
    return _digest(f"{canonical}#seed={seed}")


def variant_id_of(canonical: str) -> str:
    """Id of the variant of a setting, given by its canonical JSON."""
    return _digest(canonical)


def _digest(text: str) -> str:
    return hashlib.sha256(f"{IDENTITY_VERSION}:{text}".encode()).hexdigest()[:12]


def _omit_released_kernels(content: dict[str, Any]) -> None:
    """Remove the released kernels of Group-Mix, which are its default wherever they fit."""
    attention = content.get("arch", {}).get("attention", {})
    if attention.get("name") == "groupmix" and attention.get("kernel_sizes") == list(RELEASED_KERNELS):
        del attention["kernel_sizes"]


def _name_nodes(content: dict[str, Any], spec: Setting) -> dict[str, Any]:
    attention = spec.arch.attention
    if attention.name != "softmax":
        content.setdefault("arch", {}).setdefault("attention", {})["name"] = attention.name
    task, dataset = spec.task, spec.task.dataset
    if task.name != "classification":
        content.setdefault("task", {})["name"] = task.name
    if dataset.name not in ("builtin/digits", "none"):
        content.setdefault("task", {}).setdefault("dataset", {})["name"] = dataset.name
    return content
