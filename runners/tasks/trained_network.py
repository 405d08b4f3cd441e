"""A network that is trained: its average for evaluation, its distribution over processes, and its state.

What every task needs that computes loss and metrics by itself. Classification has timm's own (`timm.task`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from runners.data import DataInfo
from search_space.schema.task import TaskSpec
from search_space.schema.trial import Setting, TrainSpec
from search_space.settings.broken_relation import BrokenRelation

__all__ = ["TrainedNetwork", "evaluating"]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards the mode of before, also where the measurement failed."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


class TrainedNetwork:
    """Part of `Task` that does not depend on the task.

    Attributes:
        model: whose weights are optimised.
        forward: computes the loss's output: the model, or its distributed form.
        is_shared: whether several processes train together.
    """

    def __init__(self, model: nn.Module, *, train: TrainSpec, device: torch.device) -> None:
        self.model = model
        self.forward: nn.Module = model
        self.is_shared = False
        self.device = device
        self._average: ModelEmaV3 | None = None
        if train.ema_decay is not None:
            self._average = ModelEmaV3(model, decay=train.ema_decay, use_warmup=train.model_ema_warmup)

    @staticmethod
    def data_options(settings: Sequence[Setting], info: DataInfo) -> dict[str, Any]:
        return {}

    @staticmethod
    def relations(setting: Setting, info: DataInfo) -> Iterable[BrokenRelation]:
        return ()

    @staticmethod
    def measured_in_effect(setting: Setting, info: DataInfo) -> object:
        return setting.task

    @property
    def evaluated_model(self) -> nn.Module:
        return self.model if self._average is None else self._average.module

    @property
    def references(self) -> Sequence[nn.Module]:
        return ()

    def share(self) -> None:
        self.is_shared = True
        # Some models do not use all parameters in every step; without the search their gradients would be waited for.
        devices = [self.device] if self.device.type == "cuda" else None
        self.forward = DistributedDataParallel(self.model, device_ids=devices, find_unused_parameters=True)

    def weights(self) -> dict[str, Tensor]:
        return self.evaluated_model.state_dict()

    def state_dict(self) -> dict[str, Any]:
        state = {"model": self.model.state_dict()}
        return state if self._average is None else state | {"average": self.weights()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        if self._average is not None:
            self._average.module.load_state_dict(state["average"])

    def remarks(self) -> list[str]:
        return []

    def measured_as(self, spec: TaskSpec) -> Any:
        assert not spec.evaluation_only, "a task that cannot be measured in several ways"
        return self

    def begin_epoch(self, finished: int) -> None:
        pass

    def after_update(self, num_updates: int) -> None:
        if self._average is not None:
            self._average.update(self.model, step=num_updates)
