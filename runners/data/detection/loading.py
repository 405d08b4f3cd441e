"""Data of a trial of detection: batches are lists of images and lists of targets, because images differ in size.

The validation split is drawn at random from the training images, the same for all seeds; an image has objects of
several classes, so that there is none to be stratified by.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch

from runners.data.dataset_info import Data, DataInfo
from runners.data.dense.pair_loader import PairBatches, PairTrainBatches
from runners.data.detection.objects import Objects, Truth
from runners.data.detection.sources import describe_coco, describe_drawn, load_coco, load_drawn, mask_faults
from runners.data.epochs import train_batch_size
from runners.data.holdout import after_holdout, random_holdout, validation_seed
from runners.data.random_streams import Seed, generator
from runners.data.readers.place import problem
from runners.data.sharding import Share
from search_space.parsing.errors import SpecError
from search_space.schema.task import DetectionSpec, TaskSpec
from search_space.schema.trial import TrainSpec

__all__ = ["describe_objects", "load_objects"]


class AnnotatedImages(Protocol):
    """Images with objects, with random access, as `CocoSplit`."""

    @property
    def objects(self) -> Any: ...

    def __len__(self) -> int: ...

    def image(self, index: int) -> Any: ...


class _Some:
    """Pairs of a split by their positions in it."""

    def __init__(self, images: AnnotatedImages, positions: np.ndarray) -> None:
        self._images, self._positions = images, positions

    def __len__(self) -> int:
        return len(self._positions)

    def pair(self, index: int) -> tuple[Any, Truth]:
        at = int(self._positions[index])
        objects: Objects = self._images.objects[at]
        return self._images.image(at), Truth(at, objects)


def describe_objects(task: TaskSpec, resources: Any, *, in_memory_bytes: int) -> DataInfo:
    """Sizes and counts of a dataset with objects; `num_classes` is without background.

    Raises:
        SpecError: the data is missing, or it cannot be split as requested.
    """
    assert isinstance(task, DetectionSpec)
    is_drawn = task.dataset.num_built_in is not None
    found = describe_drawn(task.dataset) if is_drawn else describe_coco(task.dataset, resources, in_memory_bytes)
    return after_holdout(task, found)


def load_objects(
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
    """Batches of one trial: lists of images (C, H, W), and of targets (training) or of `Truth` (all others).

    See `load_data`. Images are evaluated alone where they differ in size: what a model makes of the padding beside an
    image would depend on the others of its batch.
    """
    assert isinstance(task, DetectionSpec)
    train_split, test_split = _open(task, resources, info, img_size)
    kept, held_out = random_holdout(len(train_split), info.num_val, seed=validation_seed(seed))
    short_sides, long_side = task.train_sides(img_size)
    from runners.data.detection.transforms import EvaluationTransform, TrainingTransform  # transforms v2: 0.3 s

    training = TrainingTransform(
        info.mean,
        info.std,
        short_sides=short_sides,
        long_side=long_side,
        hflip=train.hflip,
        masks=task.has_masks,
    )
    evaluation = EvaluationTransform(info.mean, info.std)
    shape = {"num_workers": resources.num_workers if info.storage == "loader" else 0, "device": device}
    shape["collate"] = _as_lists
    batch_size = train_batch_size(train, info.num_train)
    eval_size = train.batch_size if info.storage == "memory" else 1
    sample = torch.randperm(len(kept), generator=generator(0, "calibration")).numpy()
    sample = kept[sample[: max(1, train.recalibrate_bn * train.batch_size)]]

    def evaluated(split: AnnotatedImages, positions: np.ndarray) -> PairBatches:
        return PairBatches(_Some(split, positions), evaluation, batch_size=eval_size, share=share, **shape)

    return Data(
        info=info,
        train=PairTrainBatches(
            _Some(train_split, kept), training, batch_size=batch_size, seed=seed, share=share, **shape
        ),
        calibration=PairBatches(_Some(train_split, sample), evaluation, batch_size=batch_size, **shape),
        val=evaluated(train_split, held_out) if info.num_val else None,
        test=evaluated(test_split, np.arange(len(test_split))),
    )


def _open(task: DetectionSpec, resources: Any, info: DataInfo, img_size: tuple[int, int]) -> tuple[Any, Any]:
    if info.storage == "memory":
        return load_drawn(task.dataset)
    train, test = load_coco(task.dataset, resources, info, img_size)
    if faults := mask_faults(task, train, test):
        raise SpecError([problem(task.dataset, text, hint) for text, hint in faults])
    return train, test


def _as_lists(pairs: list[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    return [image for image, _ in pairs], [target for _, target in pairs]
