"""Relations of the task `text`: which model reads text, and which options of images and classes have no meaning there.

They hold in both directions: `bert` takes no images.
"""

from __future__ import annotations

from collections.abc import Iterator

from search_space.schema.attention import RefinerSpec
from search_space.schema.task import TextSpec
from search_space.schema.trial import ArchSpec, Setting
from search_space.settings.broken_relation import BrokenRelation

__all__ = ["bert_relations", "text_relations"]

_OF_IMAGES = ("patch_size", "img_size", "qkv_bias", "class_token", "global_pool")
_ONLY_OF_PATCHES = "mixes a token with its neighbours in the grid of an image, and forms no map between tokens"


def text_relations(setting: Setting) -> Iterator[BrokenRelation]:
    """Relations between task and model that a setting breaks."""
    arch, task = setting.arch, setting.task
    is_text = isinstance(task, TextSpec)
    if is_text != (arch.model == "bert"):
        message = (
            f"the task 'text' needs a model of text, and {arch.model!r} takes images"
            if is_text
            else f"'bert' reads text, and the task {task.name!r} has images"
        )
        hint = "write arch.model: bert" if is_text else "write task: {name: text, ...}, or choose a model of images"
        yield BrokenRelation("arch.model", message, hint, ("arch.model", "task.name"))
        return
    if not isinstance(task, TextSpec):
        return
    yield from bert_relations(arch)
    if task.is_regression and setting.train.smoothing:
        message = (
            f"{task.dataset.name!r} has numbers as labels, so smoothing={setting.train.smoothing:g} has no meaning"
        )
        yield BrokenRelation("train.smoothing", message, "leave smoothing out", ("train.smoothing", "task.dataset"))


def bert_relations(arch: ArchSpec) -> Iterator[BrokenRelation]:
    """Options of the architecture that `bert` does not have."""
    for name in _OF_IMAGES:
        value = getattr(arch, name)
        if value is not None:
            yield _foreign(f"arch.{name}", f"{name} is an option of models of images; 'bert' has none", value)
    if arch.drop_path_rate:
        message = "'bert' drops entries and no paths"
        yield _foreign("arch.drop_path_rate", message, arch.drop_path_rate)
    for name, value in sorted(arch.options.items()):
        message = "'bert' has depth, embed_dim, num_heads, mlp_ratio and two rates of dropout, and no further options"
        yield _foreign(f"arch.options.{name}", message, value)
    mechanism = arch.attention
    if mechanism.name == "groupmix":
        hint = "choose softmax, reattention or refiner"
        yield BrokenRelation("arch.attention", f"'groupmix' {_ONLY_OF_PATCHES}, so it cannot read text", hint, _BOTH)
    if isinstance(mechanism, RefinerSpec):
        if mechanism.kernel_form == "spatial":
            message = "kernel_form=spatial takes the keys as an image, and the tokens of 'bert' are a line"
            path, hint = "arch.attention.kernel_form", "choose square or row_column"
            yield BrokenRelation(path, message, hint, (path, "arch.model"))
        for name, default in (("sharing", "none"), ("refine_shared", True), ("residual_map", False)):
            value = getattr(mechanism, name)
            if value != default:
                message = "the blocks of 'bert' hand on no attention maps"
                yield _foreign(f"arch.attention.{name}", message, value)


_BOTH = ("arch.attention", "arch.model")


def _foreign(path: str, why: str, value: object) -> BrokenRelation:
    name = path.rpartition(".")[2]
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return BrokenRelation(
        path, f"{why}, so {name}={shown} would have no effect", f"leave {name} out", (path, "arch.model")
    )
