"""Semantic segmentation: a class for every pixel.

Loss: cross-entropy over the labelled pixels of a batch, plus `aux_weight` times that of the auxiliary head. Metrics:
`miou`, `macc` and `pixel_acc` in % from one confusion matrix over all pixels of the split (`metrics/confusion.py`),
`loss` the cross-entropy over all labelled pixels in nats. Labels are never resized: logits are, to their size.

Shapes:  B images, K classes, H x W pixels of the labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.distributed import all_reduce
from torch.nn import functional as F

from modelzoo import Cost, resolve_img_size
from modelzoo.dense import SegmenterOptions, build_segmenter, measure_segmenter_cost, segmentation_loss
from modelzoo.dense.inference import image_logits
from modelzoo.dense.segmenter import Segmentation as Output
from modelzoo.dense.segmenter import Segmenter
from results.predictions.samples import Drawable, Kind, LabelMap
from runners.data import Batch, DataInfo
from runners.tasks.image_network import ImageNetwork
from runners.tasks.metrics.confusion import confusion_matrix, confusion_metrics
from runners.tasks.trained_network import TrainedNetwork, evaluating
from search_space.parsing.errors import Problem, SpecError
from search_space.schema.task import SegmentationSpec, TaskSpec
from search_space.schema.trial import Setting, TrainSpec

__all__ = ["Segmentation"]


class Segmentation(TrainedNetwork, ImageNetwork):
    """Semantic segmentation (`Task`, `DrawnModel`)."""

    draws: Kind = "label_map"
    least_score = 0.0

    def __init__(
        self, model: nn.Module, *, info: DataInfo, spec: TaskSpec, train: TrainSpec, device: torch.device
    ) -> None:
        super().__init__(model, train=train, device=device)
        assert isinstance(spec, SegmentationSpec)
        self._spec = spec
        self._num_classes = info.num_classes

    @property
    def ignored(self) -> int:
        return self._spec.ignore_label

    @staticmethod
    def build(setting: Setting, info: DataInfo, *, seed: int | None = None) -> nn.Module:
        model = build_segmenter(setting.arch, options=_options(setting.task), seed=seed, **_shape(setting, info))
        if problems := list(_problems(model, setting)):
            raise SpecError(problems)
        return model

    @staticmethod
    def cost(setting: Setting, info: DataInfo) -> Cost:
        with torch.device("meta"):
            Segmentation.build(setting, info)  # refuses what the count would not notice
        return measure_segmenter_cost(setting.arch, options=_options(setting.task), **_shape(setting, info)).total

    @staticmethod
    def pretrained_part(model: nn.Module) -> nn.Module:
        return model.get_submodule("backbone.model")

    @property
    def encoder(self) -> nn.Module:
        encoder = self.evaluated_model.backbone
        assert isinstance(encoder, nn.Module)
        return encoder

    def loss(self, batch: Batch, stream: Generator) -> Tensor:
        images, labels = batch
        output = self.forward(images)
        size = labels.shape[-2:]
        auxiliary = None if output.auxiliary is None else _resized(output.auxiliary, size)
        return segmentation_loss(
            Output(_resized(output.logits, size), auxiliary),
            labels.long(),
            aux_weight=self._spec.aux_weight_in_use,
            ignore_label=self._spec.ignore_label,
        )

    @torch.inference_mode()
    def metrics(
        self, batches: Iterable[Batch], autocast: AbstractContextManager, *, correct: list[Tensor] | None = None
    ) -> dict[str, float]:
        model = self.evaluated_model
        assert isinstance(model, Segmenter)
        ignored = self._spec.ignore_label
        matrix = torch.zeros(self._num_classes, self._num_classes, dtype=torch.int64, device=self.device)
        loss = torch.zeros((), dtype=torch.float64, device=self.device)
        with evaluating(model):
            for images, labels in batches:
                logits = self._logits(model, images, labels, autocast)
                loss += F.cross_entropy(logits, labels.long(), ignore_index=ignored, reduction="sum")
                predicted = logits.argmax(dim=1)
                matrix += confusion_matrix(predicted, labels, num_classes=self._num_classes, ignore_label=ignored)
        if self.is_shared:
            all_reduce(matrix)
            all_reduce(loss)
        num_labelled = matrix.sum().item()
        found = confusion_metrics(matrix.cpu())
        return found | {"loss": loss.item() / num_labelled} if num_labelled else found

    @torch.inference_mode()
    def drawn(
        self, inputs: Tensor, targets: Tensor, autocast: AbstractContextManager
    ) -> list[tuple[Drawable, Drawable]]:
        model = self.evaluated_model
        assert isinstance(model, Segmenter)
        with evaluating(model):
            predicted = self._logits(model, inputs, targets, autocast).argmax(dim=1)
        maps = [each.byte().cpu().numpy() for each in (targets, predicted)]
        return [(LabelMap(truth), LabelMap(found)) for truth, found in zip(*maps, strict=True)]

    def _logits(self, model: Segmenter, images: Tensor, labels: Tensor, autocast: AbstractContextManager) -> Tensor:
        """Logits (B, K, H, W) float32 of the size of the labels."""
        with autocast:
            logits = image_logits(model, images, whole=self._spec.inference == "whole")
        return _resized(logits.float(), labels.shape[-2:])


def _problems(model: Segmenter, setting: Setting) -> Iterator[Problem]:
    for note in model.layout.notes:
        yield Problem(note, path=note.split(" ")[0], hint="leave it out, or write it only where it has an effect")
    assert isinstance(setting.task, SegmentationSpec)
    if setting.task.inference == "whole" and model.backbone.multiple_of is None:
        height, width = model.backbone.canvas
        only = f"takes images of {height}x{width} only"
        message = f"{setting.arch.model!r} {only}, so it cannot see whole images of any size"
        hint = "write inference: slide, which all models can; docs/dense.md lists those that take other sizes"
        yield Problem(message, path="task.inference", hint=hint)


def _shape(setting: Setting, info: DataInfo) -> dict[str, Any]:
    canvas = resolve_img_size(setting.arch, info.img_size)
    return {"img_size": canvas, "in_chans": info.in_chans, "num_classes": info.num_classes}


def _options(spec: TaskSpec) -> SegmenterOptions:
    assert isinstance(spec, SegmentationSpec)
    return SegmenterOptions(
        head=spec.head,
        head_dim=spec.head_dim,
        head_dropout=spec.head_dropout,
        pyramid=spec.pyramid,
        pyramid_dim=spec.pyramid_dim,
        pool_scales=spec.pool_scales,
        aux_weight=spec.aux_weight_in_use,
        aux_dim=spec.aux_dim,
    )


def _resized(logits: Tensor, size: torch.Size) -> Tensor:
    """Logits (B, K, H, W) of another size, bilinear."""
    if logits.shape[-2:] == size:
        return logits
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
