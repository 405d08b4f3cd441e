"""What the epochs of a training have chosen so far: test metrics at the best validation epochs, and the best weights.

Separate from the loop because it is remembered across interruptions: a checkpoint holds its state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from search_space.schema.metrics import METRICS

__all__ = ["BestOnValidation", "BestWeights"]


class BestOnValidation:
    """Test metrics at the epochs that the validation split chooses, each metric by its own validation value."""

    def __init__(self) -> None:
        self._best: dict[str, float] = {}
        self.test_metrics: dict[str, float] = {}

    def consider(self, on_val: Mapping[str, float], on_test: Callable[[], dict[str, float]]) -> None:
        """Measures the test split if an epoch is the best so far in some metric; the earliest of equals stays."""
        better = [name for name, value in on_val.items() if _is_better(name, value, self._best.get(name))]
        if not better:
            return
        measured = on_test()
        self._best |= {name: on_val[name] for name in better}
        self.test_metrics |= {f"{name}@best_val": measured[name] for name in better}

    def state_dict(self) -> dict[str, Any]:
        return {"best": self._best, "test_metrics": self.test_metrics}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._best, self.test_metrics = dict(state["best"]), dict(state["test_metrics"])


class BestWeights:
    """A copy of the weights of the epoch whose `metric` is the best so far; the earliest of equals stays."""

    def __init__(self, metric: str) -> None:
        self._metric = metric
        self._value: float | None = None
        self.epoch = 0
        self.weights: dict[str, Tensor] = {}

    def consider(self, epoch: int, metrics: Mapping[str, float], weights: Callable[[], Mapping[str, Tensor]]) -> None:
        """Copies the weights if this epoch is the best so far."""
        value = metrics[self._metric]
        if _is_better(self._metric, value, self._value):
            self._value, self.epoch = value, epoch
            # Training goes on in the same memory; on the CPU they take none of the GPU's.
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
