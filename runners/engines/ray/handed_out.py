"""What the driver hands out to one worker: a trial, or several that train as one stacked model, which others may join.

To Tune it is one trial. A group has answers of its own, because Tune stops a worker with all that it trains.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from results.store.run_layout import RunDir
from runners.driver.orchestrator import Orchestrator
from runners.engines.ray.group_answers import GroupAnswers
from runners.trials.assignment import Assignment, GroupAnswer, Place
from search_space.plugins import shipped_plugins

__all__ = ["HandedOut", "worker_config"]


class HandedOut:
    """Trials of one worker.

    Args:
        answers: path of the file of a group's answers.

    Attributes:
        key: id of the first one, by which Tune's configuration names them.
        answers: of a group; None for a trial by itself.
        trials: all that were ever handed out to it.
        place: where it runs; None before its worker has said so.
    """

    def __init__(self, trials: Sequence[Assignment], answers: Path) -> None:
        self.trials = tuple(trials)
        self.place: Place | None = None
        self.key = trials[0].trial_id
        self.is_fused = trials[0].numerics == "fused"
        self.file = answers
        self.answers = GroupAnswers(answers) if self.is_fused else None

    def answer(self, report: str, found: GroupAnswer) -> None:
        """Answer a report of a group; trials that join are of this group from then on."""
        assert self.answers is not None, "a trial by itself reports epoch by epoch"
        self.trials += found.joined
        specs = {each.trial_id: each.spec.model_dump(mode="json") for each in found.joined}
        self.answers.answer(report, found.stop, specs)

    def close(self) -> None:
        """Remove what workers read."""
        if self.answers is not None:
            self.answers.close()

    def trial(self, key: str) -> Assignment:
        """The trial of this id."""
        return next(each for each in self.trials if each.trial_id == key)


def worker_config(group: HandedOut, orchestrator: Orchestrator, run_dir: RunDir, *, gpus: float) -> dict[str, Any]:
    """Configuration of Tune's trial, which its worker reads.

    Args:
        gpus: share of a GPU, where it was measured.
    """
    assignment = group.trials[0]
    sweep = orchestrator.plan.sweep
    resources = orchestrator.plan.resources_of(assignment.variant).model_copy(update={"gpus": gpus})
    job = {
        "trial": assignment.spec.model_dump(mode="json"),
        "also": [each.spec.model_dump(mode="json") for each in assignment.also],
        "members": [each.spec.model_dump(mode="json") for each in group.trials] if group.is_fused else [],
        "ended": [],
        "resources": resources.model_dump(mode="json"),
        "checkpoints": sweep.checkpoints.model_dump(mode="json"),
        "metric": sweep.metric,
        "keep_predictions": sweep.keep_predictions,
        "keep_samples": sweep.keep_samples,
        "origin": orchestrator.origin_of(assignment).model_dump(),
        "plugins": shipped_plugins(),
        "log": str(run_dir.trial(assignment.trial_id).log),
    }
    stop_file = "" if orchestrator.stop is None else str(orchestrator.stop.file)
    return {
        "key": group.key,
        "keys": [each.trial_id for each in group.trials],
        "job": json.dumps(job),
        "stop_file": stop_file,
        "answers": str(group.file) if group.is_fused else "",
    }
