"""First weights of the variants, before anything is trained: whether they are there and fit, and what stays fresh.

Weights that a trial keeps which has not run yet are not known to a plan: their trials say by themselves what is wrong.
"""

from __future__ import annotations

import functools
from pathlib import Path

import torch

from modelzoo.official.pretrained import match_weights
from runners.data import DataInfo
from runners.data.first_weights import fetch_weights, find_weights, weights_note
from runners.tasks import TASKS
from search_space import Problem, Resources, Setting, SpecError, SweepFile
from search_space.schema.pretrained import parse_weights

__all__ = ["notes_on_weights", "weights_problems"]


def weights_problems(file: SweepFile, setting: Setting, info: DataInfo, *, name: str = "") -> list[Problem]:
    """What is wrong with the first weights of a setting that can be built; fetches them where that is allowed.

    Args:
        name: of the variant; empty for the baseline.
    """
    if setting.arch.weights is None:
        return []
    resources, seed = file.sweep.resources, file.sweep.seeds[0]
    try:
        fetch_weights(setting, resources)
        _notes(setting, info, resources, seed)
    except SpecError as err:
        if parse_weights(setting.arch.weights).kind in ("run", "study"):
            return []
        place = "baseline.arch.weights" if not name else ("space",)
        before = f"the variant {name!r}: " if name else ""
        return [file.problem(place, before + each.message, each.hint) for each in err.problems]
    return []


def notes_on_weights(setting: Setting, info: DataInfo, resources: Resources, seed: int) -> list[str]:
    """First weights and what of the model they leave fresh, a phrase each; empty where that is not known yet."""
    try:
        return _notes(setting, info, resources, seed)
    except SpecError:  # weights that a trial has not kept yet
        return []


def _notes(setting: Setting, info: DataInfo, resources: Resources, seed: int) -> list[str]:
    if setting.arch.weights is None:
        return []
    spec = setting.with_seed(seed)
    path = find_weights(spec, resources)
    # The content may change while the plan is made: the time and the size belong to the key.
    stat = path.stat()
    matched = _matched(setting.model_dump_json(include={"arch", "task"}), info, path, stat.st_mtime_ns, stat.st_size)
    return [*weights_note(spec, resources), *matched]


@functools.lru_cache(maxsize=256)
def _matched(setting_json: str, info: DataInfo, path: Path, mtime_ns: int, size: int) -> tuple[str, ...]:
    setting = Setting.model_validate_json(setting_json)
    kind = TASKS[setting.task.name]
    with torch.device("meta"):
        model = kind.build(setting, info)
    return tuple(match_weights(kind.pretrained_part(model), path).notes())
