"""Construction of timm models by name, with only those arguments that the sweep gives.

timm's constructors accept different arguments. Every argument of a sweep is either accepted or refused by name; none is
dropped silently. Weights are never downloaded.
"""

from __future__ import annotations

import difflib
import fnmatch
import functools
import inspect
import re
from typing import Any

import timm
import torch
from timm.layers.helpers import to_2tuple
from timm.layers.patch_embed import PatchEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from modelzoo.factory.vit import patch_problems
from search_space.parsing.errors import Problem, SpecError, did_you_mean, reason_of
from search_space.schema.trial import ArchSpec

__all__ = ["available_models", "build_timm_model", "check_model_name"]

# Fields that a model may accept. The rates always have a value (0); a model without such an argument is refused only if
# the rate is not 0.
FIELDS = ("depth", "embed_dim", "num_heads", "mlp_ratio", "patch_size", "qkv_bias", "class_token", "global_pool")
RATES = ("drop_path_rate", "proj_drop_rate", "attn_drop_rate")

# Arguments that archsweep sets itself, and those that would download or load weights.
RESERVED = ("cache_dir", "checkpoint_path", "in_chans", "num_classes", "pretrained", "pretrained_cfg", "scriptable")

# Arguments that cannot be written in a sweep: classes, and what the runner sets.
NOT_VALUES = {"args", "block_fn", "cfg", "device", "dtype", "embed_layer", "kwargs", "mlp_layer", "self"}


def available_models(pattern: str = "") -> list[str]:
    """Model names (`vit` and timm's) that match a part of a name or a pattern with `*`; all names without a pattern."""
    wanted = pattern if "*" in pattern else f"*{pattern}*"
    return [*fnmatch.filter(["vit"], wanted), *timm.list_models(wanted)]


def check_model_name(name: str) -> None:
    """Raise SpecError unless timm can build `name`."""
    # Names with a source (`hf-hub:...`, `local-dir:...`) would access files or the network: refused like unknown ones.
    if timm.is_model(name):
        return
    if name == "bert":
        message = "'bert' reads text, and this task has images"
        hint = "write task: {name: text, ...}, or choose a model of images"
        raise SpecError(Problem(message, path="arch.model", hint=hint))
    known = available_models()
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    guess = f"Did you mean {' or '.join(repr(c) for c in close)}?  " if close else ""
    raise SpecError(
        Problem(
            f"unknown model {name!r}",
            path="arch.model",
            hint=f"{guess}`archsweep models PATTERN` searches the {len(known)} known names.",
        )
    )


def build_timm_model(
    arch: ArchSpec, *, img_size: tuple[int, int] | None, in_chans: int, num_classes: int, options: dict[str, Any]
) -> nn.Module:
    """Build a timm model with the fields that `arch` sets; `img_size` only if the sweep gives one.

    Raises:
        SpecError: an unknown name, an argument that the model does not accept, or sizes that it does not support.
    """
    check_model_name(arch.model)
    given = {name: getattr(arch, name) for name in FIELDS if getattr(arch, name) is not None}
    given |= {name: getattr(arch, name) for name in RATES}
    if img_size is not None:
        given["img_size"] = img_size
    given |= options
    while True:
        try:
            model = timm.create_model(arch.model, pretrained=False, in_chans=in_chans, num_classes=num_classes, **given)
        except SpecError:
            raise  # from a model of the zoo, already readable
        except (AssertionError, AttributeError, KeyError, RuntimeError, TypeError, ValueError) as err:
            refused = _refused_arguments(err, given)
            dispensable = [name for name in refused if _not_needed(arch, name, given)]
            if not dispensable:
                raise SpecError(_problems(arch, err, refused, given)) from err
            for name in dispensable:
                del given[name]
            continue
        _check_patches(model)
        return model


def _check_patches(model: nn.Module) -> None:
    """Raise SpecError if patches do not tile the image; timm would build such a ViT and fail at its first image."""
    embed = model.patch_embed if isinstance(model, VisionTransformer) else None
    if isinstance(embed, PatchEmbed) and embed.img_size is not None:
        height, width = to_2tuple(embed.img_size)
        problems = patch_problems((int(height), int(width)), int(embed.patch_size[0]))
        if problems:
            raise SpecError(problems)


def _refused_arguments(err: Exception, given: dict[str, Any]) -> list[str]:
    """Argument names in `... unexpected keyword argument 'depth'` and `... argument(s): ['depth', 'img_size']`."""
    _, _, names = str(err).partition("unexpected keyword argument")
    return [name for name in re.findall(r"'(\w+)'", names) if name in given]


def _not_needed(arch: ArchSpec, refused: str, given: dict[str, Any]) -> bool:
    """Whether the argument can be omitted without effect: a rate of 0, or the size for a model of any image size."""
    if refused == "img_size":
        cfg = timm.get_pretrained_cfg(arch.model)
        return cfg is None or not cfg.fixed_input_size
    return refused in RATES and given[refused] == 0


def _problems(arch: ArchSpec, err: Exception, refused: list[str], given: dict[str, Any]) -> list[Problem]:
    if not refused:
        reason = f"{type(err).__name__}: {reason_of(err)}"
        asked = ", ".join(f"{name}={value!r}" for name, value in given.items() if name not in RATES or value)
        return [
            Problem(
                f"timm cannot build {arch.model!r}{f' with {asked}' if asked else ''}: {reason}",
                path="arch.model",
                hint="`model: vit` supports any size; `archsweep models` lists the available models",
            )
        ]
    return [
        Problem(
            f"{arch.model!r} takes no {name}, but {given[name]!r} is given",
            path=f"arch.{name}" if name in ArchSpec.model_fields else f"arch.options.{name}",
            hint="remove it, or choose a model that has it (`model: vit` has every field of `arch`)"
            if name in ArchSpec.model_fields
            else did_you_mean(name, _option_names(arch.model)),
        )
        for name in refused
    ]


@functools.cache
def _option_names(model: str) -> tuple[str, ...]:
    """Arguments that the class of a model has by name, without those that are fields of `arch`."""
    with torch.device("meta"):
        built = timm.create_model(model, pretrained=False)
    parameters = inspect.signature(type(built).__init__).parameters
    return tuple(sorted(set(parameters) - set(ArchSpec.model_fields) - NOT_VALUES - set(RESERVED)))
