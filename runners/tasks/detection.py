"""Detection of objects: boxes (RetinaNet), or boxes and masks (Mask R-CNN).

Loss: the sum of the detector's losses. Its sampling of anchors and proposals draws from torch's global generator, which
is the trial's own and is in its checkpoints. Metrics: `box_ap`, `mask_ap`, ... in % as COCO measures them
(`metrics/coco_ap.py`), over all images of the split; those without an object in their range of areas are undefined. A
detector that finds nothing has AP 0. There is no loss on the evaluated split: detectors have losses in training only.

Evaluation is in single precision whatever `train.amp` is: with bfloat16 the corners of boxes would be on a grid of 4
pixels at 800, and scores would tie.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, Literal

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.distributed import all_gather_object, get_world_size

from modelzoo import Cost, resolve_img_size
from modelzoo.dense.detection import Detector, DetectorOptions, InputSides, build_detector, measure_detector_cost
from results.predictions.samples import MOST_OBJECTS, Drawable, Kind, Objects
from runners.data import Batch, DataInfo
from runners.data.detection.objects import Truth, target_of
from runners.tasks.image_network import ImageNetwork
from runners.tasks.metrics.coco_ap import Detections, average_precision, require_evaluator
from runners.tasks.trained_network import TrainedNetwork, evaluating
from search_space.parsing.errors import Problem, SpecError
from search_space.schema.task import DetectionSpec, TaskSpec
from search_space.schema.trial import Setting, TrainSpec

__all__ = ["Detection"]

_SHOWN = {
    "AP": "ap",
    "AP50": "ap50",
    "AP75": "ap75",
    "AP_small": "ap_small",
    "AP_medium": "ap_medium",
    "AP_large": "ap_large",
}


_LEAST_SCORE = 0.5
"""Of objects that are drawn; the metrics count all detections, of which most have a low score. At 0.3, two or three
classes are drawn over each other at most places, because each class is suppressed by itself."""


class Detection(TrainedNetwork, ImageNetwork):
    """Detection (`Task`, `DrawnModel`)."""

    draws: Kind = "objects"
    ignored = -1

    def __init__(
        self, model: nn.Module, *, info: DataInfo, spec: TaskSpec, train: TrainSpec, device: torch.device
    ) -> None:
        super().__init__(model, train=train, device=device)
        assert isinstance(spec, DetectionSpec)
        self._spec = spec

    @staticmethod
    def build(setting: Setting, info: DataInfo, *, seed: int | None = None) -> nn.Module:
        model = build_detector(setting.arch, seed=seed, **_shape(setting, info))
        canvas = model.backbone.canvas
        assert isinstance(setting.task, DetectionSpec)
        _, longest = setting.task.train_sides(canvas)
        if model.backbone.multiple_of is None and longest > min(canvas):
            message = (
                f"{setting.arch.model!r} takes images of {canvas[0]}x{canvas[1]} only, but training images have a "
            )
            hint = f"write train_short_side: [..., {min(canvas)}], long_side: {min(canvas)} or a larger arch.img_size"
            text = f"{message}longer side of up to {longest}"
            raise SpecError(Problem(text, path="task.train_short_side", hint=hint))
        return model

    @staticmethod
    def cost(setting: Setting, info: DataInfo) -> Cost:
        require_evaluator()  # before anything is trained that could not be measured
        with torch.device("meta"):
            Detection.build(setting, info)  # refuses what the count would not notice
        return measure_detector_cost(setting.arch, **_shape(setting, info)).total

    @staticmethod
    def pretrained_part(model: nn.Module) -> nn.Module:
        assert isinstance(model, Detector)
        return model.backbone.model

    @property
    def encoder(self) -> nn.Module:
        model = self.evaluated_model
        assert isinstance(model, Detector)
        return model.encoder

    def loss(self, batch: Batch, stream: Generator) -> Tensor:
        images, targets = batch
        losses: dict[str, Tensor] = self.forward(images, targets)
        return torch.stack([loss.float() for loss in losses.values()]).sum()

    @torch.inference_mode()
    def metrics(
        self, batches: Iterable[Batch], autocast: AbstractContextManager, *, correct: list[Tensor] | None = None
    ) -> dict[str, float]:
        model = self.evaluated_model
        seen: list[tuple[Truth, Detections]] = []
        with evaluating(model):
            for images, truths in batches:
                for truth, found in zip(truths, model(images), strict=True):
                    seen.append((truth, _as_coco(found)))
        # Batches are shared out over the processes; the order of the images decides between equal scores.
        everywhere = sorted(_gathered(seen) if self.is_shared else seen, key=lambda each: each[0].image)
        truth = {each.image: each.objects for each, _ in everywhere}
        detections = {each.image: found for each, found in everywhere}
        metrics: dict[str, float] = {}
        kinds: list[Literal["boxes", "masks"]] = ["boxes", "masks"] if self._spec.has_masks else ["boxes"]
        for of in kinds:
            measured = average_precision(truth, detections, of=of)
            prefix = "box" if of == "boxes" else "mask"
            metrics |= {f"{prefix}_{_SHOWN[name]}": 100 * measured[name] for name in _SHOWN if name in measured}
        return metrics

    @property
    def least_score(self) -> float:
        return max(_LEAST_SCORE, self._spec.score_threshold)

    @torch.inference_mode()
    def drawn(
        self, inputs: list[Tensor], targets: list[Truth], autocast: AbstractContextManager
    ) -> list[tuple[Drawable, Drawable]]:
        model = self.evaluated_model
        with evaluating(model):
            pairs = zip(targets, model(inputs), strict=True)
        return [(self._truth(truth), self._found(found)) for truth, found in pairs]

    def _truth(self, truth: Truth) -> Objects:
        """What can be found in an image; crowds are left out."""
        target = target_of(truth.objects, masks=self._spec.has_masks)
        masks = target["masks"].bool() if self._spec.has_masks else None
        scores = torch.full((len(target["labels"]),), float("nan"))
        return _objects(target["boxes"], target["labels"], scores, masks)

    def _found(self, found: dict[str, Tensor]) -> Objects:
        """Detections by falling score, as far as they have the least score."""
        order = found["scores"].argsort(descending=True, stable=True)
        kept = order[found["scores"][order] >= self.least_score]
        masks = found["masks"][kept, 0] > 0.5 if self._spec.has_masks else None
        return _objects(found["boxes"][kept], found["labels"][kept], found["scores"][kept], masks)


def _shape(setting: Setting, info: DataInfo) -> dict[str, Any]:
    spec, canvas = setting.task, resolve_img_size(setting.arch, info.img_size)
    assert isinstance(spec, DetectionSpec)
    return {
        "img_size": canvas,
        "in_chans": info.in_chans,
        "num_classes": info.num_classes,
        "sides": InputSides(*spec.sides(canvas)),
        "options": DetectorOptions(
            detector=spec.detector,
            pyramid=spec.pyramid,
            pyramid_dim=spec.pyramid_dim,
            finest_stride=spec.finest_stride,
            coarse_levels=spec.coarse_levels,
            anchor_size=spec.anchor_size,
            box_dim=spec.box_dim,
            mask_dim=spec.mask_dim,
            mask_layers=spec.mask_layers,
            proposals=(spec.proposals, spec.proposals),
            box_samples=spec.box_samples,
            detections=spec.detections,
            score_threshold=spec.score_threshold,
            nms_threshold=spec.nms_threshold,
        ),
    }


def _objects(boxes: Tensor, labels: Tensor, scores: Tensor, masks: Tensor | None) -> Objects:
    first = slice(0, MOST_OBJECTS)
    return Objects(
        boxes=boxes[first].float().cpu().numpy(),
        labels=labels[first].int().cpu().numpy(),
        scores=scores[first].float().cpu().numpy(),
        masks=None if masks is None else masks[first].cpu().numpy(),
    )


def _as_coco(found: dict[str, Tensor]) -> Detections:
    """Detections of one image as COCO has them: x, y, width, height; masks as run lengths."""
    corners = found["boxes"].double().cpu().numpy()
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    masks = None
    if "masks" in found:
        from faster_coco_eval.core import mask as coco_masks  # pyright: ignore[reportMissingImports]  # an extra

        # (N, 1, H, W) -> (H, W, N) in column order
        pixels = (found["masks"][:, 0] > 0.5).byte().cpu().numpy().transpose(1, 2, 0)
        masks = tuple(coco_masks.encode(np.asfortranarray(pixels))) if pixels.shape[2] else ()
    return Detections(boxes, found["labels"].cpu().numpy(), found["scores"].double().cpu().numpy(), masks)


def _gathered(seen: list[tuple[Truth, Detections]]) -> list[tuple[Truth, Detections]]:
    """Images of all processes."""
    shares: list[Any] = [None] * get_world_size()
    all_gather_object(shares, seen)
    return [each for share in shares for each in share]
