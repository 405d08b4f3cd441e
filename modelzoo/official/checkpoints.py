"""Conversion of released checkpoints to weights of a named model: of the zoo, or timm's (DINO, EsViT)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import timm
import torch

from modelzoo.factory.timm_models import check_model_name
from modelzoo.models.adapter_checks import same_keys
from modelzoo.official.checkpoint_file import check_finite
from modelzoo.official.fitting import classifier_names, fitted
from search_space.parsing.errors import Problem, SpecError

__all__ = ["Converted", "convert_checkpoint", "zoo_models"]

MOST_PROBLEMS = 12


@dataclass(frozen=True)
class Converted:
    """Weights of a model from a released file.

    Attributes:
        left_out: names in the file of what is no part of the model: heads of a pre-training, a second network.
        resized: names of tensors that were resampled to the model's images.
    """

    tensors: dict[str, torch.Tensor]
    left_out: tuple[str, ...] = ()
    resized: tuple[str, ...] = ()


def zoo_models() -> list[str]:
    """Sorted names of the zoo's own models."""
    return sorted(
        name for name in timm.list_models() if timm.model_entrypoint(name).__module__.startswith("modelzoo.models.")
    )


def convert_checkpoint(
    state: Mapping[str, torch.Tensor], name: str, *, img_size: int | None = None, num_classes: int = 1000
) -> Converted:
    """Convert a released state dict to the keys and shapes of the model `name`.

    What has another prefix than the model's tensors is left out: in DINO's files `head.*` beside `backbone.*`. Without
    a classifier (`num_classes=0`), the heads of the file are left out.

    Args:
        img_size: Image size of the model instead of its default; a position embedding of another size is resized
            (bicubic).

    Raises:
        SpecError: unknown model, missing or unexpected weights, wrong shapes, or numbers that are not finite.
    """
    check_model_name(name)
    size: dict[str, Any] = {} if img_size is None else {"img_size": img_size}
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=num_classes, **size)
    found = fitted(state, model)
    ours = model.state_dict()
    heads = ("head",) if num_classes == 0 else ()
    left_out = tuple(
        key
        for key in found.tensors
        if key not in ours and ((found.prefix and _is_outside(key, found.prefix, state)) or _is_head(key, heads))
    )
    kept = {key: tensor for key, tensor in found.tensors.items() if key not in left_out}
    try:
        checked = same_keys(name, kept, model)
    except SpecError as err:
        raise SpecError([*_shortened(err.problems), *_about_classes(kept, model, num_classes)]) from err
    check_finite(checked, "the file")
    return Converted({key: value.contiguous() for key, value in checked.items()}, left_out, found.resized)


def _is_outside(key: str, prefix: str, state: Mapping[str, torch.Tensor]) -> bool:
    """Whether the file has the tensor under this name, and not behind the prefix of the model's."""
    return key in state and f"{prefix}{key}" not in state


def _is_head(key: str, heads: tuple[str, ...]) -> bool:
    return any(key.split(".")[0].startswith(head) for head in heads)


def _about_classes(state: Mapping[str, torch.Tensor], model: torch.nn.Module, num_classes: int) -> list[Problem]:
    """The option that fits, if all that is wrong is a classifier of other classes, or the lack of one."""
    ours = model.state_dict()
    classifiers = tuple(f"{name}." for name in classifier_names(model))
    wrong = [key for key in ours if key not in state or state[key].shape != ours[key].shape]
    if set(state) - set(ours) or not all(key.startswith(classifiers) for key in wrong):
        return []
    if missing := [key for key in wrong if key not in state]:
        text = f"the file has no {missing[0]}, and the model has {num_classes} classes"
        return [Problem(text, hint="write --num-classes 0 for weights without a classifier")]
    came = state[wrong[0]].shape[0]
    text = f"the classifier of the file has {came} classes, and the model {num_classes}"
    return [Problem(text, hint=f"write --num-classes {came}")]


def _shortened(problems: Sequence[Problem]) -> list[Problem]:
    """First few problems and the number of the others: weights of another model can have thousands."""
    if len(problems) <= MOST_PROBLEMS:
        return list(problems)
    rest = Problem(f"and {len(problems) - MOST_PROBLEMS} more problems", hint="are these the weights of another model?")
    return [*problems[:MOST_PROBLEMS], rest]
