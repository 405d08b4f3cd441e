"""Layout of convolutions on a GPU: channels last where that pays. It changes no mathematics.

On a CPU nothing is changed, bit for bit. On a GPU sums may be added in another order, as they may anyway there.

It pays where convolutions do most of the work (heads of segmentation and detection, convolutional models), in reduced
precision only: tensor cores want the channels of a pixel side by side, and cuDNN otherwise rearranges every input.
Only the weights are rearranged; PyTorch computes what they meet in their layout.
"""

from __future__ import annotations

import functools

import torch
from torch import nn

from modelzoo.factory.cost import flops_by_operation
from runners.data import DataInfo
from runners.tasks import TASKS
from search_space.schema.trial import Setting

__all__ = ["convolution_share", "in_fast_layout"]

_MOST = 0.5


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
