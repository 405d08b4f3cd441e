"""Conversion of released checkpoints to weights of a named model.

Files differ in their wrapping (`state_dict`, `state_dict_ema`, `model`, `model_ema`, `student`, `teacher`, or none), in
a `module.` prefix, and in the image size of their position embedding. No code in a file is executed: torch reads
tensors and plain values only.
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from modelzoo.models.adapter_checks import same_keys
from modelzoo.models.focal.model import FocalTransformer
from modelzoo.models.focal.state_dict_adapter import released_state as focal_state
from modelzoo.models.regionvit.model import RegionViT
from modelzoo.models.regionvit.state_dict_adapter import released_state as regionvit_state
from modelzoo.models.resampled_positions import resampled_positions
from search_space.parsing.errors import Problem, SpecError, did_you_mean

__all__ = ["convert_checkpoint", "read_checkpoint", "zoo_models"]

PLAIN, EMA = ("state_dict", "model", "student"), ("state_dict_ema", "model_ema", "teacher")
# timm's training scripts save their arguments with the weights; a Namespace contains values and executes no code.
HARMLESS: tuple[Callable[..., Any], ...] = (argparse.Namespace,)
MOST_PROBLEMS = 12
# The other models have the released keys.
OWN_KEYS: dict[type[nn.Module], Callable[[Mapping[str, Any], nn.Module], Mapping[str, torch.Tensor]]] = {
    FocalTransformer: focal_state,
    RegionViT: regionvit_state,
}


def zoo_models() -> list[str]:
    """Sorted names of the zoo's own models."""
    return sorted(
        name for name in timm.list_models() if timm.model_entrypoint(name).__module__.startswith("modelzoo.models.")
    )


def read_checkpoint(path: Path, *, ema: bool | None = None) -> dict[str, torch.Tensor]:
    """Read the state dict of a released file, without its wrapping.

    Args:
        ema: Read the averaged weights (True) or the plain ones (False); None prefers the averaged ones.

    Raises:
        SpecError: the file is missing, is not a checkpoint, contains code, or lacks the requested weights.
    """
    content = _load(path)
    wrapped = {name: content[name] for name in (*PLAIN, *EMA) if isinstance(content.get(name), Mapping)}
    wanted = {None: (*EMA, *PLAIN), True: EMA, False: PLAIN}[ema]
    if not wrapped:
        if ema:
            raise SpecError(
                Problem("contains no averaged weights", where=str(path), hint="without --ema, plain weights are used")
            )
        state = content
    else:
        chosen = [name for name in wanted if name in wrapped]
        if not chosen:
            kind, other = ("averaged", "--no-ema") if ema else ("plain", "--ema")
            raise SpecError(
                Problem(
                    f"contains no {kind} weights, only {', '.join(sorted(wrapped))}",
                    where=str(path),
                    hint=f"use {other} for these",
                )
            )
        state = wrapped[chosen[0]]
    tensors = {str(key).removeprefix("module."): value for key, value in state.items()}
    foreign = [key for key, value in tensors.items() if not isinstance(value, torch.Tensor)]
    if foreign or not tensors:
        shown = ", ".join(map(repr, foreign[:5]))
        raise SpecError(
            Problem(
                f"contains more than weights: {shown}" if foreign else "contains no weights",
                where=str(path),
                hint=f"known wrappings: {', '.join(sorted((*PLAIN, *EMA)))}, or the weights themselves",
            )
        )
    return tensors


def convert_checkpoint(
    state: Mapping[str, torch.Tensor], name: str, *, img_size: int | None = None, num_classes: int = 1000
) -> dict[str, torch.Tensor]:
    """Convert a released state dict to the keys and shapes of the zoo's model `name`.

    Args:
        img_size: Image size of the model instead of its default; a position embedding of another size is resized
            (bicubic).

    Raises:
        SpecError: unknown model, or missing or unexpected weights, or wrong shapes.
    """
    if name not in zoo_models():
        raise SpecError(Problem(f"unknown model of the zoo {name!r}", hint=did_you_mean(name, zoo_models())))
    size: dict[str, Any] = {} if img_size is None else {"img_size": img_size}
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=num_classes, **size)
    convert = OWN_KEYS.get(type(model))
    renamed = dict(convert(state, model) if convert else state)
    if isinstance(model, VisionTransformer) and "pos_embed" in renamed:
        renamed["pos_embed"] = resampled_positions(renamed["pos_embed"], model)
    try:
        checked = same_keys(name, renamed, model)
    except SpecError as err:
        raise SpecError(_shortened(err.problems)) from err
    return {key: value.contiguous() for key, value in checked.items()}


def _shortened(problems: Sequence[Problem]) -> list[Problem]:
    """First few problems and the number of the others: weights of another model can have thousands."""
    if len(problems) <= MOST_PROBLEMS:
        return list(problems)
    rest = Problem(f"and {len(problems) - MOST_PROBLEMS} more problems", hint="are these the weights of another model?")
    return [*problems[:MOST_PROBLEMS], rest]


def _load(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise SpecError(Problem("no such file", where=str(path)))
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(list(HARMLESS)):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (EOFError, OSError, RuntimeError, SafetensorError, pickle.UnpicklingError) as err:
        raise SpecError(_why_unreadable(path)) from err
    if not isinstance(content, Mapping):
        raise SpecError(Problem(f"is not a checkpoint, but a {type(content).__name__}", where=str(path)))
    return content


def _why_unreadable(path: Path) -> Problem:
    try:
        foreign = set(torch.serialization.get_unsafe_globals_in_checkpoint(path)) - {"argparse.Namespace"}
    except (EOFError, OSError, RuntimeError, ValueError, pickle.UnpicklingError):
        foreign = set()
    if not foreign:
        return Problem("is not a checkpoint that torch can read with weights_only=True", where=str(path))
    return Problem(
        f"contains objects other than tensors and plain values: {', '.join(sorted(foreign))}",
        where=str(path),
        hint="reading them would execute code. If you trust the file, save only its weights and import those",
    )
