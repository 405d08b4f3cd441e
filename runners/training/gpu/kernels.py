"""Choice of kernels on a GPU that changes no mathematics: layout of convolutions, and optimisers in one kernel.

On a CPU nothing is changed, bit for bit. On a GPU sums may be added in another order, as they may anyway there.

channels last  where convolutions do most of the work (heads of segmentation and detection, convolutional models), in
               reduced precision only: tensor cores want the channels of a pixel side by side, and cuDNN otherwise
               rearranges every input. Only the weights are rearranged; PyTorch computes what they meet in their layout.
fused          Adam, AdamW and SGD update all weights in one kernel instead of a dozen. Not beside a loss scaler: a
               fused step takes the scale out of the gradients itself, after the hooks that clip them.
"""

from __future__ import annotations

import functools
from collections.abc import Collection
from typing import Any

import torch
from timm.optim import create_optimizer_v2
from torch import nn
from torch.optim import Optimizer

from modelzoo.factory.cost import flops_by_operation
from runners.data import DataInfo
from runners.tasks import TASKS
from search_space.schema.trial import Setting, TrainSpec

__all__ = ["convolution_share", "create_optimizer", "in_fast_layout", "load_optimizer", "optimizer_options"]

_MOST = 0.5
_FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)


def in_fast_layout(model: nn.Module, setting: Setting, info: DataInfo, device: torch.device) -> nn.Module:
    """The model with weights of convolutions channels last where that pays; its values and its names stay."""
    if device.type != "cuda" or setting.train.amp == "off" or convolution_share(setting, info) <= _MOST:
        return model
    return model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def convolution_share(setting: Setting, info: DataInfo) -> float:
    """Share of convolutions in the multiply-accumulates of a network, counted on the meta device as its cost is."""
    return _share(setting.model_dump_json(include={"arch", "task"}), info)


@functools.lru_cache(maxsize=64)
def _share(setting_json: str, info: DataInfo) -> float:
    setting = Setting.model_validate_json(setting_json)
    kind = TASKS[setting.task.name]
    with torch.device("meta"):
        flops, _ = flops_by_operation(kind.build(setting, info), *kind.example(setting, info, 2))
    convolutions = sum(num for operation, num in flops.items() if "convolution" in str(operation))
    return convolutions / max(1, sum(flops.values()))


def create_optimizer(
    model: nn.Module, train: TrainSpec, device: torch.device, *, head: Collection[str] = ()
) -> Optimizer:
    """The optimiser of a training: timm's, fused where PyTorch has a fused kernel for it and the device is a GPU.

    Args:
        head: names of the parameters whose learning rate `head_lr_scale` scales.
    """
    options = optimizer_options(train)
    made = create_optimizer_v2(model, **options)
    # timm's wrappers (lookahead) hide the class, and pass no such option on.
    if device.type != "cuda" or train.amp == "float16" or type(made) not in _FUSED:
        return _with_head(made, model, train, head)
    return _with_head(create_optimizer_v2(model, **options, fused=True), model, train, head)


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
        ours = [{"fused": group["fused"]} if "fused" in group else {} for group in optimizer.param_groups]
        groups = [{**theirs, **own} for theirs, own in zip(groups, ours, strict=True)]
    optimizer.load_state_dict({**state, "param_groups": groups})
    for weight, held in optimizer.state.items():
        for name, value in held.items() if isinstance(held, dict) else ():
            if isinstance(value, torch.Tensor) and value.shape == weight.shape and value.stride() != weight.stride():
                held[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)
