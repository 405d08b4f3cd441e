"""What every official system is strict about: known arguments, and a state without missing, left-over or wrong keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from search_space.parsing.errors import Problem, SpecError, did_you_mean

__all__ = ["REQUIRED", "complete", "same_keys", "set_batch_norm_eps"]


class _Required:
    """Marks an argument without a default."""


REQUIRED = _Required()


def complete(
    system: str, config: Mapping[str, Any], defaults: Mapping[str, Any], unused: Iterable[str] = ()
) -> dict[str, Any]:
    """`config` with the defaults of what it leaves out.

    Args:
        unused: arguments that the official code accepts and never reads: accepted and dropped here too.

    Raises:
        SpecError: unknown arguments, or missing ones that have no default.
    """
    unused = set(unused)
    known = [*defaults, *unused]
    problems = [
        Problem(f"{system}: unknown argument {name!r}", hint=did_you_mean(name, known))
        for name in config
        if name not in known
    ]
    problems += [
        Problem(f"{system}: argument {name!r} is missing")
        for name, value in defaults.items()
        if value is REQUIRED and name not in config
    ]
    if problems:
        raise SpecError(problems)
    return {**defaults, **{name: value for name, value in config.items() if name not in unused}}


def same_keys(system: str, state: Mapping[str, torch.Tensor], module: nn.Module) -> dict[str, torch.Tensor]:
    """The state as it is, where our keys are the official ones.

    Raises:
        SpecError: missing and left-over keys and wrong shapes, all of them.
    """
    own = module.state_dict()
    problems = [Problem(f"{system}: key {key!r} is missing from the state") for key in own if key not in state]
    for key, value in state.items():
        if key not in own:
            problems.append(Problem(f"{system}: key {key!r} is left over", hint=_near(key, own)))
        elif own[key].shape != value.shape:
            came, legal = tuple(value.shape), tuple(own[key].shape)
            problems.append(Problem(f"{system}: key {key!r} has shape {came}, but {legal} is needed"))
    if problems:
        raise SpecError(problems)
    return dict(state)


def set_batch_norm_eps(module: nn.Module, eps: float) -> None:
    """The official code leaves it at torch's default everywhere; the recorded cases may say otherwise."""
    for child in module.modules():
        if isinstance(child, nn.BatchNorm2d):
            child.eps = eps


def _near(key: str, own: Mapping[str, torch.Tensor]) -> str:
    # All keys of a whole model would be a wall of text; the keys of a single module are not.
    if len(own) <= 24:
        return did_you_mean(key, own)
    _, _, guess = did_you_mean(key, own).partition("Did you mean ")
    return f"Did you mean {guess}" if guess else ""
