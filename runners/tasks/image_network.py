"""What all tasks on images have in common before anything is trained: the size of the input, an example, notes."""

from __future__ import annotations

import torch
from torch import Tensor

from modelzoo import notes_on_host, resolve_img_size
from runners.data import DataInfo
from search_space.schema.trial import Setting

__all__ = ["ImageNetwork"]


class ImageNetwork:
    """Part of `Task` for networks that take images (B, C, H, W) of the size of `resolve_img_size`."""

    @staticmethod
    def input_size(setting: Setting, info: DataInfo) -> tuple[int, int]:
        return resolve_img_size(setting.arch, info.img_size)

    @staticmethod
    def example(setting: Setting, info: DataInfo, number: int) -> tuple[Tensor, ...]:
        return (torch.empty(number, info.in_chans, *resolve_img_size(setting.arch, info.img_size)),)

    @staticmethod
    def notes(setting: Setting, info: DataInfo) -> list[str]:
        shape = {"img_size": info.img_size, "in_chans": info.in_chans, "num_classes": info.num_classes}
        return notes_on_host(setting.arch, **shape)
