"""Text: a class or a number for every text or pair of texts, by BERT.

Loss: cross-entropy with label smoothing, or the squared error of a number. Metrics are those of the dataset, over the
whole split (`metrics/text.py`); `loss` is the plain cross-entropy in nats. The encoder that probes look at has no head.

Shapes: B texts, L tokens, K outputs (classes, or 1 for a number).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.distributed import all_gather_object, get_world_size
from torch.nn import functional as F

from modelzoo import Cost
from modelzoo.text import build_text_encoder, measure_text_cost
from runners.data import Batch, DataInfo
from runners.tasks.trained_network import TrainedNetwork, evaluating
from search_space.schema.task import TaskSpec, TextSpec
from search_space.schema.trial import Setting, TrainSpec

__all__ = ["Text"]


class Text(TrainedNetwork):
    """Classification and regression of text (`Task`)."""

    def __init__(
        self, model: nn.Module, *, info: DataInfo, spec: TaskSpec, train: TrainSpec, device: torch.device
    ) -> None:
        super().__init__(model, train=train, device=device)
        assert isinstance(spec, TextSpec)
        self._spec = spec
        self._smoothing = train.smoothing

    @staticmethod
    def build(setting: Setting, info: DataInfo, *, seed: int | None = None) -> nn.Module:
        assert isinstance(setting.task, TextSpec)
        return build_text_encoder(setting.arch, head_dropout=setting.task.head_dropout, seed=seed, **_sizes(info))

    @staticmethod
    def input_size(setting: Setting, info: DataInfo) -> tuple[int, int]:
        return info.img_size

    @staticmethod
    def example(setting: Setting, info: DataInfo, number: int) -> tuple[Tensor, ...]:
        return (torch.ones(number, 3, info.img_size[1], dtype=torch.int64),)

    @staticmethod
    def notes(setting: Setting, info: DataInfo) -> list[str]:
        return []  # a mechanism takes the place of the attention map only

    @staticmethod
    def cost(setting: Setting, info: DataInfo) -> Cost:
        return measure_text_cost(setting.arch, **_sizes(info))

    @staticmethod
    def pretrained_part(model: nn.Module) -> nn.Module:
        return model.get_submodule("bert")

    @property
    def encoder(self) -> nn.Module:
        encoder = self.evaluated_model.bert
        assert isinstance(encoder, nn.Module)
        return encoder

    def loss(self, batch: Batch, stream: Generator) -> Tensor:
        texts, labels = batch
        output = self.forward(texts)
        if self._spec.is_regression:
            return F.mse_loss(output[:, 0].float(), labels)
        return F.cross_entropy(output, labels, label_smoothing=self._smoothing)

    @torch.inference_mode()
    def metrics(
        self, batches: Iterable[Batch], autocast: AbstractContextManager, *, correct: list[Tensor] | None = None
    ) -> dict[str, float]:
        model = self.evaluated_model
        with evaluating(model), autocast:
            parts = [self._measured(model(texts), labels) for texts, labels in batches]
        # Columns: label, prediction, loss of each text.
        mine = np.concatenate([np.empty((0, 3)), *parts])
        rows = mine if not self.is_shared else np.concatenate(_of_all_processes(mine))
        labels, predicted, losses = rows.T
        if not np.isfinite(rows).all():
            return {"loss": float("nan")}  # diverged; scikit-learn would refuse it in other words
        from runners.tasks.metrics.text import text_metrics  # scikit-learn: a second that other tasks do not pay

        if self._spec.is_regression:
            return text_metrics(predicted, labels, self._spec.measured)
        found = text_metrics(predicted.astype(np.int64), labels.astype(np.int64), self._spec.measured)
        return found | {"loss": float(np.sort(losses).mean())} if len(losses) else found

    def _measured(self, output: Tensor, labels: Tensor) -> np.ndarray:
        """Label, prediction and loss of each text of a batch, (B, 3) float64."""
        output = output.double()
        if self._spec.is_regression:
            predicted, loss = output[:, 0], (output[:, 0] - labels).square()
        else:
            predicted, loss = output.argmax(dim=1), F.cross_entropy(output, labels, reduction="none")
        return torch.stack([labels.double(), predicted.double(), loss], dim=1).cpu().numpy()


def _sizes(info: DataInfo) -> dict[str, Any]:
    outputs = max(1, info.num_classes)
    return {"vocabulary": info.vocabulary, "max_length": info.img_size[1], "num_outputs": outputs}


def _of_all_processes(mine: np.ndarray) -> list[np.ndarray]:
    found: list[Any] = [None] * get_world_size()
    all_gather_object(found, mine)
    return found
