"""Parts of a split of images that have a class each, and their batches in order, un-augmented."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import Dataset

from runners.data.dataset_info import DataInfo, EvalBatches, ImageRows, Images, Split, as_rows
from runners.data.evaluation_crop import EvaluationCrop
from runners.data.holdout import stratified_holdout
from runners.data.images.timm_loader import LoaderBatches, subset
from runners.data.random_streams import generator
from runners.data.readers.labels import labels_of
from runners.data.sharding import ShardedEvalBatches, Share
from runners.data.streams.order import FirstSamples
from runners.data.streams.sample_stream import SampleStream
from runners.data.tensor_loader import TensorBatches

__all__ = ["evaluation_batches", "fixed_sample", "hold_out", "on_device"]


def hold_out(split: Split, fraction: float, *, seed: int) -> tuple[Split, Split]:
    """The images to keep and those held out for validation, stratified.

    Args:
        seed: of the draw, `validation_seed`.
    """
    labels = split.labels.numpy() if isinstance(split, Images) else labels_of(split)
    kept, held_out = stratified_holdout(labels, fraction, seed=seed)
    return _pick(split, kept), _pick(split, held_out)


def fixed_sample(split: Split, num_images: int) -> Split:
    """First images, at least one, of one shuffled order, the same for all seeds and variants."""
    if isinstance(split, SampleStream):
        return FirstSamples(split, max(num_images, 1))
    order = torch.randperm(len(split), generator=generator(0, "calibration"))  # pyright: ignore[reportArgumentType]
    return _pick(split, order[: max(num_images, 1)])


def on_device(split: Split, device: torch.device) -> Split:
    """Images in memory on the device, so that they are there once and not for each kind of batches."""
    return Images(split.pixels.to(device), split.labels) if isinstance(split, Images) else split


def evaluation_batches(
    split: Split,
    *,
    info: DataInfo,
    img_size: tuple[int, int],
    device: torch.device,
    batch_size: int,
    num_workers: int,
    share: Share | None,
    crop: EvaluationCrop | None = None,
) -> EvalBatches:
    """Every image once, in order: images (B, C, H, W), labels (B,).

    Args:
        crop: what of an image is seen, and at which size; None: all of it, at `img_size`.
        share: positions of this process's images in every batch; None: all.
    """
    shape: dict[str, Any] = {
        "info": info,
        "img_size": img_size,
        "device": device,
        "batch_size": batch_size,
        "crop": crop,
    }
    if isinstance(split, Images | ImageRows):
        batches = TensorBatches(split, **shape)
        return ShardedEvalBatches(batches, share) if share else batches
    return LoaderBatches(split, num_workers=num_workers, share=share, **shape)


def _pick(split: Split, indices: Any) -> Split:
    if isinstance(split, Images | ImageRows):
        whole = as_rows(split)
        return ImageRows(whole.images, whole.rows[torch.as_tensor(indices)])
    assert isinstance(split, Dataset)
    return subset(split, indices)
