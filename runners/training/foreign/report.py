"""What a training of the user's own is given beside its configuration: `report`, called once for every epoch."""

from __future__ import annotations

import json
import math
import numbers
import shutil
import time
from collections.abc import Callable, Mapping
from typing import Any

from results.store.files import atomic_write
from results.store.run_layout import TrialDir
from runners.training.loop import Report as Callback
from search_space.schema.trial import TrialSpec

__all__ = ["BadReport", "TrainingReport", "TrainingStopped", "UnmeasuredMetric", "measured_numbers"]


class TrainingStopped(BaseException):
    """Raised by `report` where the training is to end: it was pruned, or the run is being interrupted.

    A `BaseException`, so that `except Exception` in the user's code does not go on training. `finally` and `with` run.
    """

    def __init__(self, *, is_pruned: bool) -> None:
        super().__init__("the trial is pruned" if is_pruned else "the run is interrupted")
        self.is_pruned = is_pruned


class BadReport(ValueError):
    """The training reported something that is no epoch, or no number."""


class UnmeasuredMetric(ArithmeticError):
    """The training ended without a finite value of the metric by which the sweep compares."""


def measured_numbers(values: Mapping[Any, Any], *, what: str) -> dict[str, float]:
    """The numbers of a mapping as floats: of Python, NumPy, or tensors of one value.

    Raises:
        BadReport: a name is no text, or a value is no single number.
    """
    found: dict[str, float] = {}
    for name, value in values.items():
        if not isinstance(name, str):
            raise BadReport(f"{what}: names of metrics are texts, but {name!r} is not")
        if isinstance(value, bool):
            raise BadReport(f"{what}: {name} must be a number, but is {value!r}")
        item = getattr(value, "item", None)
        try:
            plain = value if isinstance(value, numbers.Real) else item() if callable(item) else None
        except (RuntimeError, TypeError, ValueError) as err:  # a tensor of many values
            raise BadReport(f"{what}: {name} must be one number: {err}") from err
        if not isinstance(plain, numbers.Real):
            raise BadReport(f"{what}: {name} must be a number, but is {value!r}"[:300])
        found[name] = float(plain)
    return found


