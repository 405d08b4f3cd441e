"""Model selection by validation metric: test metrics at the best epochs, and the best weights.

Separate from the loop because its state is part of a checkpoint and survives interruptions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from search_space.schema.metrics import METRICS, RANKED

__all__ = ["BestOnValidation", "BestWeights"]


class BestOnValidation:
    """Test metrics at the best validation epochs, each metric selected by its own validation value."""

    def __init__(self) -> None:
        self._best: dict[str, float] = {}
        self.test_metrics: dict[str, float] = {}

    def consider(self, on_val: Mapping[str, float], on_test: Callable[[], dict[str, float]]) -> None:
        """Measure the test split if the epoch is the best so far in some metric; of equal ones the earliest counts."""
        ranked = {name: value for name, value in on_val.items() if name in RANKED}
        better = [name for name, value in ranked.items() if _is_better(name, value, self._best.get(name))]
        if not better:
            return
        measured = on_test()
        self._best |= {name: on_val[name] for name in better}
        # A metric may be undefined on one of the splits.
        self.test_metrics |= {f"{name}@best_val": measured[name] for name in better if name in measured}

    def state_dict(self) -> dict[str, Any]:
        return {"best": self._best, "test_metrics": self.test_metrics}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._best, self.test_metrics = dict(state["best"]), dict(state["test_metrics"])


class BestWeights:
    """Copy of the weights of the epoch with the best `metric` so far; of equal ones the earliest counts."""

    def __init__(self, metric: str) -> None:
        self._metric = metric
        self._value: float | None = None
        self.epoch = 0
        self.weights: dict[str, Tensor] = {}

    def consider(self, epoch: int, metrics: Mapping[str, float], weights: Callable[[], Mapping[str, Tensor]]) -> None:
        """Copy the weights if this epoch is the best so far."""
        value = metrics[self._metric]
        if _is_better(self._metric, value, self._value):
            self._value, self.epoch = value, epoch
            # A copy, because training continues in the same memory; on the CPU, to save GPU memory.
            self.weights = {name: tensor.detach().cpu().clone() for name, tensor in weights().items()}

    def state_dict(self) -> dict[str, Any]:
        return {"metric": self._metric, "value": self._value, "epoch": self.epoch, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["metric"] != self._metric:
            raise ValueError(f"its best weights were chosen by {state['metric']!r}, not by {self._metric!r}")
        self._value, self.epoch, self.weights = state["value"], state["epoch"], dict(state["weights"])


def _is_better(metric: str, value: float, than: float | None) -> bool:
    if than is None:
        return True
    return value > than if METRICS[metric].direction == "maximize" else value < than
