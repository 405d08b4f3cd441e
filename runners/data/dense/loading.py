"""Data of a trial of segmentation: images with label maps, in memory or read from files.

The validation split is drawn at random from the training images, the same for all seeds; label maps have no single
class to be stratified by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from runners.data.dataset_info import Data, DataInfo, EvalBatches, Images, TrainBatches
from runners.data.dense.label_maps import LabelMaps
from runners.data.dense.pair_loader import PairBatches, PairTrainBatches
from runners.data.dense.sources import load_folder
from runners.data.epochs import train_batch_size
from runners.data.holdout import after_holdout, random_holdout, validation_seed
from runners.data.random_streams import Seed, generator
from runners.data.sharding import ShardedEvalBatches, ShardedTrainBatches, Share
from runners.data.sources import source_of
from runners.data.tensor_loader import TensorBatches, TensorTrainBatches
from search_space.schema.task import SegmentationSpec, TaskSpec
from search_space.schema.trial import TrainSpec

if TYPE_CHECKING:
    from runners.data.dense.joint_transforms import TrainingTransform
    from runners.data.dense.photometric import PhotometricDistortion

__all__ = ["describe_label_maps", "load_label_maps"]

_LONGEST = 4
"""The longer side of an image at scale 1 is at most this times the shorter one, as in ADE20K's 2048 to 512."""


def describe_label_maps(task: TaskSpec, resources: Any, *, in_memory_bytes: int) -> DataInfo:
    """Sizes and counts of a dataset with label maps.

    Raises:
        SpecError: the data is missing, or it cannot be split as requested.
    """
    return after_holdout(task, source_of(task.dataset).describe(task.dataset, resources, in_memory_bytes))


def load_label_maps(
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
    """Batches of one trial: images (B, C, H, W), labels (B, h, w); in memory uint8, else int64. See `load_data`."""
    assert isinstance(task, SegmentationSpec)
    train_split, test_split = _open(task, resources, info)
    val_split = None
    if info.num_val:
        kept, held_out = random_holdout(len(train_split), info.num_val, seed=validation_seed(seed))
        train_split, val_split = _subset(train_split, kept), _subset(train_split, held_out)
    sample = torch.randperm(len(train_split), generator=generator(0, "calibration"))
    sample = _subset(train_split, sample[: max(1, train.recalibrate_bn * train.batch_size)].numpy())
    kind = _InMemory if info.storage == "memory" else _FromFiles
    make = kind(task, train, resources, device, info=info, img_size=img_size, share=share)
    return Data(
        info=info,
        train=make.training(train_split, seed=seed),
        calibration=make.calibration(sample),
        val=None if val_split is None else make.evaluation(val_split),
        test=make.evaluation(test_split),
        samples=None if info.storage == "memory" else make.calibration(test_split),
    )


class _Some:
    """Pairs of a split by their positions in it."""

    def __init__(self, pairs: LabelMaps, positions: np.ndarray) -> None:
        self._pairs = pairs
        self._positions = positions

    def __len__(self) -> int:
        return len(self._positions)

    def pair(self, index: int) -> tuple[Any, np.ndarray]:
        return self._pairs.pair(int(self._positions[index]))


def _open(task: SegmentationSpec, resources: Any, info: DataInfo) -> tuple[Any, Any]:
    if info.storage == "memory":
        return source_of(task.dataset).load(task.dataset, resources, info, info.img_size)
    return load_folder(task.dataset, resources, info, info.img_size, ignore_label=task.ignore_label)


def _subset(split: Any, positions: np.ndarray) -> Any:
    if isinstance(split, Images):
        return split.subset(torch.from_numpy(positions))
    return _Some(split, positions)


class _Batches:
    """What both kinds of batches are made from."""

    def __init__(
        self,
        task: SegmentationSpec,
        train: TrainSpec,
        resources: Any,
        device: torch.device,
        *,
        info: DataInfo,
        img_size: tuple[int, int],
        share: Share | None,
    ) -> None:
        self.task, self.train, self.info, self.img_size, self.share = task, train, info, img_size, share
        self.num_workers, self.device = resources.num_workers, device
        self.batch_size = train_batch_size(train, info.num_train)


class _InMemory(_Batches):
    """Batches of splits that are `Images`; the labels are maps."""

    def training(self, split: Images, *, seed: Seed) -> TrainBatches:
        augmentation = {"crop_padding": self.train.crop_padding, "hflip": self.train.hflip}
        ignored = self.task.ignore_label
        shape = {"info": self.info, "img_size": self.img_size, "device": self.device, "batch_size": self.batch_size}
        batches = TensorTrainBatches(split, seed=seed, ignore_label=ignored, **augmentation, **shape)
        return batches if self.share is None else ShardedTrainBatches(batches, self.share)

    def evaluation(self, split: Images) -> EvalBatches:
        batches = self._in_order(split, self.train.batch_size)
        return batches if self.share is None else ShardedEvalBatches(batches, self.share)

    def calibration(self, split: Images) -> EvalBatches:
        return self._in_order(split, self.batch_size)

    def _in_order(self, split: Images, batch_size: int) -> TensorBatches:
        shape = {"info": self.info, "img_size": self.img_size, "device": self.device}
        return TensorBatches(split, batch_size=batch_size, **shape)


class _FromFiles(_Batches):
    """Batches of pairs that are read one by one. Whole images are evaluated; calibration has crops as training has, but
    without augmentation."""

    def training(self, split: Any, *, seed: Seed) -> TrainBatches:
        from runners.data.dense.photometric import PhotometricDistortion  # transforms v2: 0.3 s that few pay

        distortion = PhotometricDistortion() if self.task.photometric else None
        most = self.task.max_class_share
        transform = self._crops(scale=self.task.scale, most=most, hflip=self.train.hflip, distortion=distortion)
        options = {"batch_size": self.batch_size, "num_workers": self.num_workers, "device": self.device}
        return PairTrainBatches(split, transform, seed=seed, share=self.share, **options)

    def evaluation(self, split: Any) -> EvalBatches:
        from runners.data.dense.joint_transforms import EvaluationTransform

        transform = EvaluationTransform(self.info.mean, self.info.std, **self._sides())
        return PairBatches(split, transform, num_workers=self.num_workers, device=self.device, share=self.share)

    def calibration(self, split: Any) -> EvalBatches:
        transform = self._crops(scale=(1.0, 1.0), most=1.0, hflip=0.0, distortion=None)
        options = {"batch_size": self.batch_size, "num_workers": self.num_workers, "device": self.device}
        return PairBatches(split, transform, **options)

    def _crops(
        self, *, scale: tuple[float, float], most: float, hflip: float, distortion: PhotometricDistortion | None
    ) -> TrainingTransform:
        from runners.data.dense.joint_transforms import TrainingTransform

        return TrainingTransform(
            self.img_size,
            self.info.mean,
            self.info.std,
            scale=scale,
            most_of_one_class=most,
            hflip=hflip,
            distortion=distortion,
            ignore_label=self.task.ignore_label,
            **self._sides(),
        )

    def _sides(self) -> dict[str, int]:
        short = self.task.short_side or min(self.img_size)
        return {"short_side": short, "long_side": _LONGEST * short}
