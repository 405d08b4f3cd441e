"""First weights of a network from a file: of this project's runs, of timm, of DINO, or of BERT's releases.

Every tensor of the model must be in the file, but for its classifier and what a mechanism adds to its host, which are
then left as they were initialised; where the weights are measured without training, these must be in it, too. What is
left, and what in the file has no place in the model, is reported: a mechanism that finds no weights must not go unseen.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from modelzoo.attention.contract import TokenAttention
from modelzoo.attention.softmax import SoftmaxAttention
from modelzoo.official.checkpoint_file import check_finite, read_checkpoint
from modelzoo.official.fitting import classifier_names, fitted
from search_space.parsing.errors import Problem, SpecError, first_of

__all__ = ["Match", "initialise_from", "match_weights"]

_MOST_NAMED = 4
_HINT = "weights of another architecture or size do not fit; only a classifier and a mechanism's own weights may differ"


@dataclass(frozen=True)
class Match:
    """What of a file fits a model, by the model's names.

    Attributes:
        fresh: tensors of the model that the file lacks: of its classifier.
        of_mechanism: the same of the mechanisms in it.
        resized: tensors that were resampled, or adapted to other channels.
        unused: tensors of the file that have no place.
    """

    used: Mapping[str, Tensor]
    fresh: Sequence[str]
    of_mechanism: Sequence[str]
    resized: Sequence[str]
    unused: Sequence[str]

    def notes(self) -> list[str]:
        """What a reader of a trial's numbers must know of its first weights, a phrase each."""
        return [
            f"{words}: {first_of(list(names), _MOST_NAMED)}"
            for words, names in (
                ("weights initialised afresh", self.fresh),
                ("weights of the mechanism initialised afresh", self.of_mechanism),
                ("weights resized", self.resized),
                ("weights of the file without a place", self.unused),
            )
            if names
        ]


def match_weights(model: nn.Module, path: Path, *, is_whole: bool = False) -> Match:
    """What of a file fits a model, which may be on the meta device.

    Args:
        is_whole: the file must have all of the model: nothing that is left fresh would be trained.

    Raises:
        SpecError: the file cannot be read, lacks tensors of the model, or has other shapes or numbers that are not
            finite.
    """
    ours = model.state_dict()
    found = fitted(read_checkpoint(path), model)
    theirs = found.tensors
    classifier = tuple(f"{name}." for name in classifier_names(model))
    mechanism = tuple(f"{name}." for name in _mechanisms(model))
    absent = [name for name in ours if name not in theirs or theirs[name].shape != ours[name].shape]
    of_mechanism = [name for name in absent if name.startswith(mechanism)]
    fresh = [name for name in absent if name not in of_mechanism]
    missing = [name for name in fresh if not name.startswith(classifier)]
    if missing:
        raise SpecError(_problems(path, missing, theirs, ours))
    if is_whole and absent:
        raise SpecError([_untrained(path, name, theirs, ours) for name in absent[:_MOST_NAMED]])
    used = {name: tensor for name, tensor in theirs.items() if name in ours and name not in absent}
    check_finite(used, path, path="arch.weights")
    unused = [name for name in theirs if name not in ours]
    return Match(used, fresh, of_mechanism, [name for name in found.resized if name in used], unused)


@torch.no_grad()
def initialise_from(model: nn.Module, path: Path, *, is_whole: bool = False) -> list[str]:
    """Give a model the weights of a file.

    Args:
        is_whole: as of `match_weights`.

    Returns:
        What a reader of its numbers must know, a phrase each: tensors that were left out on either side, or resized.

    Raises:
        SpecError: as `match_weights`; the model is then as it was.
    """
    match = match_weights(model, path, is_whole=is_whole)
    model.load_state_dict({**model.state_dict(), **match.used})
    return match.notes()


def _mechanisms(model: nn.Module) -> list[str]:
    """Names of the mechanisms that are not their host's own attention."""
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, TokenAttention) and not isinstance(module, SoftmaxAttention)
    ]


def _problems(
    path: Path, missing: Sequence[str], theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]
) -> list[Problem]:
    if not set(ours) & set(theirs):
        text = (
            f"{path} has none of the {len(ours)} tensors of the model: it has {first_of(sorted(theirs), _MOST_NAMED)}"
        )
        hint = f"the model has {first_of(list(ours), _MOST_NAMED)}; these are weights of another architecture"
        return [Problem(text, path="arch.weights", hint=hint)]
    problems = [_lacking(path, name, theirs, ours) for name in missing[:_MOST_NAMED]]
    left = len(missing) - _MOST_NAMED
    if left > 0:
        problems.append(Problem(f"and {left} more of {len(ours)} tensors", path="arch.weights"))
    return problems


def _untrained(path: Path, name: str, theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> Problem:
    """A tensor that a training would begin afresh, of weights that are measured without one."""
    came = f"has {name} of shape {list(theirs[name].shape)}" if name in theirs else f"has no {name}"
    text = f"{path} {came}, and the model needs {list(ours[name].shape)}: untrained, it would be measured as noise"
    hint = "take weights of a model with these classes and this mechanism, or train it: epochs >= 1"
    return Problem(text, path="arch.weights", hint=hint)


def _lacking(path: Path, name: str, theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> Problem:
    shape = list(ours[name].shape)
    if name in theirs:
        came, closest = f"has {name} of shape {list(theirs[name].shape)}", ""
    else:
        close = difflib.get_close_matches(name, [each for each in theirs if each not in ours], n=1)
        came, closest = f"has no {name}", f"Its closest is {close[0]}.  " if close else ""
    return Problem(f"{path} {came}, and the model needs {shape}", path="arch.weights", hint=closest + _HINT)
