"""Relations between the options of an evaluation: what a model does not have, and what would change nothing.

Which sizes a model takes in evaluation, and whether timm knows its crop, is found where the network is built.
"""

from __future__ import annotations

from collections.abc import Iterator

from search_space.schema.img_size import as_pair
from search_space.schema.task import ClassificationSpec
from search_space.schema.trial import Setting
from search_space.settings.broken_relation import BrokenRelation

__all__ = ["evaluation_relations"]

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
