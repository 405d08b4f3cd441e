"""One trial from its spec to its outcome: seed, build the model, seed again, train, evaluate.

The same spec gives bit-equal metrics on a CPU with the same number of threads, whatever ran before in the process. On
a GPU some kernels add in no fixed order, so the last digits may differ.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch

from runners.data.random_streams import seed_of
from runners.training.device import device_of_trial
from runners.training.gpu.cuda_graph import capture_forward
from runners.training.loop import Curves, Report, train_model
from runners.training.process_group import ALONE, ProcessGroup
from runners.training.trial_parts.ending import end_trial
from runners.training.trial_parts.measured_weights import measure_weights
from runners.training.trial_parts.setup import build_trial
from runners.trials.outcome import NonFiniteLoss, Outcome
from search_space.schema.resources import Resources
from search_space.schema.sweep import Checkpoints
from search_space.schema.trial import TrialSpec

__all__ = ["NonFiniteLoss", "Outcome", "ReportOther", "run_trial"]

ReportOther = Callable[[str, dict[str, float]], None]
"""Callback with the id of a trial that shares a training, and its entry of the curve."""


def run_trial(
    spec: TrialSpec,
    *,
    also: Sequence[TrialSpec] = (),
    report: Report,
    report_other: ReportOther = lambda key, point: None,
    resources: Resources,
    device: str | None = None,
    directory: Path | None = None,
    checkpoints: Checkpoints = Checkpoints(),
    metric: str = "top1",
    keep_predictions: bool = False,
    keep_samples: int = 0,
    origin: str = "",
    fingerprint: str = "",
    on_resume: Callable[[list[dict[str, float]]], None] = lambda curve: None,
    is_preempted: Callable[[], bool] = lambda: False,
    processes: ProcessGroup = ALONE,
) -> Outcome:
    """Train and evaluate the trial of `spec`, and evaluate the trials of `also` with it. Without epochs there is no
    training, and its first weights are measured as they are.

    Args:
        also: further trials that differ from it in evaluation-only options; they get the outcomes that their own
            trainings would have given, in `Outcome.others`. If an evaluation fails, all of them fail.
        report: callback with `{"epoch": n, "train_loss": ..., "top1": ..., ...}` once per epoch (`val_top1`, ... where
            the task holds out a validation split); returning True stops the training.
        report_other: callback with the id of each further trial and its own entry, before `report` has that epoch's;
            after a resume, with the entries so far.
        device: `cpu`, `cuda`, `cuda:1`; default: it follows from the resources.
        directory: directory of the trial, for checkpoints and for files beside its record (`task.probe_arrays`,
            `keep_samples`); further trials have theirs beside it.
        checkpoints: when to save, and which weights to keep; an interrupted trial is resumed in any case.
        origin: data, code and software of the trial, as text; a checkpoint of another origin is not resumed.
        fingerprint: of the data, where it was compared with what the driver saw; what is decoded is shared by it.
        keep_predictions: keep which test images are right, for the record.
        keep_samples: test images whose predictions after the last epoch are kept beside the record.
        metric: the one that must be defined in every evaluation; it selects the best weights, on the validation split
            where there is one.
        on_resume: receives the curve so far if the trial resumes from a checkpoint.
        is_preempted: polled before every update; on True the trial is saved and ends as `preempted`.
        processes: rank and size of the process group; all ranks return the same outcome, rank 0 writes files.

    Raises:
        NonFiniteLoss: the training diverged.
        UndefinedMetric: `metric` has no value on the evaluated split.
        DeviceMissing: the device that the resources reserve is not here.
        SpecError: the model cannot be built, or the data is missing.
    """
    start = time.perf_counter()
    where = torch.device(device) if device else device_of_trial(resources, processes)
    built = build_trial(spec, also, resources=resources, device=where, processes=processes, fingerprint=fingerprint)
    with built.streams():
        kept = {"metric": metric, "keep_predictions": keep_predictions, "origin": origin}
        trial = built.set_up(directory, checkpoints, **kept)
        task, others = trial.task, trial.evaluations[1:]

        def tell_others(points: Iterable[dict[str, float]]) -> None:
            for each, point in zip(others, points, strict=True):
                report_other(each.trial_id, point)

        def report_all(points: list[dict[str, float]]) -> bool:
            tell_others(points[1:])
            return report(points[0])

        def resumed(curves: Curves) -> None:
            on_resume(curves[0])
            for points in zip(*curves[1:], strict=True):
                tell_others(points)

        if not spec.train.epochs:
            measured = {"evaluations": trial.evaluations, "is_preempted": is_preempted, "processes": processes}
            trained = measure_weights(task, spec.train, device=where, **measured)
            return end_trial(trial, trained, keep_samples=keep_samples, spent=lambda: time.perf_counter() - start)
        trained = train_model(
            task,
            built.data,
            spec.train,
            seed=seed_of(spec),
            device=where,
            evaluations=trial.evaluations,
            report=report_all,
            checkpoint=trial.files[0],
            prepare=lambda precision: capture_forward(task, spec, built.info, resources, where, precision),
            on_resume=resumed,
            is_preempted=is_preempted,
            processes=processes,
        )
        return end_trial(trial, trained, keep_samples=keep_samples, spent=lambda: time.perf_counter() - start)
