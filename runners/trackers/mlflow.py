"""MLflow: one run per trial, below one run for the sweep that carries its tables, in one experiment.

A run is found again by its tag `archsweep.run`, because MLflow chooses run ids itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from runners.trackers.contract import Ending, TrackedRun, TrackedSweep
from search_space.tracking import MlflowSpec

# Read by MLflow at import. Nobody was asked whether usage may be reported; and a server that is down must be noticed
# in seconds, where MLflow by itself would go on asking for minutes.
for _key, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}.items():
    os.environ.setdefault(_key, _value)

from mlflow import MlflowClient  # noqa: E402 - reads the variables above
from mlflow.entities import Metric, Param, RunTag  # noqa: E402

__all__ = ["MlflowTracker"]

_TAG = "archsweep.run"
# MLflow knows no pruned trials: they were stopped, not wrong. The tag `archsweep.status` says what they are.
_STATUS = {"completed": "FINISHED", "failed": "FAILED"}
_STOPPED = "KILLED"
_LONGEST_PARAM = 6000
_MOST_PARAMS = 100  # in one request


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
            folder = sweep.run_dir / "mlflow"
            folder.mkdir(parents=True, exist_ok=True)
            uri = f"sqlite:///{folder / 'mlflow.db'}"
            self._artifacts = (folder / "artifacts").as_uri()
        self._client = MlflowClient(tracking_uri=uri)
        self._experiment = self._experiment_id(options.experiment or sweep.name)
        self._runs: dict[str, str] = {}  # our id -> MLflow's
        self._last: dict[str, Mapping[str, float]] = {}  # metrics of the latest epoch
        self._parent = self._open(f"{sweep.token}-sweep", sweep.name, {"archsweep.role": "sweep"})

    def start(self, run: TrackedRun) -> int:
        names = {f"archsweep.{key}": str(run.config[key]) for key in ("sweep", "variant", "trial_id", "attempt")}
        tags = {**names, "mlflow.parentRunId": self._parent, "archsweep.role": run.role or "trial"}
        run_id = self._runs[run.id] = self._open(run.id, run.name, tags)
        if not self._client.get_run(run_id).data.params:
            params = [Param(key, str(value)[:_LONGEST_PARAM]) for key, value in run.config.items()]
            for first in range(0, len(params), _MOST_PARAMS):
                self._client.log_batch(run_id, params=params[first : first + _MOST_PARAMS])
        return self._last_epoch(run_id)

    def epoch(self, run: TrackedRun, epoch: int, metrics: Mapping[str, float]) -> None:
        self._log(self._runs[run.id], epoch, metrics)
        self._last[run.id] = metrics

    def end(self, run: TrackedRun, ending: Ending) -> None:
        run_id = self._runs.pop(run.id)
        last = self._last.pop(run.id, {})
        # What the last epoch said already would stand there twice.
        self._log(
            run_id, ending.epochs, {key: value for key, value in ending.numbers.items() if last.get(key) != value}
        )
        tags = [RunTag(f"archsweep.{key}", text) for key, text in ending.words.items()]
        self._client.log_batch(run_id, tags=tags)
        self._client.set_terminated(run_id, _STATUS.get(ending.status, _STOPPED))

    def interrupt(self, run: TrackedRun) -> None:
        self._client.set_terminated(self._runs.pop(run.id), _STOPPED)

    def table(self, files: Sequence[Path]) -> None:
        for file in files:
            self._client.log_artifact(self._parent, str(file))

    def close(self) -> None:
        self._client.set_terminated(self._parent, "FINISHED")

    def _experiment_id(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            return self._client.create_experiment(name, artifact_location=self._artifacts)
        return found.experiment_id

    def _open(self, ours: str, name: str, tags: Mapping[str, str]) -> str:
        """MLflow's id of a run, old or new."""
        found = self._client.search_runs([self._experiment], f"tags.`{_TAG}` = '{ours}'", max_results=1)
        if not found:
            created = self._client.create_run(self._experiment, run_name=name, tags={_TAG: ours, **tags})
            return created.info.run_id
        run_id = found[0].info.run_id
        self._client.update_run(run_id, status="RUNNING")
        return run_id

    def _last_epoch(self, run_id: str) -> int:
        known = self._client.get_run(run_id).data.metrics
        steps = (point.step for key in known for point in self._client.get_metric_history(run_id, key))
        return max(steps, default=0)

    def _log(self, run_id: str, epoch: int, metrics: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        # MLflow's names have no `@`: `top1@ema` is `top1/ema` there.
        self._client.log_batch(
            run_id, metrics=[Metric(key.replace("@", "/"), value, now, epoch) for key, value in metrics.items()]
        )
