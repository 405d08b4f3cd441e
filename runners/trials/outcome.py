"""Outcome of one training, before the driver makes records of it. Crosses the process boundary as JSON."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from results.store.records import Failure
from runners.trials.out_of_memory import lack_of_memory
from search_space.parsing.secrets import masked

__all__ = ["NonFiniteLoss", "Outcome", "TimeLimit", "TrialFailed", "UndefinedMetric", "failure_of", "too_slow"]

_TRACEBACK_LINES = 30


class NonFiniteLoss(ArithmeticError):
    """The training loss became NaN or infinite: the trial has diverged. Epoch 0: of weights that were not trained."""

    def __init__(self, epoch: int, value: float) -> None:
        where = f"training loss is {value} in epoch {epoch}" if epoch else f"loss of the weights is {value}"
        super().__init__(where)
        self.epoch = epoch
        self.value = value

    def __reduce__(self):
        return (NonFiniteLoss, (self.epoch, self.value))


class UndefinedMetric(ArithmeticError):
    """The metric of the sweep has no value on the evaluated split, such as a mean over no class."""

    def __init__(self, metric: str, epoch: int) -> None:
        when = f" in epoch {epoch}" if epoch else ""
        super().__init__(f"{metric} is undefined on the evaluated split{when}: nothing there can be measured")
        self.metric = metric
        self.epoch = epoch

    def __reduce__(self):
        return (UndefinedMetric, (self.metric, self.epoch))


class TimeLimit(Exception):
    """The trial took longer than `resources.time_limit` allows."""


class TrialFailed(Exception):
    """Failure of a trial that another process has already described as a `Failure`."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclass(frozen=True)
class Outcome:
    """Outcome of a training that ended without an error.

    `completed`: all epochs done; `pruned`: stopped by the pruner; `preempted`: interrupted, to be continued later.
    `correct`: which test images were right, as in `TrialRecord.correct`; empty unless predictions are kept.
    `notes`: what a reader of its numbers must know, a phrase each.
    `costs`: `trainable_params_m`; of a training of the user's own `params_m` and `gmacs` where it says them.
    `others`: trial id -> outcome of each further trial that shared the training; their `total_seconds` are those of
    their own evaluations, which the trial's own do not contain.
    """

    status: Literal["completed", "pruned", "preempted"]
    metrics: dict[str, float] = field(default_factory=dict)
    curve: list[dict[str, float]] = field(default_factory=list)
    epochs: int = 0
    train_seconds: float = 0.0
    total_seconds: float = 0.0
    device: str = ""
    precision: str = ""
    host: str = ""
    correct: str = ""
    notes: list[str] = field(default_factory=list)
    others: dict[str, Outcome] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Outcome:
        """The outcome of its plain values, as `dataclasses.asdict` gives them."""
        others = {key: cls.of(each) for key, each in content.get("others", {}).items()}
        return cls(**{**content, "others": others})


def failure_of(err: BaseException, *, epoch: int | None = None) -> Failure:
    """Failure record of an exception: its type, message and the last lines of its traceback, without passwords.

    Where memory ran out, the type is `OutOfMemory` and the message is that of the exception that says so.
    """
    if isinstance(err, TrialFailed):
        return err.failure
    lack = lack_of_memory(err)
    lines = "".join(traceback.format_exception(err)).splitlines()
    return Failure(
        type=type(err).__name__ if lack is None else "OutOfMemory",
        message=masked(str(lack or err)) or type(lack or err).__name__,
        traceback=masked("\n".join(lines[-_TRACEBACK_LINES:])),
        epoch=getattr(err, "epoch", epoch),
    )


def too_slow(seconds: float | None) -> Failure:
    """Failure record of a trial that was stopped by its time limit of `seconds`."""
    return Failure(
        type="TimeLimit", message=f"not finished after {seconds:g} s, its time limit (`resources.time_limit`)"
    )
