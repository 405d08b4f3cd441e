"""Self-supervised pre-training: DINO, and EsViT with a second loss between regions.

A student learns, on all views of an image, the outputs of its teacher on the two global ones; the teacher is the moving
average of the student's weights. What is measured is the teacher's backbone, by labels that neither of them sees:
nearest neighbours and a linear probe, fitted on the training images without augmentation. Beside them are the same
numbers of the network before its training and of the images' pixels, without which they say little. The network before
its training has the weights of its initialisation and the BatchNorm statistics of training images: with a mean of 0 and
a variance of 1 instead, features differ less between images, and any training would seem to gain by the statistics.

`teacher_entropy` is the entropy of the teacher's mean output, `target_entropy` the mean entropy of its outputs, in nats
over the images of the split. With K prototypes there are two collapses: the teacher answers every image with the
uniform distribution (target_entropy and loss near ln K), or with one and the same prototype (teacher_entropy near 0).

Shapes:  B images, V views, K prototypes, D features.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.distributed import all_gather, all_reduce, get_world_size

from modelzoo import Cost, resolve_img_size
from modelzoo.self_supervised import (
    Operation,
    SelfSupervisedNetwork,
    build_self_supervised,
    copy_to_teacher,
    cosine_schedule,
    entropy,
    mean_logits,
    measure_feature_cost,
    region_loss,
    sinkhorn_probabilities,
    student_weights,
    teacher_of,
    teacher_side,
    teacher_temperature,
    update_center,
    update_teacher,
    view_loss,
)
from runners.data import Batch, DataInfo
from runners.data.epochs import updates_of_an_epoch
from runners.data.views.banks import MEASURED
from runners.data.views.crops import NUM_GLOBAL
from runners.tasks.image_network import ImageNetwork
from runners.tasks.metrics.features import Rows, feature_metrics, rows_of_all_processes
from runners.tasks.trained_network import TrainedNetwork, evaluating
from search_space.schema.task import SelfSupervisedSpec, TaskSpec
from search_space.schema.trial import Setting, TrainSpec

__all__ = ["SelfSupervised"]

_COLLAPSED = 0.01
"""Share of ln K within which an entropy is that of a collapse."""
_PIXELS_A_SIDE = 32
"""Images are scaled down to it before their pixels are compared."""


class SelfSupervised(TrainedNetwork, ImageNetwork):
    """Self-distillation without labels (`Task`)."""

    model: SelfSupervisedNetwork

    def __init__(
        self, model: nn.Module, *, info: DataInfo, spec: TaskSpec, train: TrainSpec, device: torch.device
    ) -> None:
        super().__init__(model, train=train, device=device)
        assert isinstance(spec, SelfSupervisedSpec)
        assert isinstance(model, SelfSupervisedNetwork)
        self._spec, self._num_classes = spec, info.num_classes
        self._updates_per_epoch = updates_of_an_epoch(train, info.num_train)
        self._num_updates = train.epochs * self._updates_per_epoch
        self._is_trained = train.epochs > 0
        self._updates = 0
        self.teacher = teacher_of(model)
        self._untrained = copy.deepcopy(self.teacher.backbone).eval()
        is_kept = spec.teacher_update == "previous_iteration"
        self._previous = [weight.clone() for weight in self.teacher.parameters()] if is_kept else []
        self._num_train = info.num_train
        self._centers = torch.zeros(2, 1, spec.prototypes, device=device)  # of views, of regions
        self._references: dict[int, dict[str, float]] = {}
        self._entropies: dict[str, float] = {}

    @staticmethod
    def build(setting: Setting, info: DataInfo, *, seed: int | None = None) -> nn.Module:
        spec = _spec_of(setting)
        return build_self_supervised(
            setting.arch,
            **_shape(setting, info),
            prototypes=spec.prototypes,
            hidden_dim=spec.head_hidden_dim,
            bottleneck_dim=spec.head_dim,
            num_layers=spec.head_layers,
            batch_norm=spec.head_batch_norm,
            norm_last_layer=spec.norm_last_layer,
            activation=spec.head_activation,
            bottleneck=spec.head_bottleneck,
            predictor=spec.predictor,
            regions=spec.method == "esvit",
            seed=seed,
        )

    @staticmethod
    def example(setting: Setting, info: DataInfo, number: int) -> tuple[Any, ...]:
        sizes = _spec_of(setting).view_sizes(resolve_img_size(setting.arch, info.img_size))
        return ([torch.empty(number, info.in_chans, *size) for size in sizes],)

    @staticmethod
    def cost(setting: Setting, info: DataInfo) -> Cost:
        with torch.device("meta"):
            SelfSupervised.build(setting, info)  # refuses what the count of a backbone would not notice
        return measure_feature_cost(setting.arch, **_shape(setting, info))

    @staticmethod
    def pretrained_part(model: nn.Module) -> nn.Module:
        return model.get_submodule("backbone.model")

    @property
    def evaluated_model(self) -> nn.Module:
        """The teacher's backbone, as the model that `arch.model` names."""
        return self.teacher.backbone.model

    @property
    def encoder(self) -> nn.Module:
        return self.evaluated_model

    @property
    def references(self) -> Sequence[nn.Module]:
        # One image at one position has no variance.
        return [self._untrained] if self._num_train > 1 else []

    def loss(self, batch: Batch, stream: Generator) -> Tensor:
        spec, views = self._spec, batch[0].views
        epoch = self._updates // self._updates_per_epoch
        for weight in self.model.last_layers():
            weight.requires_grad_(epoch >= spec.freeze_last_layer)
        first, last = spec.teacher_temp
        temperature = teacher_temperature(epoch, start=first, final=last, warmup_epochs=spec.teacher_temp_epochs)
        temperatures: dict[str, Any] = {"student_temp": spec.student_temp, "teacher_temp": temperature}
        with torch.no_grad():
            target = self.teacher(views[:NUM_GLOBAL])
        output = self.forward(views)
        options = {**temperatures, "operation": self._operation(is_whole=True)}
        loss = view_loss(
            output.logits,
            target.logits,
            center=self._centers[0],
            num_views=len(views),
            metric=spec.loss,
            **options,
        )
        if spec.method == "esvit":
            of_regions = region_loss(
                output.region_logits,
                target.region_logits,
                student_features=output.region_features,
                teacher_features=target.region_features,
                num_regions=output.num_regions,
                teacher_num_regions=target.num_regions,
                center=self._centers[1],
                metric=spec.region_loss,
                **options,
            )
            loss = 0.5 * loss + 0.5 * of_regions
            self._move_center(1, target.region_logits)
        self._move_center(0, target.logits)
        return loss

    def _operation(self, *, is_whole: bool) -> Operation | None:
        """What is done to the teacher's outputs in place of centring.

        Args:
            is_whole: The batch is all rows of all processes; False: of this one.
        """
        name = self._spec.teacher_operation
        if name == "centering":
            return None
        iterations = self._spec.sinkhorn_iterations if name == "sinkhorn" else 1
        gathered = _rows_of_processes if is_whole and self.is_shared else None
        return functools.partial(sinkhorn_probabilities, iterations=iterations, gathered=gathered)

    def _move_center(self, which: int, logits: Tensor) -> None:
        """After the loss, which used the centre as it was: towards the mean over the rows of all processes."""
        mean = mean_logits(logits)
        if self.is_shared:
            count = torch.tensor(float(len(logits)), device=self.device)
            mean = mean * count
            all_reduce(mean)
            all_reduce(count)
            mean = mean / count
        update_center(self._centers[which], mean, momentum=self._spec.center_momentum)

    def after_update(self, num_updates: int) -> None:
        rule = self._spec.teacher_update
        if rule == "momentum":
            first, last = self._spec.momentum
            momentum = cosine_schedule(num_updates - 1, base=first, final=last, num_updates=self._num_updates)
            update_teacher(self.teacher, self.model, momentum)
        elif rule == "previous_iteration":
            copy_to_teacher(self.teacher, self._previous)
            self._previous = [weight.detach().clone() for weight in student_weights(self.teacher, self.model)]
        elif num_updates % self._updates_per_epoch == 0:
            copy_to_teacher(self.teacher, student_weights(self.teacher, self.model))
        self._updates = num_updates

    def weights(self) -> dict[str, Tensor]:
        return self.evaluated_model.state_dict()

    def state_dict(self) -> dict[str, Any]:
        own = {"teacher": self.teacher.state_dict(), "centers": self._centers, "updates": self._updates}
        if self._previous:
            own["previous"] = self._previous
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.teacher.load_state_dict(state["teacher"])
        self._centers.copy_(state["centers"])
        for weight, value in zip(self._previous, state.get("previous", []), strict=True):
            weight.copy_(value)
        self._updates = int(state["updates"])

    @torch.inference_mode()
    def metrics(
        self, batches: Iterable[Batch], autocast: AbstractContextManager, *, correct: list[Tensor] | None = None
    ) -> dict[str, float]:
        is_known = id(batches) in self._references  # what is measured once of each split
        is_compared = self._is_trained and not is_known  # untrained it is the network itself
        parts: dict[str, list[Rows]] = {"": [], "untrained": [], "pixels": []}
        outputs = torch.zeros(self._spec.prototypes + 2, dtype=torch.float64, device=self.device)
        with evaluating(self.teacher):
            for images, targets in batches:
                with autocast:
                    pooled = self.teacher.backbone(images)
                    logits = self.teacher.head(pooled[targets[:, 1] == MEASURED])
                    parts[""].append(self._rows(self.teacher.backbone, images, pooled, targets))
                    if is_compared:
                        before = self._untrained(images)
                        parts["untrained"].append(self._rows(self._untrained, images, before, targets))
                if not is_known:
                    parts["pixels"].append(Rows(_pixels(images), targets.cpu()))
                outputs += self._output_sums(logits)
        if not is_known:
            self._references[id(batches)] = {
                f"{name}_{of}": value for of in ("untrained", "pixels") for name, value in self._read(parts[of]).items()
            }
        # Without training the heads are fresh, so that their outputs say nothing.
        has_outputs = self._is_trained and self._spec.loss != "mse"
        self._entropies = self._measured_entropies(outputs) if has_outputs else {}
        return {**self._read(parts[""]), **self._references[id(batches)], **self._entropies}

    def _rows(self, backbone: Any, images: Tensor, pooled: Tensor, targets: Tensor) -> Rows:
        blocks = None
        if self._spec.linear_blocks > 1 and "linear" in self._spec.evaluate:
            blocks = backbone.last_blocks(images, self._spec.linear_blocks).float().cpu()
        return Rows(pooled.float().cpu(), targets.cpu(), blocks)

    def _read(self, parts: list[Rows]) -> dict[str, float]:
        """Metrics of the features of batches. Features that are not finite make them NaN: the trial has diverged."""
        rows = rows_of_all_processes(Rows.joined(parts), is_shared=self.is_shared)
        if not (rows.features.isfinite().all() and rows.probed.isfinite().all()):
            return {"knn_top1": math.nan}
        return feature_metrics(rows, spec=self._spec, num_classes=self._num_classes)

    def _output_sums(self, logits: Tensor) -> Tensor:
        """Sum of the teacher's outputs (K), of their entropies, and their number."""
        operation, temperature = self._operation(is_whole=False), self._spec.teacher_temp[1]
        probabilities = teacher_side(logits, self._centers[0], temperature, "cross_entropy", operation).double()
        count = torch.tensor([float(len(logits))], dtype=torch.float64, device=self.device)
        return torch.cat([probabilities.sum(dim=0), entropy(probabilities).sum()[None], count])

    def _measured_entropies(self, sums: Tensor) -> dict[str, float]:
        if self.is_shared:
            all_reduce(sums)
        count = sums[-1].item()
        if not count:
            return {}
        of_mean = entropy(sums[:-2] / count).item()
        return {"teacher_entropy": of_mean, "target_entropy": sums[-2].item() / count}

    def remarks(self) -> list[str]:
        most = math.log(self._spec.prototypes)
        if self._entropies.get("target_entropy", 0.0) > (1 - _COLLAPSED) * most:
            return ["collapsed: the teacher answers every image with the uniform distribution"]
        if self._entropies.get("teacher_entropy", most) < _COLLAPSED * most:
            return ["collapsed: the teacher answers every image with the same prototype"]
        return []


def _rows_of_processes(row: Tensor) -> Tensor:
    """Rows (1, K) of all processes, (P, K)."""
    rows = [torch.empty_like(row) for _ in range(get_world_size())]
    all_gather(rows, row.contiguous())
    return torch.cat(rows)


def _pixels(images: Tensor) -> Tensor:
    """Pixels (B, P) of images in place of features, of at most 32 x 32."""
    side = max(images.shape[-2:])
    if side > _PIXELS_A_SIDE:
        size = [max(1, round(each * _PIXELS_A_SIDE / side)) for each in images.shape[-2:]]
        images = nn.functional.interpolate(images, size=size, mode="area")
    return images.flatten(1).float().cpu()


def _spec_of(setting: Setting) -> SelfSupervisedSpec:
    assert isinstance(setting.task, SelfSupervisedSpec)
    return setting.task


def _shape(setting: Setting, info: DataInfo) -> dict[str, Any]:
    size = resolve_img_size(setting.arch, info.img_size)
    return {"img_size": size, "local_size": _spec_of(setting).view_sizes(size)[-1], "in_chans": info.in_chans}
