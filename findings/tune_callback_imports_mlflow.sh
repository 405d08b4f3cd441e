#!/usr/bin/env bash
# Ray Tune 2.60.0: a run with a callback of one's own imports MLflow (and W&B, Comet, Aim), where they are installed.
#
# Behaviour: where `RunConfig(callbacks=[...])` has any callback, `Tuner.fit` counts for its usage statistics which of them are
# Tune's loggers. To have their classes it imports `ray.air.integrations.mlflow` and `.wandb`, which import the trackers
# themselves. It does so whether or not one of them is used, and also with usage statistics off. With an empty list it does not.
# Guess that was wrong: an installed tracker that nobody asks for costs nothing.
# Consequence for us: full MLflow takes two CPU seconds of every run's start; what were callbacks is a `Stopper` and the
# searcher (runners/engines/ray/lost_cluster.py, engine.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "ray[tune]==2.60.0" mlflow-skinny==3.17.2 >/dev/null 2>&1
cat > "$folder/run.py" <<'PYTHON'
import sys

import ray
from ray import tune


class Silent(tune.Callback):
    pass


def train(config):
    tune.report({"loss": 1.0})


callbacks = [Silent()] if sys.argv[1] == "one" else []
ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR")
assert "mlflow" not in sys.modules
run_config = tune.RunConfig(storage_path=sys.argv[2], verbose=0, callbacks=callbacks)
result = tune.Tuner(tune.with_resources(train, {"cpu": 1}), run_config=run_config).fit()
assert result[0].metrics["loss"] == 1.0
print("imported" if "mlflow" in sys.modules else "not imported")
PYTHON
for callbacks in none one; do
    found=$(cd "$folder" && RAY_USAGE_STATS_ENABLED=0 RAY_AIR_NEW_OUTPUT=0 venv/bin/python run.py $callbacks "$folder/results" 2>/dev/null | grep imported | tail -1)
    echo "Ray 2.60.0, MLflow 3.17.2 installed, a run with $callbacks of one's own callbacks: MLflow is $found"
    expected=$([ $callbacks = none ] && echo "not imported" || echo imported)
    [ "$found" = "$expected" ] || { echo "the behaviour has changed: $expected was expected" >&2; exit 1; }
done
