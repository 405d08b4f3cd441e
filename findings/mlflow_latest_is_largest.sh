#!/usr/bin/env bash
# MLflow 3.17.2: of several values of a metric with one step and one timestamp, a run shows the largest, not the last.
#
# Behaviour: the value of a metric that a run shows (and that `search_runs` compares and sorts by) is the largest of
# (step, timestamp, value). Steps are 0 where none is given, and timestamps are whole milliseconds, so that values that
# are logged together, or by one `log_batch`, tie in both, and their size decides. A loss that went down keeps its first
# value, an accuracy that was corrected downwards its wrong one. `get_metric_history` has all of them, by their size.
# Guess that was wrong: the latest value of a metric is the one that was logged last.
# Consequence for us: final values of a trial are written at least a millisecond behind those of its last epoch
# (runners/trackers/mlflow.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    mlflow-skinny==3.17.2 sqlalchemy==2.1.9 alembic==1.20.1 >/dev/null 2>&1
MLFLOW_DISABLE_TELEMETRY=true "$folder/venv/bin/python" - "$folder" <<'PYTHON' 2>/dev/null
import sys

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric

folder = sys.argv[1]
client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
experiment = client.create_experiment("a", artifact_location=f"file://{folder}/artifacts")
run = client.create_run(experiment).info.run_id
now = 1_700_000_000_000
client.log_batch(run, metrics=[Metric("loss_in_a_batch", value, now, 0) for value in (0.9, 0.5, 0.1)])
for value in (0.9, 0.5, 0.1):
    client.log_metric(run, "loss_in_calls", value, timestamp=now, step=7)
for number, value in enumerate((0.9, 0.5, 0.1)):
    client.log_metric(run, "loss_a_millisecond_later", value, timestamp=now + number, step=7)
shown = client.get_run(run).data.metrics
print(f"MLflow {mlflow.__version__}, each metric is logged as 0.9, 0.5, 0.1")
histories = {}
for name, value in shown.items():
    histories[name] = [point.value for point in client.get_metric_history(run, name)]
    found = len(client.search_runs([experiment], f"metrics.{name} < 0.2"))
    print(f"  {name}: the run shows {value}, history {histories[name]}; runs with {name} < 0.2: {found}")
assert shown == {"loss_in_a_batch": 0.9, "loss_in_calls": 0.9, "loss_a_millisecond_later": 0.1}, "the behaviour has changed"
assert list(histories.values()) == [[0.1, 0.5, 0.9], [0.1, 0.5, 0.9], [0.9, 0.5, 0.1]], "the behaviour has changed"
PYTHON
