"""Base of tasks of plug-ins: a model of `arch` on images with one target each, a loss, and metrics of all outputs.

A task of a plug-in may be any class with the methods of `task.Task`; this one leaves three of them to write.

Shapes: B images of a batch, N of a split, K outputs of the model.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.distributed import all_gather_object, get_world_size

from modelzoo import Cost, build_model, measure_cost
from runners.data import Batch, DataInfo
from runners.tasks.image_network import ImageNetwork
from runners.tasks.trained_network import TrainedNetwork, evaluating
from search_space.schema.task import TaskSpec
from search_space.schema.trial import Setting, TrainSpec

__all__ = ["ImageTask"]


class ImageTask(TrainedNetwork, ImageNetwork):
    """Task on images (`Task`).

    Attributes:
        spec: class of the options below `task`, a subclass of `ImageTaskSpec`.
        options: those of this trial.
    """

    spec: ClassVar[type[TaskSpec]]

    def __init__(
        self, model: nn.Module, *, info: DataInfo, spec: TaskSpec, train: TrainSpec, device: torch.device
    ) -> None:
        super().__init__(model, train=train, device=device)
        self.options: Any = spec
        self.info = info

    @classmethod
    def num_outputs(cls, info: DataInfo) -> int:
        """Number K of outputs of the model."""
        return info.num_classes

    def loss_of(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Scalar loss of outputs (B, K) and targets (B,), the labels of the dataset."""
        raise NotImplementedError

    def metrics_of(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Metrics of outputs (N, K), float32, and targets (N,) of a whole split, in any order, by their names in
        `spec.metrics`."""
        raise NotImplementedError

    @classmethod
    def build(cls, setting: Setting, info: DataInfo, *, seed: int | None = None) -> nn.Module:
        return build_model(setting.arch, seed=seed, **cls._shape(info))

    @classmethod
    def cost(cls, setting: Setting, info: DataInfo) -> Cost:
        return measure_cost(setting.arch, **cls._shape(info))

    @classmethod
    def _shape(cls, info: DataInfo) -> dict[str, Any]:
        return {"img_size": info.img_size, "in_chans": info.in_chans, "num_classes": cls.num_outputs(info)}

    @staticmethod
    def pretrained_part(model: nn.Module) -> nn.Module:
        return model

    @property
    def encoder(self) -> nn.Module:
        return self.evaluated_model

    def loss(self, batch: Batch, stream: Generator) -> Tensor:
        images, targets = batch
        return self.loss_of(self.forward(images), targets)

    @torch.inference_mode()
    def metrics(
        self, batches: Iterable[Batch], autocast: AbstractContextManager, *, correct: list[Tensor] | None = None
    ) -> dict[str, float]:
        model = self.evaluated_model
        with evaluating(model), autocast:
            parts = [(model(images).float().cpu(), targets.cpu()) for images, targets in batches]
        if self.is_shared:
            found: list[Any] = [None] * get_world_size()
            all_gather_object(found, parts)
            parts = [part for each in found for part in each]
        if not parts:
            return {}
        outputs, labels = (torch.cat(column) for column in zip(*parts, strict=True))
        return self.metrics_of(outputs, labels)
