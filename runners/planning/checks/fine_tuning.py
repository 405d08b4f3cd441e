"""First weights, also of a head, and frozen parts of the variants, before training: whether they fit, what they leave.

Weights that a trial keeps which has not run yet are not known to a plan: it says so, and a trial that begins before
they are there fails with the reason.
"""

from __future__ import annotations

import functools
from pathlib import Path

import torch

from modelzoo.official.frozen import freeze_parameters
from modelzoo.official.head_start import start_head
from modelzoo.official.pretrained import match_weights
from runners.data import DataInfo
from runners.data.first_weights import are_expected, fetch_weights, find_weights, missing_seeds, weights_note
from runners.tasks import TASKS
from search_space import Problem, Resources, Setting, SpecError, SweepFile
from search_space.schema.pretrained import parse_weights
from search_space.schema.trial import TrainSpec

__all__ = ["fine_tuning_problems", "notes_on_fine_tuning"]


def fine_tuning_problems(file: SweepFile, setting: Setting, info: DataInfo, *, name: str = "") -> list[Problem]:
    """What is wrong with first weights and frozen parts of a setting that can be built; fetches weights where that is
    allowed.

    Args:
        name: of the variant; empty for the baseline.
    """
    found: list[Problem] = []
    try:
        _frozen(_key_of(setting), info)
    except SpecError as err:
        found += err.problems
    seed, *others = file.sweep.seeds
    try:
        fetch_weights(setting, file.sweep.resources)
        _notes_on_weights(setting, info, file.sweep.resources, seed)
        for seed in others if "split" in setting.train.seeding.varied else ():  # whose test images are others
            if setting.arch.weights is not None:
                weights_note(setting.with_seed(seed), file.sweep.resources)
    except SpecError as err:
        found += [] if are_expected(setting.with_seed(seed), file.sweep.resources) else err.problems
    found += missing_seeds(setting, file.sweep.seeds, file.sweep.resources) if not found else []
    before = f"the variant {name!r}: " if name else ""
    return [
        file.problem(
            ("space",) if name else f"baseline.{each.path or 'arch.weights'}",
            before + " ".join(filter(None, (each.where, each.message))),  # the file itself, where it cannot be read
            each.hint,
        )
        for each in found
    ]


def notes_on_fine_tuning(setting: Setting, info: DataInfo, resources: Resources, seed: int) -> list[str]:
    """First weights, what of the model they leave fresh, and what is frozen, a phrase each, as far as it is known."""
    frozen = _frozen(_key_of(setting), info)
    try:
        return [*_notes_on_weights(setting, info, resources, seed), *frozen]
    except SpecError as err:  # weights that a trial has not kept yet
        assert setting.arch.weights is not None
        if parse_weights(setting.arch.weights).kind == "study":
            return list(frozen)
        missing = "; ".join(": ".join(filter(None, (each.message, each.hint))) for each in err.problems)
        return [f"first weights are not there yet: {missing}", *frozen]


def _notes_on_weights(setting: Setting, info: DataInfo, resources: Resources, seed: int) -> list[str]:
    if setting.arch.weights is None:
        return []
    spec = setting.with_seed(seed)
    path = find_weights(spec, resources)
    # The content may change while the plan is made: the time and the size belong to the key.
    stat = path.stat()
    matched = _matched(_key_of(setting), info, path, stat.st_mtime_ns, stat.st_size)
    return [*weights_note(spec, resources), *matched]


def _key_of(setting: Setting) -> str:
    names = ("freeze", "head_init_scale", "head_init_bias")
    epochs = min(setting.train.epochs, 1)  # all that matters is whether what stays fresh is trained
    train = TrainSpec(epochs=epochs, **{name: getattr(setting.train, name) for name in names})
    return Setting(arch=setting.arch, task=setting.task, train=train).model_dump_json()


@functools.lru_cache(maxsize=256)
def _frozen(setting_json: str, info: DataInfo) -> tuple[str, ...]:
    setting = Setting.model_validate_json(setting_json)
    train = setting.train
    if not train.freeze and train.head_init_scale is None and train.head_init_bias is None:
        return ()
    kind = TASKS[setting.task.name]
    with torch.device("meta"):
        model = kind.build(setting, info)
    start_head(model, scale=train.head_init_scale, bias=train.head_init_bias)
    return tuple(freeze_parameters(model, kind.pretrained_part(model), setting.train.freeze))


@functools.lru_cache(maxsize=256)
def _matched(setting_json: str, info: DataInfo, path: Path, mtime_ns: int, size: int) -> tuple[str, ...]:
    setting = Setting.model_validate_json(setting_json)
    kind = TASKS[setting.task.name]
    with torch.device("meta"):
        model = kind.build(setting, info)
    is_whole = setting.train.epochs == 0
    return tuple(match_weights(kind.pretrained_part(model), path, is_whole=is_whole).notes())
