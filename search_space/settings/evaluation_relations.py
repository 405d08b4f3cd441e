"""Relations between the options of an evaluation: what a model does not have, and what would change nothing; and of an
evaluation without training (`train.epochs: 0`), which measures first weights as they are.

Which sizes a model takes in evaluation, and whether timm knows its crop, is found where the network is built. Options
of a training that is left out are not refused here: a sweep that compares weights before and after a training has them
in its baseline. Where no row trains, `search_space/checks/untrained_checks.py` refuses them.
"""

from __future__ import annotations

from collections.abc import Iterator

from search_space.schema.img_size import as_pair
from search_space.schema.pretrained import is_continued
from search_space.schema.task import TASK_SPECS, ClassificationSpec, ForeignSpec
from search_space.schema.trial import Setting, TrainSpec
from search_space.settings.broken_relation import BrokenRelation

__all__ = ["MEASURING", "evaluation_relations", "untrained_relations"]

MEASURING = ("epochs", "batch_size", "mean", "std", "amp", "map_precision", "deterministic", "numerics", "seeding")
"""Options of `train` that decide how weights are measured."""

_EPOCHS, _WEIGHTS = "train.epochs", "arch.weights"
_CHANGE_THE_HEAD = ("head_init_scale", "head_init_bias")

_CROP, _MODE, _SIZE, _INPUT = "task.crop_pct", "task.crop_mode", "task.test_img_size", "arch.img_size"


def evaluation_relations(setting: Setting) -> Iterator[BrokenRelation]:
    """Relations that the evaluation-only options of classification break; none of other tasks."""
    task, arch = setting.task, setting.arch
    if not isinstance(task, ClassificationSpec):
        return
    if task.crop_pct == "model" and arch.model == "vit":
        message = "'vit' has sizes of its own and no published weights, so it has no evaluation crop"
        yield BrokenRelation(_CROP, message, "write a number, for example 0.875", (_CROP, "arch.model"))
    if task.interpolation == "model" and arch.model == "vit":
        message = "'vit' has sizes of its own and no published weights, so it has no interpolation"
        path = "task.interpolation"
        yield BrokenRelation(path, message, "write bilinear or bicubic", (path, "arch.model"))
    if task.crop_pct == "model" and task.crop_mode is not None:
        message = f"crop_pct: model has the model's own crop_mode with it, so {task.crop_mode!r} would have no effect"
        yield BrokenRelation(_MODE, message, "leave crop_mode out, or write crop_pct as a number", (_MODE, _CROP))
    elif task.crop_mode is not None and _is_of_squares(setting):
        text = f"images of {task.dataset.name!r} and the model's input are square, where timm's modes do not differ"
        if not (task.crop_mode == "border" and task.crop_pct != "model" and task.crop_pct > 1):
            message = f"{text}, so crop_mode={task.crop_mode!r} would have no effect"
            paths = (_MODE, _CROP, _SIZE, _INPUT, "task.dataset")
            yield BrokenRelation(_MODE, message, "leave crop_mode out", paths)
    both = task.test_img_size, arch.img_size
    if both[0] is not None and both[1] is not None and as_pair(both[0]) == as_pair(both[1]):
        shown = "x".join(map(str, as_pair(both[0])))
        message = f"the model is trained at {shown} already, so test_img_size would have no effect"
        yield BrokenRelation(_SIZE, message, "leave test_img_size out", (_SIZE, _INPUT))


def _is_of_squares(setting: Setting) -> bool:
    """Whether images and input are known to be square; the input of a named timm model is not known here."""
    task, arch = setting.task, setting.arch
    assert isinstance(task, ClassificationSpec)
    if task.dataset.num_built_in is None:
        return False
    asked = task.test_img_size or arch.img_size
    if asked is None:
        return arch.model == "vit"
    height, width = as_pair(asked)
    return height == width


def untrained_relations(setting: Setting) -> Iterator[BrokenRelation]:
    """Relations that a setting without training breaks; none of others."""
    arch, task, train = setting.arch, setting.task, setting.train
    if train.epochs:
        return
    if not task.measures_weights:
        yield _of_the_task(setting)
        return
    if arch.weights is None:
        message = "epochs=0 measures the weights of arch.weights as they are, but there are none"
        hint = "write arch: {weights: FILE} (or timm:TAG, run:DIRECTORY/VARIANT), or train: epochs >= 1"
        yield BrokenRelation(_EPOCHS, message, hint, (_EPOCHS, _WEIGHTS))
    elif is_continued(arch.weights):
        message = f"epochs=0 continues no training, but got {arch.weights!r}"
        hint = "name the variant that kept the weights in place of *"
        yield BrokenRelation(_EPOCHS, message, hint, (_EPOCHS, _WEIGHTS))
    if train.steps is not None:
        message = f"epochs=0 does no update, but got steps={train.steps}"
        yield BrokenRelation("train.steps", message, "leave steps out, or write epochs >= 1", ("train.steps", _EPOCHS))
    for name in _CHANGE_THE_HEAD:
        value, path = getattr(train, name), f"train.{name}"
        if value != TrainSpec.model_fields[name].default:
            message = f"epochs=0 measures the weights of arch.weights as they are, but {name}={value} changes the head"
            yield BrokenRelation(path, message, f"leave {name} out, or write epochs >= 1", (path, _EPOCHS))


def _of_the_task(setting: Setting) -> BrokenRelation:
    name = setting.task.name
    paths = (_EPOCHS, "task.name")
    if isinstance(setting.task, ForeignSpec):
        message = f"the training of the task {name!r} is your own, so epochs=0 cannot leave it out"
        return BrokenRelation(_EPOCHS, message, "write epochs >= 1, and such a choice into task.config", paths)
    known = ", ".join(sorted(each for each, spec in TASK_SPECS.items() if spec.measures_weights))
    message = f"the task {name!r} does not measure the model of arch.weights alone: epochs=0 would leave its head fresh"
    return BrokenRelation(
        _EPOCHS, message, f"write epochs >= 1; tasks whose weights are measured alone: {known}", paths
    )
