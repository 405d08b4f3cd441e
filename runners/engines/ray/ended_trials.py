"""What Tune need not remember of trials that ended: the ledger does.

Tune keeps every trial until the run is over: with the means of its metrics over the last 5 and 10 reports (queues of
fixed size for each of a dozen metrics that it counts itself), its last report, two copies of its configuration, and a
JSON text of all that. Nobody here asks for any of it, and it was more memory per trial than everything of ours.
"""

from __future__ import annotations

from typing import Any

from ray import tune

__all__ = ["EndedTrials"]


class EndedTrials(tune.Callback):
    """Empties trials that ended, before Tune writes them down for the last time.

    The trial is what Tune hands to its callbacks, and its attributes have no underscore; but that they may be emptied
    is documented nowhere. `benchmarks/scale.py` shows whether it still helps, and every test of the engine that it does
    no harm.
    """

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        trial.run_metadata.metric_analysis = {}
        trial.run_metadata.metric_n_steps = {}
        trial.run_metadata.last_result = {}
        trial.evaluated_params = {}
        trial.experiment_tag = ""  # the configuration once more, as text
        # In place: Tune holds the same mapping in two attributes. The key stays for our scheduler.
        for name in [name for name in trial.config if name != "key"]:
            del trial.config[name]
