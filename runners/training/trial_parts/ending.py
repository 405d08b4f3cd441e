"""The end of a trial: probes, predictions for plots, weights that are kept, and the outcome."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from results.predictions.correct_images import encode_correct
from runners.training.diagnostics import probe_model
from runners.training.kept_samples import keep_predicted
from runners.training.loop import Trained
from runners.training.precision import Precision, resolved
from runners.training.trial_parts.setup import TrialSetup
from runners.trials.outcome import Outcome

__all__ = ["end_trial"]


def end_trial(trial: TrialSetup, trained: Trained, *, keep_samples: int = 0, spent: Callable[[], float]) -> Outcome:
    """Outcome of a training, after what a completed one leaves behind; inside the trial's `streams`.

    Args:
        keep_samples: test images whose predictions are kept beside the record.
        spent: seconds that the trial has taken since it was begun here.
    """
    built, evaluations = trial.built, trial.evaluations
    train, device = built.spec.train, built.device
    is_completed = trained.status == "completed"
    probed: list[dict[str, float]] = [{} for _ in built.specs]
    if is_completed and built.processes.is_first:
        probed = _measured_once(trial, keep_samples)
        _keep_weights(trial)
    # After the training: an optimiser leaves layers out, too (`train.layer_decay_no_opt_scale`).
    trainable = sum(each.numel() for each in trial.task.model.parameters() if each.requires_grad)
    seconds = [each.seconds for each in evaluations]
    seconds[0] = trial.files[0].earlier_seconds + spent() - sum(seconds[1:])
    first, *others = (
        Outcome(
            status=trained.status,
            metrics={**metrics, **found},
            curve=each.curve,
            epochs=len(each.curve),
            train_seconds=trained.train_seconds,
            total_seconds=took,
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            precision=resolved(train.amp, device),
            costs={"trainable_params_m": trainable / 1e6} if train.epochs else {},
            host=socket.gethostname(),
            correct="" if each.correct is None or not is_completed else encode_correct(each.correct.tolist()),
            notes=[*built.notes, *trial.task.remarks()] if is_completed else [],
        )
        for each, metrics, found, took in zip(
            evaluations, trained.metrics or [{} for _ in built.specs], probed, seconds, strict=True
        )
    )
    return replace(first, others={each.trial_id: other for each, other in zip(evaluations[1:], others, strict=True)})


def _measured_once(trial: TrialSetup, keep_samples: int) -> list[dict[str, float]]:
    """Metrics of the probes for every trial of the training."""
    built, spec = trial.built, trial.built.spec
    probed: list[dict[str, float]] = [{} for _ in built.specs]
    if not spec.task.probes and not keep_samples:
        return probed
    whole = built.data if built.processes.size == 1 else built.load()
    for found, each, on, folder in zip(probed, trial.evaluations, whole.measured, trial.folders, strict=True):
        images = on.test if whole.samples is None else whole.samples
        began = time.perf_counter()
        if spec.task.probes:
            shown = {"num_images": built.info.num_test, "directory": folder}
            found |= probe_model(each.model.encoder, images, spec.task, **shown)
        if keep_samples:
            precision = Precision(spec.train.amp, built.device)
            keep_predicted(each.model, on.test, keep_samples, info=built.info, precision=precision, directory=folder)
        each.seconds += time.perf_counter() - began
    return probed


def _keep_weights(trial: TrialSetup) -> None:
    data = trial.built.data
    for files, each in zip(trial.files, trial.evaluations, strict=True):
        best = each.best_weights
        if best is not None:
            watched = f"val_{trial.metric}" if data.val is not None else f"{trial.metric} of the test split"
            files.keep_weights(best.weights, epoch=best.epoch, chosen_by=watched, info=data.info)
        elif trial.checkpoints.keep == "last":
            files.keep_weights(trial.task.weights(), epoch=len(each.curve), chosen_by="last epoch", info=data.info)
