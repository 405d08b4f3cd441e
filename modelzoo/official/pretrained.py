"""First weights of a network from a file: of this project's runs, of timm, of DINO, or of BERT's releases.

Every tensor of the model must be in the file, but for its classifier, which is then left as it was initialised. What is
left, and what in the file has no place in the model, is reported: a mechanism that finds no weights must not go unseen.

Wrappings (`state_dict`, `model`, `teacher`, ...) and prefixes (`module.`, `backbone.`, `bert.`, ...) are recognised.
Position embeddings of another image size are resized as timm does; of BERT's, the first are taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from modelzoo.models.resampled_positions import resampled_positions
from modelzoo.official.checkpoints import read_checkpoint
from search_space.parsing.errors import Problem, SpecError, first_of

__all__ = ["initialise_from"]

_PREFIXES = ("_orig_mod.", "module.", "backbone.", "model.", "encoder.", "bert.")
_BERT_POSITIONS = "embeddings.position_embeddings.weight"
_MOST_NAMED = 4


@torch.no_grad()
def initialise_from(model: nn.Module, path: Path) -> list[str]:
    """Give a model the weights of a file.

    Returns:
        What a reader of its numbers must know, a phrase each: tensors that were left out on either side.

    Raises:
        SpecError: the file cannot be read, lacks tensors of the model, or has other shapes or numbers that are not
            finite.
    """
    ours = model.state_dict()
    theirs = _fitted(_renamed(read_checkpoint(path), ours), model, ours)
    classifier = tuple(f"{name}." for name in _classifier_names(model))
    fresh = [name for name in ours if name not in theirs or theirs[name].shape != ours[name].shape]
    unused = [name for name in theirs if name not in ours]
    missing = [name for name in fresh if not name.startswith(classifier) or not classifier]
    if missing:
        raise SpecError([_lacking(path, name, theirs, ours) for name in missing[:_MOST_NAMED]] + _more(missing))
    used = {name: tensor for name, tensor in theirs.items() if name in ours and name not in fresh}
    if broken := [name for name, tensor in used.items() if tensor.is_floating_point() and not tensor.isfinite().all()]:
        text = f"{path} has numbers that are not finite in {first_of(broken, _MOST_NAMED)}"
        raise SpecError(Problem(text, path="arch.weights", hint="these weights are of a training that diverged"))
    model.load_state_dict({**ours, **used})
    return [
        f"{words}: {first_of(names, _MOST_NAMED)}"
        for words, names in (("weights initialised afresh", fresh), ("weights of the file without a place", unused))
        if names
    ]


def _renamed(state: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state without the prefixes that hide the model's names, and with today's names of a LayerNorm's weights."""
    found = {
        name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias"): tensor
        for name, tensor in state.items()
    }
    while True:
        best = max(("", *_PREFIXES), key=lambda prefix: sum(prefix + name in found for name in ours))
        if not best:
            return found
        found = {name.removeprefix(best): tensor for name, tensor in found.items()}


def _fitted(state: dict[str, Tensor], model: nn.Module, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state with position embeddings of the model's size."""
    if isinstance(model, VisionTransformer) and "pos_embed" in state and "pos_embed" in ours:
        state = {**state, "pos_embed": resampled_positions(state["pos_embed"], model)}
    if _BERT_POSITIONS in state and _BERT_POSITIONS in ours:
        state = {**state, _BERT_POSITIONS: state[_BERT_POSITIONS][: len(ours[_BERT_POSITIONS])]}
    return state


def _classifier_names(model: nn.Module) -> tuple[str, ...]:
    config = getattr(model, "default_cfg", None) or {}
    names = config.get("classifier") or "head"
    return (names,) if isinstance(names, str) else tuple(names)


def _lacking(path: Path, name: str, theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> Problem:
    shape = list(ours[name].shape)
    came = f"has {name} of shape {list(theirs[name].shape)}" if name in theirs else f"has no {name}"
    hint = "weights of another architecture, mechanism or size do not fit; only a classifier may differ"
    return Problem(f"{path} {came}, and the model needs {shape}", path="arch.weights", hint=hint)


def _more(missing: list[str]) -> list[Problem]:
    left = len(missing) - _MOST_NAMED
    return [Problem(f"and {left} more tensors", path="arch.weights")] if left > 0 else []
