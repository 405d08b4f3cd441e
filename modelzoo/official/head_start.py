"""First weights of a classifier other than its model's: timm's `head_init_scale` and `head_init_bias`.

As timm's train.py: the classifier is what `get_classifier` gives, after first weights are loaded; its weights and bias
are multiplied by the scale, then every entry of the bias is set. Of a model with two (distilled) it is both.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from search_space.parsing.errors import Problem, SpecError

__all__ = ["start_head"]


def start_head(model: nn.Module, *, scale: float | None, bias: float | None) -> None:
    """Change the first weights of the classifier of a model.

    Raises:
        SpecError: it has none, or none with a bias.
    """
    if scale is None and bias is None:
        return
    found: Any = model.get_classifier() if hasattr(model, "get_classifier") else ()  # pyright: ignore[reportCallIssue]
    heads: list[Any] = []
    for head in found if isinstance(found, tuple) else (found,):
        heads += [head] if hasattr(head, "weight") else []
    name = "head_init_bias" if scale is None else "head_init_scale"
    if not heads:
        text = f"{type(model).__name__} has no classifier with weights"
        raise SpecError(Problem(text, path=f"train.{name}", hint=f"leave {name} out"))
    if bias is not None and any(head.bias is None for head in heads):
        text = f"the classifier of {type(model).__name__} has no bias"
        raise SpecError(Problem(text, path="train.head_init_bias", hint="leave head_init_bias out"))
    with torch.no_grad():
        for head in heads:
            if scale is not None:
                for weight in head.parameters(recurse=False):
                    weight.mul_(scale)
            if bias is not None:
                nn.init.constant_(head.bias, bias)
