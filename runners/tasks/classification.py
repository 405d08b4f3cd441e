"""Image classification. The only module that uses `timm.task`, whose API is young and may change.

Loss: cross-entropy with label smoothing, or on the soft labels that mixup and cutmix make (smoothed by `Mixup`
itself), or binary cross-entropy of the same targets (`train.bce_loss`), or the divergence between splits of the
augmentation beside the cross-entropy of clean images (`train.jsd_loss`); where configured, plus the cosine regulariser
on the attention maps of the same forward pass. Metrics: `top1` and `top5` in %, `loss` the plain cross-entropy in nats,
whatever the training loss is. `top5` is left out where there are five classes or fewer. timm's evaluator counts in
int64 and sums in float64, so a smaller last batch is weighted correctly. Further
metrics are those of `metrics/classification.py`; they count the same top prediction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, get_args

import torch
from timm.data import Mixup
from timm.task import ClassificationTask
from timm.utils import ModelEmaV3
from torch import Generator, Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from modelzoo import (
    Cost,
    at_size,
    build_model,
    evaluation_crop,
    evaluation_interpolation,
    measure_cost,
    resolve_img_size,
)
from modelzoo.probes import cosine_penalty, record_maps
from results.predictions.samples import Drawable, Kind, OneClass
from runners.data import Batch, DataInfo
from runners.data.evaluation_crop import CropMode, EvaluationCrop
from runners.data.random_streams import global_streams
from runners.tasks.image_network import ImageNetwork
from runners.tasks.metrics.classification import class_accuracy, classification_metrics, undefined_because
from runners.tasks.metrics.plugin_metrics import metrics_of_plugins
from runners.tasks.metrics.predictions import CollectedPredictions
from runners.tasks.trained_network import evaluating
from search_space.parsing.errors import Problem, SpecError
from search_space.schema.img_size import as_pair
from search_space.schema.task import ClassificationSpec, TaskSpec
from search_space.schema.trial import Setting, TrainSpec
from search_space.settings.broken_relation import BrokenRelation, without_effect

__all__ = ["Classification", "LogitsOf", "MeasuredClassification", "logits_by"]

LogitsOf = Callable[[Iterable[Batch]], Iterable[Batch]]
"""Logits (B, K) and labels (B,) of every batch of images and labels."""


class Classification(ImageNetwork):
    """Single-label classification (`Task`)."""

    def __init__(
        self, model: nn.Module, *, info: DataInfo, spec: TaskSpec, train: TrainSpec, device: torch.device
    ) -> None:
        mixes = train.mixes
        self._mixup_off_epoch = train.mixup_off_epoch
        self._mixup = (
            Mixup(
                mixup_alpha=train.mixup,
                cutmix_alpha=train.cutmix,
                cutmix_minmax=train.cutmix_minmax,
                prob=train.mixup_prob,
                switch_prob=train.mixup_switch_prob,
                mode=train.mixup_mode,
                label_smoothing=train.smoothing,
                num_classes=info.num_classes,
            )
            if mixes
            else None
        )
        self._is_shared = False
        self._num_classes = info.num_classes
        self._class_names = info.class_names
        self._remarks: list[str] = []
        criterion: dict[str, Any] = {"smoothing": train.smoothing, "soft_targets": mixes}
        if train.bce_loss:
            criterion |= {
                "loss_type": "bce",
                "bce_sum": train.bce_sum,
                "bce_target_thresh": train.bce_target_thresh,
                "pos_weight": train.bce_pos_weight,
            }
        if train.jsd_loss:
            criterion = {"loss_type": "jsd", "jsd_splits": train.aug_splits, "smoothing": train.smoothing}
        self._num_splits = max(1, train.aug_splits)
        self._regulariser = train.cosine_regulariser
        self._logits_by: Callable[[Tensor], Tensor] | None = None
        self._task = ClassificationTask(model, criterion_kwargs=criterion, device=device, verbose=False)
        if train.ema_decay is not None:
            self._task.setup_ema(decay=train.ema_decay, use_warmup=train.model_ema_warmup)

    @staticmethod
    def build(setting: Setting, info: DataInfo, *, seed: int | None = None) -> nn.Module:
        shape = {"img_size": info.img_size, "in_chans": info.in_chans, "num_classes": info.num_classes}
        return build_model(setting.arch, seed=seed, **shape)

    @staticmethod
    def cost(setting: Setting, info: DataInfo) -> Cost:
        size = evaluation_crop_of(setting, info).img_size
        own = resolve_img_size(setting.arch, info.img_size)
        shape = {"img_size": info.img_size, "in_chans": info.in_chans, "num_classes": info.num_classes}
        return measure_cost(setting.arch, test_size=None if size == own else size, **shape)

    @staticmethod
    def data_options(settings: Sequence[Setting], info: DataInfo) -> dict[str, Any]:
        return {"crops": [evaluation_crop_of(each, info) for each in settings]}

    @staticmethod
    def relations(setting: Setting, info: DataInfo) -> Iterator[BrokenRelation]:
        """Sizes that an evaluation does not change; that a model cannot be built or has no crop is said by its cost."""
        task = setting.task
        assert isinstance(task, ClassificationSpec)
        if task.test_img_size is None and task.crop_pct == 1 and task.interpolation == "bilinear":
            return
        try:
            own, crop = resolve_img_size(setting.arch, info.img_size), evaluation_crop_of(setting, info)
        except SpecError:
            return
        shown = "x".join(map(str, crop.img_size))
        if task.test_img_size is not None and crop.img_size == own and setting.arch.img_size is None:
            path = "task.test_img_size"
            message = f"the model is trained at {shown} already, so test_img_size would have no effect"
            yield BrokenRelation(path, message, "leave test_img_size out", (path, "arch.model", "task.dataset"))
        native = info.img_size if info.storage == "memory" else None
        bilinear = replace(crop, interpolation="bilinear")
        if crop != bilinear and crop.in_effect(native) == bilinear.in_effect(native):
            held = "x".join(map(str, native or ()))
            why = f"images of {info.name!r} are held in memory at {held}, and not resized to {shown}"
            paths = ("arch.img_size", "arch.model", "task.crop_pct", "task.test_img_size", "task.dataset")
            yield without_effect(task, "interpolation", why, *paths)
        if task.crop_pct not in (1, "model") and crop.scaled == crop.img_size:
            path = "task.crop_pct"
            message = f"crop_pct={task.crop_pct:g} of {shown} pixels is less than one pixel, so it would have no effect"
            paths = (path, "task.test_img_size", "arch.img_size", "arch.model", "task.dataset")
            yield BrokenRelation(path, message, "leave crop_pct out, or write a number further from 1", paths)

    @staticmethod
    def measured_in_effect(setting: Setting, info: DataInfo) -> object:
        task = setting.task
        assert isinstance(task, ClassificationSpec)
        bare = task.model_copy(update=dict.fromkeys(task.evaluation_only))
        native = info.img_size if info.storage == "memory" else None
        return bare, task.tta, evaluation_crop_of(setting, info).in_effect(native)

    @staticmethod
    def pretrained_part(model: nn.Module) -> nn.Module:
        return model

    @property
    def model(self) -> nn.Module:
        module = self._task.get_trainable_module()
        assert module is not None
        return module.module if isinstance(module, DistributedDataParallel) else module

    @property
    def evaluated_model(self) -> nn.Module:
        if not self._task.has_ema():
            return self.model
        average = self._task.get_eval_model(ema=True)
        assert average is not None
        return average

    @property
    def encoder(self) -> nn.Module:
        return self.evaluated_model

    @property
    def references(self) -> Sequence[nn.Module]:
        return ()

    def share(self) -> None:
        self._is_shared = True
        device = self._task.device
        # Some models do not use all parameters in every step; without the search DDP would wait for their gradients.
        self._task.prepare_distributed(
            device_ids=[device] if device.type == "cuda" else None, find_unused_parameters=True
        )

    def weights(self) -> dict[str, Tensor]:
        model = self.evaluated_model
        return (model.module if isinstance(model, ModelEmaV3) else model).state_dict()

    def state_dict(self) -> dict[str, Any]:
        state = {"model": self.model.state_dict()}
        return state | {"average": self.weights()} if self._task.has_ema() else state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        if self._task.has_ema():
            self.evaluated_model.module.load_state_dict(state["average"])  # pyright: ignore

    def loss(self, batch: Batch, stream: Generator) -> Tensor:
        images, labels = self.mixed(batch, stream)
        if self._logits_by is not None:
            return self.loss_of(self._logits_by(images), labels)
        if self._regulariser is None:
            return self._task(images, labels)["loss"]
        with record_maps(self.model, replace_fused=True) as maps:
            loss = self._task(images, labels)["loss"]
        weights = [one.weights for one in maps if one.weights is not None]
        penalty = cosine_penalty(weights, pairs=self._regulariser.pairs, along=self._regulariser.along)
        return loss + self._regulariser.weight * penalty

    def mixed(self, batch: Batch, stream: Generator) -> Batch:
        """Images as the model takes them in training, and the targets of its logits: labels (B,), or soft ones (B, K)
        where images are mixed. Random choices draw from `stream`."""
        images, labels = batch
        if self._num_splits > 1:
            labels = labels.repeat(self._num_splits)
        if self._mixup is None:
            return images, labels
        # timm's Mixup draws from numpy's global generator.
        with global_streams(int(torch.randint(2**62, (), generator=stream))):
            return self._mixup(images, labels)

    def loss_of(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Scalar loss of logits (B, K) of training images and the targets of `mixed`, without the regulariser, which
        is of the maps."""
        return self._task.criterion(logits, targets)

    def compute_logits_by(self, forward: Callable[[Tensor], Tensor]) -> None:
        """Let the loss take the logits of `model` from another callable that computes them."""
        assert self._regulariser is None, "maps are recorded in the model itself"
        self._logits_by = forward

    def remarks(self) -> list[str]:
        return self._remarks

    def begin_epoch(self, finished: int) -> None:
        if self._mixup is not None and self._mixup_off_epoch:
            self._mixup.mixup_enabled = finished < self._mixup_off_epoch

    def after_update(self, num_updates: int) -> None:
        self._task.update_ema(step=num_updates)

    def measured_as(self, spec: TaskSpec) -> MeasuredClassification:
        return MeasuredClassification(self, spec)

    def metrics(
        self, batches: Iterable[Batch], autocast: AbstractContextManager, *, correct: list[Tensor] | None = None
    ) -> dict[str, float]:
        return self.metrics_of(self.evaluated_model, batches, autocast, correct=correct)

    @torch.inference_mode()
    def drawn_of(
        self, model: nn.Module, images: Tensor, labels: Tensor, autocast: AbstractContextManager, *, flips: bool
    ) -> list[tuple[Drawable, Drawable]]:
        """`DrawnModel.drawn` of a model in the place of `evaluated_model`."""
        with evaluating(model), autocast:
            logits = logits_by(model, flips)(images).float()
        best = _best(logits)
        likely = logits.softmax(dim=-1).gather(1, best[:, None])[:, 0]
        rows = zip(labels.tolist(), best.tolist(), likely.tolist(), strict=True)
        return [(OneClass(label), OneClass(found, probability)) for label, found, probability in rows]

    @torch.inference_mode()
    def metrics_of(
        self,
        model: nn.Module,
        batches: Iterable[Batch],
        autocast: AbstractContextManager,
        *,
        flips: bool = False,
        correct: list[Tensor] | None = None,
        by_class: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Metrics of a model in the place of `evaluated_model`.

        Args:
            by_class: receives the accuracy of every class.
            flips: measure the mean of the logits of every image and its mirror image.
        """
        logits_of = logits_by(model, flips)
        with evaluating(model), autocast:
            predicted = ((logits_of(images), labels) for images, labels in batches)
            return self.metrics_of_logits(predicted, correct=correct, by_class=by_class)

    @torch.inference_mode()
    def metrics_of_logits(
        self,
        predicted: Iterable[Batch],
        *,
        correct: list[Tensor] | None = None,
        by_class: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Metrics of logits (B, K) and labels (B,), a pair for each batch."""
        evaluator = self._task.create_evaluator()
        collected = CollectedPredictions(self._num_classes)
        for logits, labels in predicted:
            best = _best(logits)
            evaluator.update(logits, labels)
            collected.add(logits, best, labels)
            if correct is not None:
                correct.append(best.eq(labels))
        found = evaluator.compute(distributed=self._is_shared)
        names = ("top1", "top5", "loss") if self._num_classes > 5 else ("top1", "loss")
        counted = {name: float(found[name]) for name in names}
        predictions = collected.of_all_processes(is_shared=self._is_shared)
        if not math.isfinite(counted["loss"]):
            return counted  # diverged: there are no probabilities
        self._remarks = undefined_because(predictions)
        if by_class is not None:
            by_class |= class_accuracy(predictions, self._class_names)
        return counted | classification_metrics(predictions) | metrics_of_plugins(predictions)


class MeasuredClassification:
    """A classifier under the evaluation-only options of a trial (`MeasuredModel`, `MeasuredByClass`, `DrawnModel`)."""

    draws: Kind = "one_class"
    ignored = -1
    least_score = 0.0

    def __init__(self, task: Classification, spec: TaskSpec) -> None:
        assert isinstance(spec, ClassificationSpec)
        self.class_accuracy: dict[str, float] = {}
        self._task = task
        self.flips = spec.tta == "hflip"
        self._logits_of: LogitsOf | None = None
        self._size = None if spec.test_img_size is None else as_pair(spec.test_img_size)

    @property
    def encoder(self) -> nn.Module:
        """At a test size a copy of the weights of now, with positions of that size."""
        model = self._task.evaluated_model
        if self._size is None:
            return model
        return at_size(model.module if isinstance(model, ModelEmaV3) else model, self._size)

    def metrics(
        self, batches: Iterable[Batch], autocast: AbstractContextManager, *, correct: list[Tensor] | None = None
    ) -> dict[str, float]:
        self.class_accuracy = {}
        kept = {"correct": correct, "by_class": self.class_accuracy}
        if self._logits_of is not None:
            return self._task.metrics_of_logits(self._logits_of(batches), **kept)
        return self._task.metrics_of(self.encoder, batches, autocast, flips=self.flips, **kept)

    def take_logits_of(self, source: LogitsOf) -> None:
        """Let the metrics take the logits, those of mirror images included, from another source than `encoder`."""
        self._logits_of = source

    def drawn(
        self, inputs: Tensor, targets: Tensor, autocast: AbstractContextManager
    ) -> list[tuple[Drawable, Drawable]]:
        return self._task.drawn_of(self.encoder, inputs, targets, autocast, flips=self.flips)


def evaluation_crop_of(setting: Setting, info: DataInfo) -> EvaluationCrop:
    """Crop and input size by which a setting of classification is measured.

    Raises:
        SpecError: the model states no crop of its own.
    """
    task = setting.task
    assert isinstance(task, ClassificationSpec)
    own = resolve_img_size(setting.arch, info.img_size)
    size = own if task.test_img_size is None else as_pair(task.test_img_size)
    interpolation = task.interpolation
    if interpolation == "model":
        interpolation = evaluation_interpolation(setting.arch)
        if interpolation not in ("bilinear", "bicubic"):
            text = (
                f"timm evaluates {setting.arch.model!r} with an interpolation that is not known here: {interpolation!r}"
            )
            raise SpecError(Problem(text, path="task.interpolation", hint="write bilinear or bicubic"))
    if task.crop_pct != "model":
        return EvaluationCrop(size, task.crop_pct, task.crop_mode, interpolation)
    crop_pct, mode = evaluation_crop(setting.arch)
    if mode not in get_args(CropMode):
        text = f"timm evaluates {setting.arch.model!r} with a crop that is not known here: {mode!r}"
        raise SpecError(Problem(text, path="task.crop_pct", hint="write a number, and crop_mode"))
    return EvaluationCrop(size, crop_pct, mode, interpolation)  # pyright: ignore[reportArgumentType]


def _best(logits: Tensor) -> Tensor:
    """Class with the largest logit, (B,). By the `topk` with which the evaluator counts top-1, because an argmax may
    choose another class among equal logits, which are common in half precision."""
    return logits.float().topk(min(5, logits.shape[-1]), dim=-1).indices[:, 0]


def logits_by(model: Callable[[Tensor], Tensor], flips: bool) -> Callable[[Tensor], Tensor]:
    """The logits of images as a trial is measured by them: with `flips` the mean of those of every image and its mirror
    image."""

    def mean_of_both(images: Tensor) -> Tensor:
        return (model(images).float() + model(images.flip(-1)).float()) / 2

    return mean_of_both if flips else model
