"""Data of a trial of classification: hold out the validation split, choose between tensor and timm's loader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from runners.data.augmentation.pipeline import PilImages, Whole, needs_pillow
from runners.data.dataset_info import (
    Data,
    DataInfo,
    EvalBatches,
    ImageRows,
    Images,
    Measured,
    SourceInfo,
    Split,
    TrainBatches,
)
from runners.data.decoding import decode
from runners.data.epochs import train_batch_size
from runners.data.evaluation_crop import EvaluationCrop
from runners.data.holdout import VAL_SEED, after_holdout, stratified_holdout, validation_seed
from runners.data.images.splits import evaluation_batches, fixed_sample, hold_out, on_device
from runners.data.images.timm_loader import LoaderTrainBatches
from runners.data.random_streams import Seed
from runners.data.sharding import ShardedTrainBatches, Share
from runners.data.shared.decoded import shared_splits
from runners.data.sources import source_of
from runners.data.tensor_loader import TensorTrainBatches
from search_space.parsing.errors import Problem, SpecError
from search_space.schema.trial import TaskSpec, TrainSpec
from search_space.settings.augmentation_relations import has_random_crop

__all__ = ["describe_images", "load_images"]


def describe_images(task: TaskSpec, resources: Any, *, in_memory_bytes: int) -> DataInfo:
    """Sizes and counts of a dataset whose images have a class each; see `describe_dataset`."""
    found = source_of(task.dataset).describe(task.dataset, resources, in_memory_bytes)
    if task.val_fraction > 0 and found.storage == "stream":
        text = f"{task.dataset.name!r} is a stream: images cannot be held out of it"
        raise SpecError(Problem(text, path="task.val_fraction", hint="set val_fraction: 0"))
    info = after_holdout(task, found)
    if info.num_val:
        _check_classes(task, found)
    return info


def load_images(
    task: TaskSpec,
    train: TrainSpec,
    resources: Any,
    device: torch.device,
    *,
    img_size: tuple[int, int],
    seed: Seed,
    share: Share | None,
    info: DataInfo,
    crops: Sequence[EvaluationCrop] = (),
) -> Data:
    """Batches of one training: images (B, C, H, W), labels (B,); see `load_data`.

    Args:
        crops: of every trial that is measured by this training, the first one's first; default: one, of whole images.
    """
    held = validation_seed(seed)
    train_split, test_split = shared_splits(task, resources, info, img_size)
    if not needs_pillow(train):
        train_split = on_device(train_split, device)
    val_split: Split | None = None
    if info.num_val:
        train_split, val_split = hold_out(train_split, task.val_fraction, seed=held)
    calibration = fixed_sample(train_split, train.recalibrate_bn * train.batch_size)
    if needs_pillow(train):  # so that these parts do not keep images in memory that training holds in another form
        calibration, val_split = _alone(calibration), _alone(val_split)
    batch_size = train_batch_size(train, info.num_train)
    shape: dict[str, Any] = {"info": info, "img_size": img_size, "device": device}
    evaluated: dict[str, Any] = {**shape, "num_workers": resources.num_workers}

    def evaluation(split: Split, crop: EvaluationCrop) -> EvalBatches:
        return evaluation_batches(split, batch_size=train.batch_size, share=share, crop=crop, **evaluated)

    def measured(crop: EvaluationCrop) -> Measured:
        size = info.img_size if crop.mode else _fewer_pixels(crop.scaled, info.img_size)
        is_other = size != _fewer_pixels(img_size, info.img_size)
        val, test = val_split, test_split
        # Training images never depend on how a model is measured, so others are decoded a second time.
        is_own = crop.interpolation != "bilinear"
        if (is_other or is_own) and isinstance(test_split, Images) and task.dataset.num_built_in is None:
            again, test = _decoded(task, resources, info, size, crop.interpolation)
            val = _alone(hold_out(again, task.val_fraction, seed=held)[1]) if info.num_val else None
        return Measured(
            val=None if val is None else evaluation(val, crop),
            test=evaluation(test, crop),
        )

    first, *further = (measured(crop) for crop in crops or (EvaluationCrop(img_size),))
    return Data(
        info=info,
        train=_train_batches(
            _as_augmented(train_split, task, train, resources, held),
            *(train, resources),
            **{"batch_size": batch_size, "seed": seed, "share": share, **shape},
        ),
        calibration=evaluation_batches(calibration, batch_size=batch_size, share=None, **evaluated),
        val=first.val,
        test=first.test,
        further=tuple(further),
    )


def _decoded(
    task: TaskSpec, resources: Any, info: DataInfo, size: tuple[int, int], interpolation: str
) -> tuple[Any, Any]:
    """Both splits at a size; of an evaluation's own interpolation for this trial alone."""
    if interpolation == "bilinear":
        return shared_splits(task, resources, info, size)
    stored = source_of(task.dataset).open(task.dataset, resources)
    train, test = (decode(split, size, info.in_chans, interpolation) for split in stored[:2])
    return train, test


def _fewer_pixels(size: tuple[int, int], native: tuple[int, int]) -> tuple[int, int]:
    """The size at which a dataset in memory is decoded for an input of `size`."""
    return min(size, native, key=lambda each: each[0] * each[1])


def _as_augmented(split: Split, task: TaskSpec, train: TrainSpec, resources: Any, held: int) -> Split:
    """The training images as their augmentation takes them: in memory as tensors where that can do all that is asked
    for, else one by one, and as they are stored where a part of them is cropped out.

    Args:
        held: seed of the validation split.
    """
    if not isinstance(split, Images | ImageRows) or not needs_pillow(train):
        return split
    if not has_random_crop(train) or task.dataset.num_built_in is not None:
        return PilImages(_alone(split))
    stored = source_of(task.dataset).open(task.dataset, resources)[0]
    return hold_out(stored, task.val_fraction, seed=held)[0] if task.val_fraction else stored


def _alone(split: Any) -> Any:
    """A split that keeps no other images in memory than its own."""
    return split.copied() if isinstance(split, ImageRows) else split


def _train_batches(
    split: Split, train: TrainSpec, resources: Any, *, batch_size: int, seed: Seed, share: Share | None, **shape: Any
) -> TrainBatches:
    if isinstance(split, Images | ImageRows):
        names = ("crop_padding", "hflip", "vflip", "reprob", "remode", "recount", "aug_repeats")
        options: dict[str, Any] = {name: getattr(train, name) for name in names}
        batches = TensorTrainBatches(split, batch_size=batch_size, seed=seed, **options, **shape)
        return ShardedTrainBatches(batches, share) if share else batches
    whole = Whole(split.size) if isinstance(split, PilImages) and not has_random_crop(train) else None
    options = {"train": train, "num_workers": resources.num_workers, "share": share, "whole": whole}
    return LoaderTrainBatches(split, batch_size=batch_size, seed=seed, **options, **shape)


def _check_classes(task: TaskSpec, found: SourceInfo) -> None:
    """Every class keeps a training image."""
    labels = np.repeat(np.arange(len(found.train_counts)), found.train_counts)
    kept = labels[stratified_holdout(labels, task.val_fraction, seed=VAL_SEED)[0]]
    if emptied := np.setdiff1d(labels, kept).tolist():
        shown = ", ".join(map(str, emptied[:5])) + (" and more" if len(emptied) > 5 else "")
        raise SpecError(
            Problem(
                f"{task.val_fraction} of {found.num_train} training images holds out all images of {len(emptied)} of "
                f"{len(set(labels.tolist()))} classes (labels {shown})",
                path="task.val_fraction",
                hint="write a smaller share, or 0 for no validation split",
            )
        )
