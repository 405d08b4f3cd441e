"""One trial from its spec to its outcome: seed, build the model, seed again, train, evaluate.

The same spec gives bit-equal metrics on a CPU with the same number of threads, whatever ran before in the process. On
a GPU some kernels add in no fixed order, so the last digits may differ.
"""

from __future__ import annotations

import functools
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from modelzoo.attention.map_precision import set_map_precision
from modelzoo.official.frozen import freeze_parameters
from modelzoo.official.head_start import start_head
from modelzoo.official.pretrained import initialise_from
from results.predictions.correct_images import encode_correct
from runners.data import describe_dataset, load_data
from runners.data.augmentation.normalisation import normalised
from runners.data.first_weights import find_weights, weights_note
from runners.data.random_streams import global_streams, stream_seed
from runners.tasks import TASKS
from runners.training.best_epoch import BestWeights
from runners.training.checkpoint import TrialCheckpoint
from runners.training.device import device_of_trial
from runners.training.diagnostics import probe_model
from runners.training.evaluation import Evaluation
from runners.training.gpu.cuda_graph import capture_forward
from runners.training.gpu.kernels import in_fast_layout
from runners.training.gpu.numerics import numerics
from runners.training.kept_samples import keep_predicted
from runners.training.loop import Curves, Report, train_model
from runners.training.precision import Precision, resolved
from runners.training.process_group import ALONE, ProcessGroup
from runners.trials.outcome import NonFiniteLoss, Outcome
from search_space.schema.identity import training_id, trial_id
from search_space.schema.pretrained import is_continued
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
    on_resume: Callable[[list[dict[str, float]]], None] = lambda curve: None,
    is_preempted: Callable[[], bool] = lambda: False,
    processes: ProcessGroup = ALONE,
) -> Outcome:
    """Train and evaluate the trial of `spec`, and evaluate the trials of `also` with it.

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
    assert {training_id(each) for each in also} <= {training_id(spec)}, "trials that do not share a training"
    specs = (spec, *also)
    info = normalised(describe_dataset(spec.task, resources), spec)
    kind = TASKS[spec.task.name]
    model = kind.build(spec, info, seed=spec.seed)
    set_map_precision(model, spec.train.map_precision)
    notes: list[str] = []
    if spec.arch.weights is not None:
        notes = weights_note(spec, resources)
        notes += initialise_from(kind.pretrained_part(model), find_weights(spec, resources))
    if not is_continued(spec.arch.weights):  # whose classifier is that of the trial before
        start_head(model, scale=spec.train.head_init_scale, bias=spec.train.head_init_bias)
    notes += freeze_parameters(model, kind.pretrained_part(model), spec.train.freeze)
    load = functools.partial(
        load_data,
        spec.task,
        spec.train,
        resources,
        where,
        img_size=kind.input_size(spec, info),
        seed=spec.seed,
        info=info,
        **kind.data_options(specs, info),
    )
    data = load(share=processes.shard_of if processes.size > 1 else None)
    model = in_fast_layout(model, spec, info, where)
    if processes.size > 1 and where.type == "cuda":
        torch.cuda.set_device(where)
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # GPUs only; on CPUs each rank normalises its shard
    # Seeded again: variants draw different amounts of noise at initialisation, and training must not depend on that.
    # Dropout must differ between ranks.
    training_seed = stream_seed(spec.seed, "training", *([processes.rank] if processes.rank else []))
    with global_streams(training_seed), numerics(spec.train, where):
        if where.type == "cuda":
            torch.cuda.manual_seed_all(training_seed)
        elif where.type != "cpu":
            torch.get_device_module(where).manual_seed(training_seed)
        task = kind(model.to(where), info=info, spec=spec.task, train=spec.train, device=where)
        if processes.size > 1:
            task.share()
        folders = [_folder_of(each, spec, directory) for each in specs]
        kept = [
            TrialCheckpoint(each, folder, checkpoints, origin=origin, processes=processes)
            for each, folder in zip(specs, folders, strict=True)
        ]
        evaluations = [
            Evaluation(
                trial_id(each),
                task.measured_as(each.task),
                on,
                spec.train,
                num_test=info.num_test,
                metric=metric,
                best_weights=BestWeights(metric) if checkpoints.keep == "best" else None,
                keeps_predictions=keep_predictions,
                processes=processes,
            )
            for each, on in zip(specs, data.measured, strict=True)
        ]

        def tell_others(points: Iterable[dict[str, float]]) -> None:
            for each, point in zip(evaluations[1:], points, strict=True):
                report_other(each.trial_id, point)

        def report_all(points: list[dict[str, float]]) -> bool:
            tell_others(points[1:])
            return report(points[0])

        def resumed(curves: Curves) -> None:
            on_resume(curves[0])
            for points in zip(*curves[1:], strict=True):
                tell_others(points)

        trained = train_model(
            task,
            data,
            spec.train,
            seed=spec.seed,
            device=where,
            evaluations=evaluations,
            report=report_all,
            checkpoint=kept[0],
            prepare=lambda precision: capture_forward(task, spec, info, resources, where, precision),
            on_resume=resumed,
            is_preempted=is_preempted,
            processes=processes,
        )
        is_completed = trained.status == "completed"
        probed: list[dict[str, float]] = [{} for _ in specs]
        if (spec.task.probes or keep_samples) and is_completed and processes.is_first:
            whole = data if processes.size == 1 else load()
            for found, each, on, folder in zip(probed, evaluations, whole.measured, folders, strict=True):
                images = on.test if whole.samples is None else whole.samples
                began = time.perf_counter()
                if spec.task.probes:
                    shown = {"num_images": info.num_test, "directory": folder}
                    found |= probe_model(each.model.encoder, images, spec.task, **shown)
                if keep_samples:
                    precision = Precision(spec.train.amp, where)
                    keep_predicted(each.model, on.test, keep_samples, info=info, precision=precision, directory=folder)
                each.seconds += time.perf_counter() - began
        for files, each in zip(kept, evaluations, strict=True):
            best = each.best_weights
            if is_completed and best is not None and processes.is_first:
                watched = f"val_{metric}" if data.val is not None else f"{metric} of the test split"
                files.keep_weights(best.weights, epoch=best.epoch, chosen_by=watched, info=data.info)
            elif is_completed and checkpoints.keep == "last" and processes.is_first:
                files.keep_weights(task.weights(), epoch=len(each.curve), chosen_by="last epoch", info=data.info)
    # After the training: an optimiser leaves layers out, too (`train.layer_decay_no_opt_scale`).
    trainable = sum(each.numel() for each in task.model.parameters() if each.requires_grad)
    seconds = [each.seconds for each in evaluations]
    seconds[0] = kept[0].earlier_seconds + time.perf_counter() - start - sum(seconds[1:])
    first, *others = (
        Outcome(
            status=trained.status,
            metrics={**metrics, **found},
            curve=each.curve,
            epochs=len(each.curve),
            train_seconds=trained.train_seconds,
            total_seconds=took,
            device=_device_name(where),
            precision=resolved(spec.train.amp, where),
            costs={"trainable_params_m": trainable / 1e6},
            host=socket.gethostname(),
            correct="" if each.correct is None or not is_completed else encode_correct(each.correct.tolist()),
            notes=[*notes, *task.remarks()] if is_completed else [],
        )
        for each, metrics, found, took in zip(
            evaluations, trained.metrics or [{} for _ in specs], probed, seconds, strict=True
        )
    )
    return replace(first, others={each.trial_id: other for each, other in zip(evaluations[1:], others, strict=True)})


def _folder_of(spec: TrialSpec, first: TrialSpec, directory: Path | None) -> Path | None:
    """The directory of a trial, beside that of the one that trains."""
    return directory if directory is None or spec is first else directory.with_name(trial_id(spec))


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
