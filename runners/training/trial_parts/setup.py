"""What a trial needs before it is trained: network, data, task, evaluations, files.

Separate from the training, because several trials may be set up in one process before they train as one stacked model.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modelzoo.official.frozen import freeze_parameters
from modelzoo.official.head_start import start_head
from modelzoo.official.pretrained import initialise_from
from runners.data import Data, DataInfo, describe_dataset, load_data
from runners.data.augmentation.normalisation import normalised
from runners.data.first_weights import find_weights, weights_note
from runners.data.holdout import with_own_test_split
from runners.data.random_streams import global_streams, of_source, seed_of, stream_seed
from runners.data.shared.decoded import shared_description
from runners.tasks import TASKS, Task
from runners.training.best_epoch import BestWeights
from runners.training.checkpoint import TrialCheckpoint
from runners.training.evaluation import Evaluation
from runners.training.gpu.layout import in_fast_layout
from runners.training.gpu.numerics import numerics
from runners.training.map_numerics import set_map_numerics
from runners.training.process_group import ALONE, ProcessGroup
from search_space.schema.identity import training_id, trial_id
from search_space.schema.pretrained import is_continued
from search_space.schema.resources import Resources
from search_space.schema.sweep import Checkpoints
from search_space.schema.trial import TrialSpec

__all__ = ["BuiltTrial", "TrialSetup", "build_trial"]


@dataclass(frozen=True)
class BuiltTrial:
    """Network with its first weights, and data, of a trial and of those that are measured in its training.

    Attributes:
        load: loads the data; `share` is that of one process.
        notes: what a reader of its numbers must know, a phrase each.
    """

    specs: tuple[TrialSpec, ...]
    info: DataInfo
    model: nn.Module
    data: Data
    load: Callable[..., Data]
    notes: tuple[str, ...]
    device: torch.device
    processes: ProcessGroup

    @property
    def spec(self) -> TrialSpec:
        """Of the trial that trains."""
        return self.specs[0]

    @contextmanager
    def streams(self) -> Iterator[None]:
        """Random streams and kernels of its training. Seeded again: variants draw different amounts of noise at
        initialisation, and training must not depend on that. Dropout must differ between ranks."""
        rank, device = self.processes.rank, self.device
        seed = stream_seed(seed_of(self.spec), "training", *([rank] if rank else []))
        with global_streams(seed), numerics(self.spec.train, device):
            if device.type == "cuda":
                torch.cuda.manual_seed_all(seed)
            elif device.type != "cpu":
                torch.get_device_module(device).manual_seed(seed)
            yield

    def set_up(
        self,
        directory: Path | None = None,
        checkpoints: Checkpoints = Checkpoints(),
        *,
        metric: str = "top1",
        keep_predictions: bool = False,
        origin: str = "",
        spent: Callable[[], float] | None = None,
    ) -> TrialSetup:
        """Task, evaluations and files; inside `streams`. The arguments are those of `run_trial`.

        Args:
            spent: seconds that the trial has taken since it was begun here; default: all since now.
        """
        spec, processes = self.spec, self.processes
        task = TASKS[spec.task.name](
            self.model.to(self.device), info=self.info, spec=spec.task, train=spec.train, device=self.device
        )
        if processes.size > 1:
            task.share()
        folders = [_folder_of(each, spec, directory) for each in self.specs]
        files = [
            TrialCheckpoint(each, folder, checkpoints, origin=origin, processes=processes, spent=spent)
            for each, folder in zip(self.specs, folders, strict=True)
        ]
        evaluations = [
            Evaluation(
                trial_id(each),
                task.measured_as(each.task),
                on,
                spec.train,
                num_test=self.info.num_test,
                metric=metric,
                best_weights=BestWeights(metric) if checkpoints.keep == "best" else None,
                keeps_predictions=keep_predictions,
                processes=processes,
            )
            for each, on in zip(self.specs, self.data.measured, strict=True)
        ]
        return TrialSetup(self, task, tuple(evaluations), tuple(files), tuple(folders), checkpoints, metric)


@dataclass(frozen=True)
class TrialSetup:
    """A trial that can be trained; the first evaluation, files and folder are its own, the others those of the trials
    that are measured in its training."""

    built: BuiltTrial
    task: Task
    evaluations: tuple[Evaluation, ...]
    files: tuple[TrialCheckpoint, ...]
    folders: tuple[Path | None, ...]
    checkpoints: Checkpoints
    metric: str


def build_trial(
    spec: TrialSpec,
    also: Sequence[TrialSpec] = (),
    *,
    resources: Resources,
    device: torch.device,
    processes: ProcessGroup = ALONE,
    fingerprint: str = "",
    like: BuiltTrial | None = None,
) -> BuiltTrial:
    """Network and data of a trial.

    Args:
        also: further trials that are measured in its training.
        fingerprint: of the data, by which what is decoded is shared; empty where it was not looked at.
        like: a trial with the same data options and another seed, whose images are shared where they are in memory.

    Raises:
        SpecError: the model cannot be built, or the data is missing.
    """
    assert {training_id(each) for each in also} <= {training_id(spec)}, "trials that do not share a training"
    specs = (spec, *also)
    seed = seed_of(spec)
    if like is None:
        task = with_own_test_split(spec.task, seed)
        shared_by = fingerprint if task is spec.task else ""  # splits of its own are read by no other trial
        info = normalised(shared_description(task, resources, shared_by, describe_dataset), spec)
    else:
        info = like.info
    kind = TASKS[spec.task.name]
    model = kind.build(spec, info, seed=of_source(seed, "init"))
    set_map_numerics(model, spec.train)
    notes: list[str] = []
    if spec.arch.weights is not None:
        notes = weights_note(spec, resources)
        is_whole = spec.train.epochs == 0
        notes += initialise_from(kind.pretrained_part(model), find_weights(spec, resources), is_whole=is_whole)
    if not is_continued(spec.arch.weights):  # whose classifier is that of the trial before
        start_head(model, scale=spec.train.head_init_scale, bias=spec.train.head_init_bias)
    notes += freeze_parameters(model, kind.pretrained_part(model), spec.train.freeze)
    options: dict[str, Any] = kind.data_options(specs, info)
    size = kind.input_size(spec, info)
    options |= {"img_size": size, "seed": seed, "info": info}
    load = functools.partial(load_data, spec.task, spec.train, resources, device, **options)
    shared = None if like is None else like.data.of_seed(seed)
    data = shared or load(share=processes.shard_of if processes.size > 1 else None)
    model = in_fast_layout(model, spec, info, device)
    if processes.size > 1 and device.type == "cuda":
        torch.cuda.set_device(device)
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # GPUs only; on CPUs each rank normalises its shard
    return BuiltTrial(specs, info, model, data, load, tuple(notes), device, processes)


def _folder_of(spec: TrialSpec, first: TrialSpec, directory: Path | None) -> Path | None:
    """The directory of a trial, beside that of the one that trains."""
    return directory if directory is None or spec is first else directory.with_name(trial_id(spec))
