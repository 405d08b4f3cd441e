"""What the training loop asks of a task: a loss to minimise, a model to evaluate, and metrics of it.

The loop knows no labels and no logits; everything that is particular to classifying images lies behind this contract.
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
    """One model with what it is trained for. Constructed with the model already on its device."""

    def __init__(self, model: nn.Module, *, info: DataInfo, train: TrainSpec, device: torch.device) -> None: ...

    @property
    def model(self) -> nn.Module:
        """The model whose weights are optimised."""
        ...

    @property
    def evaluated_model(self) -> nn.Module:
        """The model that is measured: the average of the weights where `ema_decay` is set, else `model`."""
        ...

    def share(self) -> None:
        """From here on the process is one of several: gradients of `loss` are averaged, `metrics` summed over them."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """The weights that are measured, by their names in the model that `modelzoo.build_model` makes."""
        ...

    def loss(self, batch: Batch, stream: Generator) -> Tensor:
        """The scalar to minimise; random choices (mixup) draw from `stream`."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything of the task that training changes, the weights included: tensors and plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes the state of an equal task over."""
        ...

    def after_update(self, num_updates: int) -> None:
        """Called after every optimiser step with the number of steps so far."""
        ...

    def metrics(self, batches: Iterable[Batch], autocast: AbstractContextManager) -> dict[str, float]:
        """Metrics of `evaluated_model` over all batches, by their names in `search_space.schema.metrics`."""
        ...
