"""Repeated augmentation: every image comes several times in a row, each time augmented again (`train.aug_repeats`).

Paper:   Hoffer et al. 2020, arXiv:1901.09335; the order is that of DeiT's code and of timm's `RepeatAugSampler`.
Differs: timm needs several processes, each of which sees one of the copies. Here the batches of all processes together
         have the order of timm's, so that their number changes nothing; and an epoch keeps its number of updates (timm
         rounds the images of an epoch down to 256). It has 1 / `aug_repeats` of the images.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Sampler

from runners.data.random_streams import Seed, generator

__all__ = ["Copy", "RepeatedOrder", "epoch_order"]


class Copy(NamedTuple):
    """One of the copies of an image in an epoch."""

    image: int
    number: int


def epoch_order(num_images: int, *, seed: Seed, epoch: int, repeats: int = 0) -> Tensor:
    """Indices (N,) of the images of an epoch, N being their number; with repeats, copies follow one another."""
    order = torch.randperm(num_images, generator=generator(seed, "order", epoch))
    return order.repeat_interleave(repeats)[:num_images] if repeats else order


class RepeatedOrder(Sampler[Copy]):
    """Order of an epoch with repeats; its attribute `epoch` is set before each."""

    def __init__(self, num_images: int, *, seed: Seed, repeats: int) -> None:
        self._num_images = num_images
        self._seed = seed
        self._repeats = repeats
        self.epoch = 0

    def __len__(self) -> int:
        return self._num_images

    def __iter__(self) -> Iterator[Copy]:
        order = epoch_order(self._num_images, seed=self._seed, epoch=self.epoch, repeats=self._repeats)
        for place, index in enumerate(order.tolist()):
            yield Copy(index, place % self._repeats)
