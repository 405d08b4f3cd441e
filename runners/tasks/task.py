"""Task interface: the network of a setting and its cost, a loss to minimise, a model to evaluate, and its metrics.

Plan, loop and engines handle neither labels nor logits nor heads: everything that is specific to one task is behind
this interface, and in the task's data (`runners/data/loading.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Generator, Tensor, nn

from modelzoo import Cost
from results.predictions.samples import Drawable, Kind
from runners.data import Batch, DataInfo
from search_space.schema.task import TaskSpec
from search_space.schema.trial import Setting, TrainSpec
from search_space.settings.broken_relation import BrokenRelation

__all__ = ["DrawnModel", "MeasuredByClass", "MeasuredModel", "Task"]


class MeasuredModel(Protocol):
    """The evaluated model of a training as one trial measures it: evaluation-only options take effect here."""

    @property
    def encoder(self) -> nn.Module:
        """What the probes look at: as `Task.encoder`, at the size of the evaluation."""
        ...

    def metrics(
        self, batches: Iterable[Batch], autocast: AbstractContextManager, *, correct: list[Tensor] | None = None
    ) -> dict[str, float]:
        """Metrics of `evaluated_model` over all batches (where training is distributed, over those of all processes),
        by their names in `spec.metrics`. A metric that is undefined on these batches is left out.

        Args:
            correct: receives one tensor per batch: which of its images are right at top-1, (B,) bool. A task whose
                images are not simply right or wrong leaves it empty: its trials then keep no predictions.
        """
        ...


@runtime_checkable
class MeasuredByClass(Protocol):
    """The measured model of a task whose images have a class each.

    Attributes:
        class_accuracy: `accuracy/CLASS` in % of the last evaluation, by class; empty where there are too many.
    """

    class_accuracy: dict[str, float]


@runtime_checkable
class DrawnModel(Protocol):
    """The measured model of a task whose spec `is_drawn`: what it predicts can be drawn over the image.

    Attributes:
        draws: what is drawn of an image.
        ignored: label of pixels that count as neither right nor wrong; -1 where there are none.
        least_score: score below which objects are left out; 0 where there are no objects.
    """

    draws: Kind
    ignored: int
    least_score: float

    def drawn(self, inputs: Any, targets: Any, autocast: AbstractContextManager) -> list[tuple[Drawable, Drawable]]:
        """Truth and prediction of each image of a part of an evaluated batch, as its metrics count them. Objects and
        masks are in pixels of the image; a label map may have another size."""
        ...


class Task(Protocol):
    """A model with its loss and metrics. Constructed with the model of `build`, already on its device."""

    def __init__(
        self, model: nn.Module, *, info: DataInfo, spec: TaskSpec, train: TrainSpec, device: torch.device
    ) -> None: ...

    @staticmethod
    def build(setting: Setting, info: DataInfo, *, seed: int | None = None) -> nn.Module:
        """The network of a setting in training mode, with fresh weights, on the current default device.

        It takes what `example` gives. At equal seed, two settings that differ in the mechanism have equal weights
        wherever both have one.

        Args:
            seed: seed of the weights; None draws from torch's global generator.

        Raises:
            SpecError: it cannot be built; the problems have their path below the setting.
        """
        ...

    @staticmethod
    def input_size(setting: Setting, info: DataInfo) -> tuple[int, int]:
        """(height, width) of the network's input."""
        ...

    @staticmethod
    def example(setting: Setting, info: DataInfo, number: int) -> tuple[Any, ...]:
        """Arguments of the network for so many samples, on the current default device; their values mean nothing."""
        ...

    @staticmethod
    def notes(setting: Setting, info: DataInfo) -> list[str]:
        """What a reader must know of the network, a phrase each: what the mechanism takes the place of in its host."""
        ...

    @staticmethod
    def cost(setting: Setting, info: DataInfo) -> Cost:
        """Parameters, and multiply-accumulates of one image in evaluation mode; nothing is allocated.

        Raises:
            SpecError: the network cannot be built, or cannot process an image.
        """
        ...

    @staticmethod
    def data_options(settings: Sequence[Setting], info: DataInfo) -> dict[str, Any]:
        """Arguments of `load_data` that this task alone has: how each of the settings, which share a training, is
        measured."""
        ...

    @staticmethod
    def relations(setting: Setting, info: DataInfo) -> Iterable[BrokenRelation]:
        """Relations that a setting breaks in the light of its data and its model; others are in `search_space`."""
        ...

    @staticmethod
    def measured_in_effect(setting: Setting, info: DataInfo) -> object:
        """The task as its evaluation takes effect: settings with equal answers are measured alike."""
        ...

    @staticmethod
    def pretrained_part(model: nn.Module) -> nn.Module:
        """Part of the network of `build` that `arch.weights` are for: the model of `arch.model`."""
        ...

    @property
    def model(self) -> nn.Module:
        """Model whose weights are optimised."""
        ...

    @property
    def evaluated_model(self) -> nn.Module:
        """Model that is evaluated: the moving average of the weights where `ema_decay` is set, else `model`."""
        ...

    @property
    def encoder(self) -> nn.Module:
        """Part of `evaluated_model` that has the attention: probes look at it, and the BatchNorms inside its attention
        maps are recalibrated. It takes the same images."""
        ...

    @property
    def references(self) -> Sequence[nn.Module]:
        """Networks that stay as they were before the training, for `metrics` to compare with. No training gives their
        BatchNorms statistics, so all of these take those of training images. They take the images of `encoder`."""
        ...

    def share(self) -> None:
        """Prepare for distributed training: gradients of `loss` are averaged and `metrics` summed over processes."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """Weights that are evaluated, by their names in `evaluated_model`."""
        ...

    def loss(self, batch: Batch, stream: Generator) -> Tensor:
        """Scalar loss to minimise; random choices (mixup) draw from `stream`."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """State of the task that training changes, including the weights: tensors and plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the state of an equal task."""
        ...

    def remarks(self) -> list[str]:
        """What a reader of the trial's numbers must know, a phrase each, after the last evaluation: a collapse."""
        ...

    def begin_epoch(self, finished: int) -> None:
        """Callback before the first batch of the epoch after `finished` ones, and before the first one of a resume."""
        ...

    def after_update(self, num_updates: int) -> None:
        """Callback after every optimiser step, with the number of steps so far."""
        ...

    def measured_as(self, spec: TaskSpec) -> MeasuredModel:
        """This training's model under another spec, which differs in evaluation-only options alone."""
        ...

    def metrics(
        self, batches: Iterable[Batch], autocast: AbstractContextManager, *, correct: list[Tensor] | None = None
    ) -> dict[str, float]:
        """As `MeasuredModel.metrics`, of the model as it is trained."""
        ...
