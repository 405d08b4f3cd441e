"""Strict checks of official configurations and state dicts: no unknown arguments, no missing or unexpected keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from search_space.parsing.errors import Problem, SpecError, did_you_mean

__all__ = ["REQUIRED", "complete", "same_keys", "set_batch_norm_eps"]


class _Required:
    """Sentinel for an argument without a default."""


REQUIRED = _Required()


def complete(
    system: str, config: Mapping[str, Any], defaults: Mapping[str, Any], unused: Iterable[str] = ()
) -> dict[str, Any]:
    """Complete an official configuration with its defaults.

    Args:
        unused: Arguments that the official code accepts but never reads; they are removed.

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
    """State dict of a module whose keys equal the official ones, after a check.

    Raises:
        SpecError: all missing and unexpected keys and wrong shapes.
    """
    own = module.state_dict()
    problems = [Problem(f"{system}: key {key!r} is missing from the state") for key in own if key not in state]
    for key, value in state.items():
        if key not in own:
            problems.append(Problem(f"{system}: unexpected key {key!r} in the state", hint=_near(key, own)))
        elif own[key].shape != value.shape:
            came, legal = tuple(value.shape), tuple(own[key].shape)
            problems.append(Problem(f"{system}: key {key!r} must have shape {legal}, but has {came}"))
    if problems:
        raise SpecError(problems)
    return dict(state)


def set_batch_norm_eps(module: nn.Module, eps: float) -> None:
    """Set the epsilon of all BatchNorms. Official models use torch's default; recorded test cases may not."""
    for child in module.modules():
        if isinstance(child, nn.BatchNorm2d):
            child.eps = eps


def _near(key: str, own: Mapping[str, torch.Tensor]) -> str:
    # The keys of a single module fit into a message, those of a whole model do not.
    if len(own) <= 24:
        return did_you_mean(key, own)
    _, _, guess = did_you_mean(key, own).partition("Did you mean ")
    return f"Did you mean {guess}" if guess else ""
