"""One trial from its spec to its outcome: seed, build the model, seed again, train, evaluate.

The same spec gives bit-equal metrics on a CPU with the same number of threads, whatever ran before in the process. On
a GPU some kernels add in no fixed order, so the last digits may differ.
"""

from __future__ import annotations

import functools
import socket
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from modelzoo.official.pretrained import initialise_from
from results.predictions.correct_images import encode_correct
from runners.data import describe_dataset, load_data
from runners.data.random_streams import global_streams, stream_seed
from runners.data.weights import find_weights
from runners.tasks import TASKS
from runners.training.best_epoch import BestWeights
from runners.training.checkpoint import TrialCheckpoint
from runners.training.diagnostics import probe_model
from runners.training.loop import Report, train_model
from runners.training.process_group import ALONE, ProcessGroup
from runners.trials.outcome import NonFiniteLoss, Outcome
from search_space.schema.resources import Resources
from search_space.schema.sweep import Checkpoints
from search_space.schema.trial import TrialSpec

__all__ = ["NonFiniteLoss", "Outcome", "run_trial"]


def run_trial(
    spec: TrialSpec,
    *,
    report: Report,
    resources: Resources,
    device: str | None = None,
    directory: Path | None = None,
    checkpoints: Checkpoints = Checkpoints(),
    metric: str = "top1",
    keep_predictions: bool = False,
    origin: str = "",
    on_resume: Callable[[list[dict[str, float]]], None] = lambda curve: None,
    is_preempted: Callable[[], bool] = lambda: False,
    processes: ProcessGroup = ALONE,
) -> Outcome:
    """Train and evaluate the trial of `spec`.

    Args:
        report: callback with `{"epoch": n, "train_loss": ..., "top1": ..., ...}` once per epoch (`val_top1`, ... where
            the task holds out a validation split); returning True stops the training.
        device: `cpu`, `cuda`, `cuda:1`; default: a GPU if there is one.
        directory: directory of the trial, for checkpoints and for files beside its record (`task.probe_arrays`).
        checkpoints: when to save, and which weights to keep; an interrupted trial is resumed in any case.
        origin: data, code and software of the trial, as text; a checkpoint of another origin is not resumed.
        keep_predictions: keep which test images are right, for the record.
        metric: the one that must be defined in every evaluation; it selects the best weights, on the validation split
            where there is one.
        on_resume: receives the curve so far if the trial resumes from a checkpoint.
        is_preempted: polled before every update; on True the trial is saved and ends as `preempted`.
        processes: rank and size of the process group; all ranks return the same outcome, rank 0 writes files.

    Raises:
        NonFiniteLoss: the training diverged.
        UndefinedMetric: `metric` has no value on the evaluated split.
        SpecError: the model cannot be built, or the data is missing.
    """
    start = time.perf_counter()
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if processes.size > 1 and where.type == "cuda":
        where = torch.device("cuda", processes.rank)
    info = describe_dataset(spec.task, resources)
    kind = TASKS[spec.task.name]
    model = kind.build(spec, info, seed=spec.seed)
    notes = []
    if spec.arch.weights is not None:
        notes = initialise_from(kind.pretrained_part(model), find_weights(spec, resources))
    load = functools.partial(
        load_data,
        spec.task,
        spec.train,
        resources,
        where,
        img_size=kind.input_size(spec, info),
        seed=spec.seed,
        info=info,
    )
    data = load(share=processes.shard_of if processes.size > 1 else None)
    if processes.size > 1 and where.type == "cuda":
        torch.cuda.set_device(where)
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # GPUs only; on CPUs each rank normalises its shard
    # Seeded again: variants draw different amounts of noise at initialisation, and training must not depend on that.
    # Dropout must differ between ranks.
    training_seed = stream_seed(spec.seed, "training", *([processes.rank] if processes.rank else []))
    with global_streams(training_seed):
        if where.type == "cuda":
            torch.cuda.manual_seed_all(training_seed)
        task = kind(model.to(where), info=info, spec=spec.task, train=spec.train, device=where)
        if processes.size > 1:
            task.share()
        checkpoint = TrialCheckpoint(spec, directory, checkpoints, origin=origin, processes=processes)
        best = BestWeights(metric) if checkpoints.keep == "best" else None
        trained = train_model(
            task,
            data,
            spec.train,
            seed=spec.seed,
            device=where,
            report=report,
            metric=metric,
            checkpoint=checkpoint,
            best_weights=best,
            keep_predictions=keep_predictions,
            on_resume=on_resume,
            is_preempted=is_preempted,
            processes=processes,
        )
        probed: dict[str, float] = {}
        if spec.task.probes and trained.status == "completed" and processes.is_first:
            whole = data if processes.size == 1 else load()
            images = whole.test if whole.samples is None else whole.samples
            probed = probe_model(task.encoder, images, spec.task, num_images=info.num_test, directory=directory)
        if trained.status == "completed" and best is not None and processes.is_first:
            watched = f"val_{metric}" if data.val is not None else f"{metric} of the test split"
            checkpoint.keep_weights(best.weights, epoch=best.epoch, chosen_by=watched)
        elif trained.status == "completed" and checkpoints.keep == "last" and processes.is_first:
            checkpoint.keep_weights(task.weights(), epoch=len(trained.curve), chosen_by="last epoch")
    return Outcome(
        status=trained.status,
        metrics={**trained.metrics, **probed},
        curve=trained.curve,
        epochs=len(trained.curve),
        train_seconds=trained.train_seconds,
        total_seconds=checkpoint.earlier_seconds + time.perf_counter() - start,
        device=_device_name(where),
        host=socket.gethostname(),
        correct="" if trained.correct is None else encode_correct(trained.correct.tolist()),
        notes=[*notes, *task.remarks()] if trained.status == "completed" else [],
    )


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
