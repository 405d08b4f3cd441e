"""Task interface of the training loop: a loss to minimise, a model to evaluate, and its metrics.

The loop handles neither labels nor logits; everything specific to image classification is behind this interface.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Generator, Tensor, nn

from runners.data import Batch, DataInfo
from search_space.schema.trial import TrainSpec

__all__ = ["Task"]


class Task(Protocol):
    """A model with its loss and metrics. Constructed with the model already on its device."""

    def __init__(self, model: nn.Module, *, info: DataInfo, train: TrainSpec, device: torch.device) -> None: ...

    @property
    def model(self) -> nn.Module:
        """Model whose weights are optimised."""
        ...

    @property
    def evaluated_model(self) -> nn.Module:
        """Model that is evaluated: the moving average of the weights where `ema_decay` is set, else `model`."""
        ...

    def share(self) -> None:
        """Prepare for distributed training: gradients of `loss` are averaged and `metrics` summed over processes."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """Weights that are evaluated, by their names in the model of `modelzoo.build_model`."""
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

    def after_update(self, num_updates: int) -> None:
        """Callback after every optimiser step, with the number of steps so far."""
        ...

    def metrics(
        self, batches: Iterable[Batch], autocast: AbstractContextManager, *, correct: list[Tensor] | None = None
    ) -> dict[str, float]:
        """Metrics of `evaluated_model` over all batches, by their names in `search_space.schema.metrics`.

        Args:
            correct: receives one tensor per batch: which of its images are right at top-1, (B,) bool. A task whose
                images are not simply right or wrong leaves it empty: its trials then keep no predictions.
        """
        ...
