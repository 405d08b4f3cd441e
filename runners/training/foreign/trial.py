"""One trial of a training of the user's own, from its spec to its outcome."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from results.store.run_layout import TrialDir
from runners.data.random_streams import global_streams
from runners.training.device import device_of_trial
from runners.training.foreign.command import run_command
from runners.training.foreign.function import call_function
from runners.training.foreign.report import TrainingReport, TrainingStopped
from runners.training.loop import Report
from runners.training.process_group import ALONE
from runners.trials.outcome import Outcome
from search_space.schema.metrics import COST_NAMES
from search_space.schema.resources import Resources
from search_space.schema.sweep import Checkpoints
from search_space.schema.task import CommandSpec
from search_space.schema.trial import TrialSpec

__all__ = ["run_foreign_trial"]


def run_foreign_trial(
    spec: TrialSpec,
    *,
    report: Report,
    resources: Resources,
    directory: Path | None,
    checkpoints: Checkpoints,
    metric: str,
    origin: str,
    on_resume: Callable[[list[dict[str, float]]], None],
    is_preempted: Callable[[], bool],
) -> Outcome:
    """Train a trial of the task `python` or `command`; the arguments are those of `run_trial`.

    Raises:
        BadReport, UnmeasuredMetric, CommandFailed: it reported nonsense, ended without the sweep's metric, or the
            program failed.
        Exception: whatever the user's function raised.
    """
    with tempfile.TemporaryDirectory(prefix="archsweep-trial-") as elsewhere:
        files = TrialDir(directory or Path(elsewhere))
        device = device_of_trial(resources, ALONE)
        reporting = TrainingReport(
            spec,
            device=str(device),
            files=files,
            origin=origin,
            tell=report,
            on_resume=on_resume,
            is_preempted=is_preempted,
        )
        status, metrics = "completed", {}
        try:
            if isinstance(spec.task, CommandSpec):
                returned = run_command(spec, reporting, resources, grace=checkpoints.grace_seconds, metric=metric)
            else:
                with global_streams(spec.seed):
                    torch.manual_seed(spec.seed)  # those of every device; `global_streams` is for the CPU
                    returned = call_function(spec, reporting)
            if returned is None and is_preempted():
                status = "preempted"
            else:
                metrics = reporting.final_metrics(returned, metric)
        except TrainingStopped as stop:
            status = "pruned" if stop.is_pruned else "preempted"
    costs = {name: metrics.pop(name) for name in COST_NAMES if name in metrics}
    return Outcome(
        status=status,
        metrics=metrics,
        curve=reporting.curve,
        epochs=int(reporting.curve[-1]["epoch"]) if reporting.curve else 0,
        train_seconds=reporting.seconds,
        total_seconds=reporting.seconds,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        host=socket.gethostname(),
        costs=costs,
    )
