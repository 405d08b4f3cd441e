"""Data of a trial of self-supervision: views of the training images, and banks to measure features by.

A bank is every training image that is left after the validation split, once and un-augmented; nearest neighbours and
linear probes are fitted on it and measured on the images of a split.

Views are cut out of images at their own size. So images are held in memory only where all of them have the same size;
classification, which cuts all to one size first, holds more kinds of datasets in memory.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from runners.data.dataset_info import Data, DataInfo, EvalBatches, ImageRows, Images, Split, TrainBatches
from runners.data.epochs import train_batch_size
from runners.data.holdout import validation_seed
from runners.data.images.loading import describe_images
from runners.data.images.splits import evaluation_batches, fixed_sample, hold_out, on_device
from runners.data.random_streams import Seed
from runners.data.readers.sizes import have_one_size
from runners.data.sharding import Share
from runners.data.shared.decoded import shared_splits
from runners.data.sources import source_of
from runners.data.views.banks import BankedBatches
from runners.data.views.drawing import MultiCrop
from runners.data.views.loader_batches import LoaderViewBatches
from runners.data.views.memory_batches import MemoryViewBatches
from search_space.schema.task import TaskSpec
from search_space.schema.tasks.self_supervised import SelfSupervisedSpec
from search_space.schema.trial import TrainSpec

__all__ = ["describe_views", "load_views", "multi_crop"]


def describe_views(task: TaskSpec, resources: Any, *, in_memory_bytes: int) -> DataInfo:
    """Sizes and counts as for classification; `storage` is `memory` only for images of one size.

    Raises:
        SpecError: as `describe_dataset`.
    """
    info = describe_images(task, resources, in_memory_bytes=in_memory_bytes)
    if info.storage != "memory" or task.dataset.num_built_in is not None:
        return info
    splits = source_of(task.dataset).open(task.dataset, resources)
    return info if all(map(have_one_size, splits)) else replace(info, storage="loader")


def multi_crop(task: SelfSupervisedSpec, train: TrainSpec, img_size: tuple[int, int]) -> MultiCrop:
    """Distribution of the views of a task for a model's input of this (height, width)."""
    return MultiCrop(
        global_size=img_size,
        local_size=task.view_sizes(img_size)[-1],
        num_local=task.local_crops,
        global_scale=task.global_scale,
        local_scale=task.local_scale,
        aspect=task.aspect,
        hflip=train.hflip,
        color_jitter=task.color_jitter,
        grayscale=task.grayscale,
        blur=task.blur,
        solarize=task.solarize,
        channel_jitter=task.channel_jitter,
        channel_shift=task.channel_shift,
    )


def load_views(
    task: TaskSpec,
    train: TrainSpec,
    resources: Any,
    device: torch.device,
    *,
    img_size: tuple[int, int],
    seed: Seed,
    share: Share | None,
    info: DataInfo,
) -> Data:
    """Batches of one trial: `Crops` and labels (B,) in training, `BankedBatches` in evaluation; see `load_data`.

    `samples` and `calibration` have images (B, C, H, W) and labels (B,): those of the test split, and a fixed sample of
    the training images.
    """
    assert isinstance(task, SelfSupervisedSpec)
    # At their own size, whatever the model's is.
    train_split, test_split = (
        on_device(split, device) for split in shared_splits(task, resources, info, info.img_size)
    )
    val_split: Split | None = None
    if info.num_val:
        train_split, val_split = hold_out(train_split, task.val_fraction, seed=validation_seed(seed))
    batch_size = train_batch_size(train, info.num_train)
    calibrated = min(max(2, train.recalibrate_bn * train.batch_size), info.num_train)
    if calibrated % max(2, batch_size) == 1 < calibrated:
        calibrated -= 1  # a batch of one image has no variance where a map has one position
    calibration = fixed_sample(train_split, calibrated)
    evaluated: dict[str, Any] = {"info": info, "img_size": img_size, "device": device}
    evaluated["num_workers"] = resources.num_workers

    def in_order(split: Split, batch_size: int = train.batch_size, share: Share | None = None) -> EvalBatches:
        return evaluation_batches(split, batch_size=batch_size, share=share, **evaluated)

    def banked(split: Split, number: int) -> EvalBatches:
        parts = bank, in_order(split, share=share)
        return BankedBatches(*parts, num_images=(info.num_train, number), batch_size=train.batch_size, share=share)

    bank = in_order(train_split, share=share)
    options: dict[str, Any] = {"info": info, "batch_size": batch_size, "device": device, "seed": seed, "share": share}
    return Data(
        info=info,
        train=_train_batches(train_split, multi_crop(task, train, img_size), resources.num_workers, options),
        calibration=in_order(calibration, max(2, batch_size)),
        val=None if val_split is None else banked(val_split, info.num_val),
        test=banked(test_split, info.num_test),
        samples=in_order(test_split),
    )


def _train_batches(split: Split, crop: MultiCrop, num_workers: int, options: dict[str, Any]) -> TrainBatches:
    if isinstance(split, Images | ImageRows):
        return MemoryViewBatches(split, crop, **options)
    return LoaderViewBatches(split, crop, num_workers=num_workers, **options)