class TrainingReport:
    """`report(epoch, **metrics)` ends an epoch, and raises `TrainingStopped` where the training is to end.

    Attributes:
        seed: the trial's seed. Python's, NumPy's and torch's global generators are seeded by it already.
        device: `cpu`, `cuda:0`, ...: the device that the resources reserve.
        directory: the trial's own folder, kept between an interruption and the next start, for checkpoints.
        epochs_before: the last epoch that an earlier start of this trial has reported, else 0. A training that
            continues from its own checkpoint goes on with the epoch behind it; one that cannot begins with epoch 1
            again.
        setting: the whole setting of the trial as plain values: `arch`, `task`, `train`.
    """

    def __init__(
        self,
        spec: TrialSpec,
        *,
        device: str,
        files: TrialDir,
        origin: str,
        tell: Callback,
        on_resume: Callable[[list[dict[str, float]]], None],
        is_preempted: Callable[[], bool],
    ) -> None:
        self.seed, self.device, self.directory = spec.seed, device, files.work()
        self.setting: dict[str, Any] = spec.setting.model_dump(mode="json")
        self._tell, self._on_resume, self._is_preempted = tell, on_resume, is_preempted
        self._state = files.reported
        self._origin = origin
        self._began = time.perf_counter()
        self._seconds_before = 0.0
        self.curve: list[dict[str, float]] = []
        self._seconds: list[float] = []
        self._is_continued, self._earlier, self._earlier_seconds = self._read()
        self.epochs_before = int(self._earlier[-1]["epoch"]) if self._earlier else 0

    def __call__(self, epoch: int, /, **metrics: float) -> None:
        """End an epoch.

        Args:
            epoch: from 1 on, each by one more than the last; after an interruption from that of a checkpoint on.
            metrics: numbers by name; the sweep's metric decides about pruning.

        Raises:
            TrainingStopped: the trial is pruned, or the run is interrupted.
            BadReport: an epoch out of order, or a value that is no number.
        """
        number = self._checked(epoch)
        point = {"epoch": number, **measured_numbers(metrics, what=f"report({number}, ...)")}
        if not self.curve and number > 1:
            self._continue_behind(number)
        self.curve.append(point)
        self._seconds.append(self.seconds)
        self._write()
        if self._tell(point):
            raise TrainingStopped(is_pruned=True)
        if self._is_preempted():
            raise TrainingStopped(is_pruned=False)

    @property
    def should_stop(self) -> bool:
        """Whether the run is being interrupted: a training with long epochs may ask, save itself and return."""
        return self._is_preempted()

    @property
    def seconds(self) -> float:
        """Duration of the training so far: of this start, and of the epochs of earlier ones that it continues."""
        return self._seconds_before + time.perf_counter() - self._began

    def _continue_behind(self, number: int) -> None:
        kept = sum(point["epoch"] < number for point in self._earlier)
        self.curve, self._seconds = self._earlier[:kept], self._earlier_seconds[:kept]
        self._seconds_before = self._seconds[-1] if self._seconds else 0.0
        self._on_resume(list(self.curve))

    def _checked(self, epoch: Any) -> int:
        if isinstance(epoch, bool) or not isinstance(epoch, numbers.Integral):
            raise BadReport(f"report(epoch, ...) takes a whole number, but got {epoch!r}")
        number = int(epoch)
        last = int(self.curve[-1]["epoch"]) if self.curve else None
        if last is not None and number != last + 1:
            raise BadReport(f"report: epoch {number} after epoch {last}; epochs go up by one")
        # A start that continues may be behind what was reported: it was killed after it had written its checkpoint.
        if number < 1 or (number > 1 and last is None and not self._is_continued):
            raise BadReport(f"report: the first epoch is {number}, and must be 1")
        return number

    def _read(self) -> tuple[bool, list[dict[str, float]], list[float]]:
        """Whether an earlier start had the same data, code and software, its curve, and the seconds up to each epoch.
        For any other, the folder is emptied."""
        try:
            content = json.loads(self._state.read_bytes())
            if content["origin"] == self._origin and self.directory.is_dir():
                curve = [{str(name): float(value) for name, value in point.items()} for point in content["curve"]]
                return True, curve, [float(each) for _, each in zip(curve, content["seconds"], strict=True)]
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        if self.directory.exists():
            shutil.rmtree(self.directory)
        self.directory.mkdir(parents=True)
        self._write()
        return False, [], []

    def _write(self) -> None:
        content = {"origin": self._origin, "curve": self.curve, "seconds": self._seconds}
        atomic_write(self._state, json.dumps(content))

    def final_metrics(self, returned: Any, metric: str) -> dict[str, float]:
        """Metrics of the ended training: what it returned over what it reported last.

        Raises:
            BadReport: it returned something else than metrics or None.
            UnmeasuredMetric: the sweep's metric is missing or not finite.
        """
        if returned is not None and not isinstance(returned, Mapping):
            raise BadReport(f"the training must return a mapping of metrics, but returned a {type(returned).__name__}")
        if not self.curve and self._earlier:  # interrupted behind its last epoch
            self._continue_behind(self.epochs_before + 1)
        last = {name: value for name, value in (self.curve[-1] if self.curve else {}).items() if name != "epoch"}
        found = {**last, **measured_numbers(returned or {}, what="the returned metrics")}
        value = found.get(metric)
        if value is None:
            known = ", ".join(sorted(found)) or "none"
            raise UnmeasuredMetric(f"the training gave no {metric!r}, by which the sweep compares; it gave: {known}")
        if not math.isfinite(value):
            raise UnmeasuredMetric(f"{metric} is {value} at the end of the training")
        return {name: value for name, value in found.items() if math.isfinite(value)}
