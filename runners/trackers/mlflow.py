"""MLflow: one run per trial, below one run for the sweep that carries its tables, in one experiment.

A run is found again by its tag `archsweep.run`, because MLflow chooses run ids itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runners.trackers.contract import RunEnd, TrackedRun, TrackedSweep
from search_space.schema.tracking import MlflowSpec

# Read by MLflow at import. Usage reports need a consent that no user has given; and a server that is down must be
# noticed in seconds, where MLflow by default would retry for minutes.
for _key, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}.items():
    os.environ.setdefault(_key, _value)

from mlflow import MlflowClient  # noqa: E402 - reads the variables above
from mlflow.entities import Metric, Param, Run, RunTag  # noqa: E402

__all__ = ["MlflowTracker"]

_TAG = "archsweep.run"
# MLflow has no status for pruned trials: they were stopped, not wrong. The tag `archsweep.status` has theirs.
_STATUS = {"completed": "FINISHED", "failed": "FAILED"}
_STOPPED = "KILLED"
_LONGEST_PARAM = 6000
_MOST_PARAMS = 100  # in one request
_MOST_METRICS = 1000


@dataclass
class _Open:
    """A run that is being written. `latest`: metrics of its latest epoch, at the time `latest_ms`."""

    run_id: str
    latest: Mapping[str, float] = field(default_factory=dict)
    latest_ms: int = 0
    unsent: list[Metric] = field(default_factory=list)
    sent_at: float = 0.0


class MlflowTracker:
    """Writes to the sweep's `tracking_uri`, to MLFLOW_TRACKING_URI, or to `<run>/mlflow/mlflow.db`."""

    def __init__(self, options: MlflowSpec, sweep: TrackedSweep) -> None:
        self._sweep = sweep
        self._artifacts: str | None = None
        uri = options.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        self.notes: Sequence[str] = ()
        if options.tracking_uri is None and uri:
            self.notes = ("mlflow writes to the server or file that MLFLOW_TRACKING_URI names",)
        if not uri:
            database = sweep.run_dir.mlflow_database
            database.parent.mkdir(parents=True, exist_ok=True)
            uri = _own_database(database)
            self._artifacts = sweep.run_dir.mlflow_artifacts.as_uri()
        self._client = MlflowClient(tracking_uri=uri)
        self._experiment = self._experiment_id(options.experiment or sweep.name)
        self._runs: dict[str, _Open] = {}
        self._parent = self._open(f"{sweep.token}-sweep", sweep.name, {"archsweep.role": "sweep"})

    def start(self, run: TrackedRun) -> int:
        names = {f"archsweep.{key}": str(run.config[key]) for key in ("sweep", "variant", "trial_id", "attempt")}
        tags = {**names, "mlflow.parentRunId": self._parent.info.run_id, "archsweep.role": run.role or "trial"}
        found = self._open(run.id, run.name, tags)
        self._runs[run.id] = _Open(found.info.run_id)
        if not found.data.params:
            params = [Param(key, str(value)[:_LONGEST_PARAM]) for key, value in run.config.items()]
            for first in range(0, len(params), _MOST_PARAMS):
                self._client.log_batch(found.info.run_id, params=params[first : first + _MOST_PARAMS])
        return self._last_epoch(found)

    def epoch(self, run: TrackedRun, epoch: int, metrics: Mapping[str, float]) -> None:
        opened = self._runs[run.id]
        opened.latest, opened.latest_ms = metrics, _now_ms()
        opened.unsent += _points(epoch, metrics, opened.latest_ms)
        # Epochs of a second and more are sent one by one; shorter ones in batches.
        if time.monotonic() - opened.sent_at > 1.0:
            self._send(opened)

    def end(self, run: TrackedRun, ending: RunEnd) -> None:
        opened = self._runs.pop(run.id)
        # Values of the last epoch would be listed twice.
        final = {key: value for key, value in ending.numbers.items() if opened.latest.get(key) != value}
        # Of one step and one millisecond MLflow shows the largest value (findings/mlflow_latest_is_largest.sh).
        opened.unsent += _points(ending.epochs, final, max(_now_ms(), opened.latest_ms + 1))
        self._send(opened, [RunTag(f"archsweep.{key}", text) for key, text in ending.words.items()])
        self._client.set_terminated(opened.run_id, _STATUS.get(ending.status, _STOPPED))

    def interrupt(self, run: TrackedRun) -> None:
        opened = self._runs.pop(run.id)
        self._send(opened)
        self._client.set_terminated(opened.run_id, _STOPPED)

    def table(self, files: Sequence[Path]) -> None:
        for file in files:
            self._client.log_artifact(self._parent.info.run_id, str(file))

    def close(self) -> None:
        self._client.set_terminated(self._parent.info.run_id, "FINISHED")

    def _experiment_id(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            return self._client.create_experiment(name, artifact_location=self._artifacts)
        return found.experiment_id

    def _open(self, ours: str, name: str, tags: Mapping[str, str]) -> Run:
        """The run with this tag, reopened or created."""
        found = self._client.search_runs([self._experiment], f"tags.`{_TAG}` = '{ours}'", max_results=1)
        if not found:
            return self._client.create_run(self._experiment, run_name=name, tags={_TAG: ours, **tags})
        self._client.update_run(found[0].info.run_id, status="RUNNING")
        return found[0]

    def _last_epoch(self, run: Run) -> int:
        histories = (self._client.get_metric_history(run.info.run_id, key) for key in run.data.metrics)
        return max((point.step for history in histories for point in history), default=0)

    def _send(self, opened: _Open, tags: Sequence[RunTag] = ()) -> None:
        metrics, opened.unsent = opened.unsent, []
        for first in range(0, max(1, len(metrics)), _MOST_METRICS):
            self._client.log_batch(opened.run_id, metrics=metrics[first : first + _MOST_METRICS], tags=tags)
        opened.sent_at = time.monotonic()


def _own_database(path: Path) -> str:
    """URI of the database at `path`. MLflow takes seconds to make a new one and cannot repair one that a kill left
    incomplete: it is made under another name and then renamed."""
    if not path.is_file():
        new = path.with_name(f"{path.name}.new")
        new.unlink(missing_ok=True)
        MlflowClient(tracking_uri=f"sqlite:///{new}").search_experiments()
        new.replace(path)
    return f"sqlite:///{path}"


def _now_ms() -> int:
    return int(time.time() * 1000)


def _points(epoch: int, metrics: Mapping[str, float], time_ms: int) -> list[Metric]:
    # MLflow's names have no `@`: `top1@ema` is `top1/ema` there.
    return [Metric(key.replace("@", "/"), value, time_ms, epoch) for key, value in metrics.items()]
