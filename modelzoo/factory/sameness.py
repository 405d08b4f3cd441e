"""Whether two settings of an architecture build the same model, however they are spelled.

A value that equals a timm model's own default (`qk_norm: false`), and a rate that reaches no block (stochastic depth of
one block), make a row that is no experiment. Models are the same if their modules agree in type, order and every plain
attribute, and their weights at one seed are bit-equal: an option that only initialises otherwise is a difference.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

__all__ = ["Builder", "build_the_same", "structure_of"]

_DEPTH = 4  # of attributes inside attributes


Builder = Callable[[int | None], nn.Module]
"""Builds a model from the seed of its weights."""


def build_the_same(one: Builder, other: Builder) -> bool:
    """Whether both builders give the same model with the same initial weights."""
    if structure_of(one) != structure_of(other):
        return False
    weights = [build(0).state_dict() for build in (one, other)]
    return all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def structure_of(build: Builder) -> str:
    """Digest of a model's modules, their plain attributes, and the shapes of its weights; nothing is allocated."""
    with torch.device("meta"):
        model = build(None)
    digest = hashlib.sha256()
    for name, module in model.named_modules():
        digest.update(f"{name} {type(module).__module__}.{type(module).__qualname__} {_plain(_own(module))}\n".encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
    return digest.hexdigest()


def _own(module: nn.Module) -> dict[str, Any]:
    """Attributes that the class set itself; modules, weights and hooks are not among them."""
    return {name: value for name, value in vars(module).items() if not name.startswith("_")}


def _plain(value: Any, depth: int = _DEPTH) -> str:
    """Text that is equal for equal values; of an object its type and its attributes."""
    if isinstance(value, bool | int | float | complex | str | bytes | torch.dtype | None):
        return repr(value)
    if isinstance(value, torch.Tensor):
        return f"tensor {tuple(value.shape)}"
    if isinstance(value, nn.Module):
        return "module"  # a second name of one that is listed
    if depth == 0:
        return type(value).__qualname__
    if isinstance(value, Mapping):
        return str(sorted((repr(key), _plain(each, depth - 1)) for key, each in value.items()))
    if isinstance(value, list | tuple | set | frozenset):
        return f"{type(value).__name__} {[_plain(each, depth - 1) for each in value]}"
    if isinstance(value, functools.partial):
        return f"partial {_plain([value.func, value.args, value.keywords], depth - 1)}"
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return f"{type(value).__qualname__} {_plain(getattr(value, '__dict__', {}), depth - 1)}"
