"""The optimiser of a training: timm's, in PyTorch's fused kernels where it has them; and its state from a checkpoint.

A fused kernel updates all weights in one call, where PyTorch's loop calls about ten operations for each of them: 2.9
to 4.4 times as fast on a CPU (AdamW; `benchmarks/step.py`). It rounds differently, so `numerics: single` leaves it out.

Not fused beside a loss scaler: a fused step takes the scale out of the gradients itself, after the hooks that clip
them. Not on other devices, where nothing was measured. PyTorch's `foreach`, the only other form that some optimisers
have, is never chosen on a CPU: it is 1.1 to 1.7 times as fast as the loop at 0.3 million parameters and 0.3 to 0.9
times at 2 million, and Nesterov's SGD writes into the gradients there.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from timm.optim import create_optimizer_v2
from torch import nn
from torch.optim import Optimizer

from search_space.schema.trial import TrainSpec

__all__ = ["KERNELS", "create_optimizer", "load_optimizer", "optimizer_of_one_layer", "optimizer_options"]

_FUSED_ON_GPUS = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)
_FUSED_ON_CPUS = (*_FUSED_ON_GPUS, torch.optim.Adagrad)
KERNELS = ("foreach", "fused")
"""Entries of an optimiser's groups that choose kernels and not the training."""


def create_optimizer(
    model: nn.Module, train: TrainSpec, device: torch.device, *, head: Collection[str] = ()
) -> Optimizer:
    """The optimiser of a training: timm's, fused where PyTorch has a fused kernel for it and this device.

    Args:
        head: names of the parameters whose learning rate `head_lr_scale` scales.
    """
    options = optimizer_options(train)
    made = create_optimizer_v2(model, **options)
    # timm's wrappers (lookahead) hide the class, and pass no such option on.
    if type(made) in _fused_on(device, train):
        made = create_optimizer_v2(model, **options, fused=True)
    return _with_head(made, model, train, head)


def optimizer_of_one_layer(train: TrainSpec) -> Optimizer:
    """The optimiser of a training, of a network of one layer: to see its kind, its options, and what it refuses.

    Without `layer_decay`: there is no decay from layer to layer, and timm would warn of it.
    """
    return create_optimizer(nn.Linear(2, 2), train.model_copy(update={"layer_decay": None}), torch.device("cpu"))


def _fused_on(device: torch.device, train: TrainSpec) -> tuple[type[Optimizer], ...]:
    """Optimisers that this training takes in fused kernels on the device."""
    if device.type == "cuda" and train.amp != "float16":
        return _FUSED_ON_GPUS
    return _FUSED_ON_CPUS if device.type == "cpu" and train.numerics == "auto" else ()


def _with_head(optimizer: Optimizer, model: nn.Module, train: TrainSpec, head: Collection[str]) -> Optimizer:
    """The optimiser with groups of their own for the head, whose `lr_scale` timm's schedules apply."""
    scale = train.head_lr_scale
    if scale is None:
        return optimizer
    of_head = {id(parameter) for name, parameter in model.named_parameters() if name in head}
    for group in list(optimizer.param_groups):
        split = [each for each in group["params"] if id(each) in of_head]
        rest = [each for each in group["params"] if id(each) not in of_head]
        scaled = {"lr_scale": group.get("lr_scale", 1.0) * scale}
        if split and rest:
            group["params"] = rest
            optimizer.add_param_group({**group, "params": split, **scaled})
        elif split:
            group.update(scaled)
    return optimizer


def optimizer_options(train: TrainSpec) -> dict[str, Any]:
    """Arguments of timm's `create_optimizer_v2`; what is not written is left to timm."""
    found: dict[str, Any] = {
        "opt": train.opt,
        "lr": train.peak_lr,
        "weight_decay": train.weight_decay,
        "momentum": train.momentum,
        "layer_decay": train.layer_decay,
        "layer_decay_min_scale": train.layer_decay_min_scale,
        "layer_decay_no_opt_scale": train.layer_decay_no_opt_scale,
    }
    of_optimizer = {"eps": train.opt_eps, "betas": train.opt_betas}
    found |= {name: value for name, value in of_optimizer.items() if value is not None}
    return found | {
        name: list(value) if isinstance(value, tuple) else value for name, value in train.opt_kwargs.items()
    }


def load_optimizer(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Load the state of an equal optimiser of any device: which kernels compute it, and their layout, stay ours.

    Raises:
        ValueError, KeyError, ...: it does not fit.
    """
    groups = state["param_groups"]
    if len(groups) == len(optimizer.param_groups):
        ours = [{name: group[name] for name in KERNELS if name in group} for group in optimizer.param_groups]
        groups = [{**theirs, **own} for theirs, own in zip(groups, ours, strict=True)]
    optimizer.load_state_dict({**state, "param_groups": groups})
    for weight, held in optimizer.state.items():
        for name, value in held.items() if isinstance(held, dict) else ():
            if isinstance(value, torch.Tensor) and value.shape == weight.shape and value.stride() != weight.stride():
                held[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)
