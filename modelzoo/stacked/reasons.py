"""Whether a model can be stacked, and if not, why, in a sentence for people.

What is not known is not stacked: every layer must be of exactly a type of the table, without hooks and without a
`forward` of its own, and no weight may be in two places.
"""

from __future__ import annotations

from collections import Counter

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from modelzoo.stacked.table import LAYERS

__all__ = ["BATCH_MULTIPLE", "reason_not_stackable"]

BATCH_MULTIPLE = 16
"""Matrix products and vector instructions take so many images at a time: with others a member's last digits would
depend on how many are beside it."""

_HOOKS = (
    *("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"),
    *("_state_dict_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"),
)


def reason_not_stackable(model: nn.Module, *, batch_size: int, num_threads: int) -> str | None:
    """Why models such as this are not trained as one stack; None if they are.

    Args:
        batch_size: images of every training batch.
        num_threads: of a training.
    """
    if type(model) is not VisionTransformer:
        return f"it is a {type(model).__name__}, and only `model: vit` is stacked"
    if num_threads != 1:
        return f"a training has {num_threads} threads, and only trainings of one thread are stacked"
    if batch_size % BATCH_MULTIPLE:
        return f"batch_size={batch_size} is no multiple of {BATCH_MULTIPLE}"
    return _reason_of_weights(model) or _reason_of_layers(model)


def _reason_of_layers(model: nn.Module) -> str | None:
    for name, layer in model.named_modules():
        where = f" ({name})" if name else ""
        kind = type(layer)
        if kind not in LAYERS:
            return f"it has a layer that is not stacked: {kind.__name__}{where}"
        if "forward" in vars(layer) or any(getattr(layer, each, None) for each in _HOOKS):
            return f"something is attached to its layer {kind.__name__}{where}"
        if reason := LAYERS[kind].reason(layer):
            return f"it {reason}{where}"
    return None


def _reason_of_weights(model: nn.Module) -> str | None:
    weights = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    places = Counter(id(weight) for _, weight in weights)
    if shared := [name for name, weight in weights if places[id(weight)] > 1]:
        return f"its weights are in several places ({', '.join(shared)})"
    if other := sorted({str(weight.device) for _, weight in weights if weight.device.type not in ("cpu", "meta")}):
        return f"it is on {', '.join(other)}, and only trainings on a CPU are stacked"
    kinds = {weight.dtype for _, weight in weights if weight.is_floating_point()}
    if kinds - {torch.float32, torch.float64} or len(kinds) > 1:
        return f"its weights are {', '.join(sorted(map(str, kinds)))}, and only those in float32 are stacked"
    return None
