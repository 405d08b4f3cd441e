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
from torch import Tensor, nn

from modelzoo.official.checkpoint_file import check_finite, read_checkpoint
from modelzoo.official.fitting import classifier_names, fitted
from search_space.parsing.errors import Problem, SpecError, first_of

__all__ = ["initialise_from"]

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
    theirs = fitted(read_checkpoint(path), model).tensors
    classifier = tuple(f"{name}." for name in classifier_names(model))
    fresh = [name for name in ours if name not in theirs or theirs[name].shape != ours[name].shape]
    unused = [name for name in theirs if name not in ours]
    missing = [name for name in fresh if not name.startswith(classifier) or not classifier]
    if missing:
        raise SpecError([_lacking(path, name, theirs, ours) for name in missing[:_MOST_NAMED]] + _more(missing))
    used = {name: tensor for name, tensor in theirs.items() if name in ours and name not in fresh}
    check_finite(used, path)
    model.load_state_dict({**ours, **used})
    return [
        f"{words}: {first_of(names, _MOST_NAMED)}"
        for words, names in (("weights initialised afresh", fresh), ("weights of the file without a place", unused))
        if names
    ]


def _lacking(path: Path, name: str, theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> Problem:
    shape = list(ours[name].shape)
    came = f"has {name} of shape {list(theirs[name].shape)}" if name in theirs else f"has no {name}"
    hint = "weights of another architecture, mechanism or size do not fit; only a classifier may differ"
    return Problem(f"{path} {came}, and the model needs {shape}", path="arch.weights", hint=hint)


def _more(missing: list[str]) -> list[Problem]:
    left = len(missing) - _MOST_NAMED
    return [Problem(f"and {left} more tensors", path="arch.weights")] if left > 0 else []
