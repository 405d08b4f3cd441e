"""Predictions of a trained model on some test images (`keep_samples`), for the pictures of the report.

As the probes, they are made once, after the last epoch. The images are evenly spread over the test split, because many
splits are sorted by class, and are the same for every variant and seed. They have the size in which the model was
measured, or are scaled down where they would take more than some MB.

Shapes:  H x W pixels of the measured image, H' x W' of the kept one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from results.predictions.samples import MOST_PIXELS, Drawable, LabelMap, Objects, Sample, Samples
from results.predictions.samples_file import write_samples
from results.store.links import folder_within, opener_within
from results.store.run_layout import TrialDir
from runners.data import DataInfo, EvalBatches
from runners.tasks.task import DrawnModel, MeasuredModel
from runners.training.precision import Precision
from search_space.parsing.errors import Problem, SpecError

__all__ = ["keep_predicted"]


def keep_predicted(
    model: MeasuredModel,
    batches: EvalBatches,
    wanted: int,
    *,
    info: DataInfo,
    precision: Precision,
    directory: Path | None,
) -> None:
    """Write the predictions on `wanted` test images, or on all if there are fewer, into the folder of the trial.

    Raises:
        SpecError: there is no folder.
    """
    if directory is None:
        raise SpecError(Problem("samples need a run directory", path="keep_samples"))
    assert isinstance(model, DrawnModel), "a task that cannot be drawn"
    # A stream may not report its length: then the first images.
    num_images = info.num_test if info.num_test > 0 else wanted
    wanted = min(wanted, num_images)
    chosen = {index * num_images // wanted for index in range(wanted)}
    most = MOST_PIXELS[model.draws] // len(chosen)
    samples = tuple(
        Sample(position, _smaller_image(image, most), *(_smaller(each, image, most) for each in drawn))
        for position, image, drawn in _drawn(model, batches, chosen, info, precision)
    )
    found = Samples(
        kind=model.draws,
        samples=samples,
        names=dict(enumerate(info.class_names)),
        ignored=model.ignored,
        least_score=model.least_score,
    )
    trial = TrialDir(directory)
    folder_within(trial.path, trial.run_dir())
    with open(trial.samples, "wb", opener=opener_within(trial.run_dir())) as stream:
        write_samples(stream, found)


def _drawn(
    model: DrawnModel, batches: EvalBatches, chosen: set[int], info: DataInfo, precision: Precision
) -> Iterator[tuple[int, np.ndarray, tuple[Drawable, Drawable]]]:
    """Position, image (H, W, 3) uint8, truth and prediction of the chosen images."""
    seen, last = 0, max(chosen)
    for inputs, targets in batches:
        mine = [index for index in range(len(targets)) if seen + index in chosen]
        if mine:
            images = _picked(inputs, mine)
            found = model.drawn(images, _picked(targets, mine), precision.autocast())
            for index, image, drawn in zip(mine, images, found, strict=True):
                yield seen + index, _pixels(image, info), drawn
        seen += len(targets)
        if seen > last:
            return


def _picked(batch: Any, indices: list[int]) -> Any:
    return batch[indices] if isinstance(batch, Tensor) else [batch[index] for index in indices]


def _pixels(image: Tensor, info: DataInfo) -> np.ndarray:
    """Image (H, W, 3) uint8 of a normalised one (C, H, W); grey where it has no three channels."""
    mean, std = (torch.tensor(each)[:, None, None] for each in (info.mean, info.std))
    unit = image.float().cpu() * std + mean
    if len(unit) != 3:
        unit = unit.mean(dim=0, keepdim=True).expand(3, -1, -1)
    return (255 * unit.clamp(0, 1)).round().byte().permute(1, 2, 0).contiguous().numpy()


def _size_within(size: tuple[int, ...], most: int) -> tuple[int, int]:
    """Size of at most so many pixels in the same proportions."""
    height, width = size[:2]
    scale = min(1.0, math.sqrt(most / (height * width)))
    return max(1, min(int(height * scale), most)), max(1, min(int(width * scale), most))


def _smaller_image(image: np.ndarray, most: int) -> np.ndarray:
    size = _size_within(image.shape, most)
    if size == image.shape[:2]:
        return image
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    scaled = F.interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)[0]
    return scaled.clamp(0, 255).round().byte().permute(1, 2, 0).contiguous().numpy()


def _smaller(drawn: Drawable, image: np.ndarray, most: int) -> Drawable:
    """What is drawn, at the size of the kept image. A label map may have another size than its image."""
    size = _size_within(image.shape, most)
    if isinstance(drawn, LabelMap):
        return LabelMap(_nearest(drawn.labels, size))
    if not isinstance(drawn, Objects) or size == image.shape[:2]:
        return drawn
    across = np.array([size[1] / image.shape[1], size[0] / image.shape[0]] * 2, dtype=np.float32)
    masks = None if drawn.masks is None else _nearest(drawn.masks, size)
    return replace(drawn, boxes=drawn.boxes * across, masks=masks)


def _nearest(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Maps (..., H, W) at another size: the value at the centre of every new pixel."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(size, maps.shape[-2:], strict=True)
    )
    return maps[..., rows[:, None], columns]
