"""Data of a trial, by its task: sizes and counts before training, batches during it.

A dataset that fits into memory (`IN_MEMORY_BYTES` decoded, in its own size) is held as one tensor. The limit is a
constant and not a resource: the two ways augment differently, so the choice must follow from the dataset alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from runners.data.dataset_info import Data, DataInfo
from runners.data.dense.loading import describe_label_maps, load_label_maps
from runners.data.detection.loading import describe_objects, load_objects
from runners.data.epochs import EqualParts, batches_of_an_epoch
from runners.data.holdout import with_own_test_split
from runners.data.images.loading import describe_images, load_images
from runners.data.random_streams import Seed
from runners.data.sharding import Share
from runners.data.text.loading import describe_text, load_text
from runners.data.views.loading import describe_views, load_views
from search_space.parsing.errors import Problem, SpecError
from search_space.plugins import contributed
from search_space.schema.task import ForeignSpec, TaskSpec
from search_space.schema.trial import TrainSpec

__all__ = ["IN_MEMORY_BYTES", "TASK_DATA", "TaskData", "data_of", "describe_dataset", "load_data"]

IN_MEMORY_BYTES = 1 << 30


@dataclass(frozen=True)
class TaskData:
    """Data of a task: two functions with the arguments of `describe_dataset` and `load_data`."""

    describe: Callable[..., DataInfo]
    load: Callable[..., Data]


TASK_DATA: dict[str, TaskData] = {
    "classification": TaskData(describe_images, load_images),
    "segmentation": TaskData(describe_label_maps, load_label_maps),
    "detection": TaskData(describe_objects, load_objects),
    "text": TaskData(describe_text, load_text),
    "self_supervised": TaskData(describe_views, load_views),
}
"""`task.name` -> its data."""


def data_of(name: str) -> TaskData:
    """Data of a task. That of a plug-in has its attribute `data`, or images with a label each."""
    if name in TASK_DATA:
        return TASK_DATA[name]
    return getattr(contributed("task")[name], "data", TASK_DATA["classification"])


def describe_dataset(task: TaskSpec, resources: Any, *, in_memory_bytes: int = IN_MEMORY_BYTES) -> DataInfo:
    """Sizes and counts of the task's dataset; reads the labels and the headers of the images, and decodes none.

    Raises:
        SpecError: the data is missing, its labels are no numbers of classes, or it cannot be split as requested; the
            message says what to do.
    """
    if isinstance(task, ForeignSpec):
        text = f"the task {task.name!r} reads its own data, which archsweep does not look at"
        raise SpecError(Problem(text, path="task.name"))
    return data_of(task.name).describe(task, resources, in_memory_bytes=in_memory_bytes)


def load_data(
    task: TaskSpec,
    train: TrainSpec,
    resources: Any,
    device: torch.device,
    *,
    img_size: tuple[int, int],
    seed: Seed,
    share: Share | None = None,
    in_memory_bytes: int = IN_MEMORY_BYTES,
    info: DataInfo | None = None,
    **options: Any,
) -> Data:
    """Batches for one training.

    Args:
        img_size: (height, width) of the model's input.
        seed: the trial's; decides order and augmentation, and where it is said so which images are in which split.
        share: positions of this process's images in every batch, where several processes train together; calibration is
            not sharded, so that it gives all of them the same statistics.
        info: what `describe_dataset` found, where it is known already.
        options: those of the task's data alone: `crops` of classification.
    """
    task = with_own_test_split(task, seed)
    if info is None:
        info = describe_dataset(task, resources, in_memory_bytes=in_memory_bytes)
    shared = {"img_size": img_size, "seed": seed, "share": share, "info": info}
    data = data_of(task.name).load(task, train, resources, device, **shared, **options)
    batches = batches_of_an_epoch(train)
    return data if batches is None else replace(data, train=EqualParts(data.train, batches))
