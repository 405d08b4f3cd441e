"""Batches of a dataset held as one tensor on the device, augmented a batch at a time.

A batch is one indexing operation, so small images need a tenth of the time that reading them one by one takes
(benchmarks/README.md).

Order of operations: index, random crop after padding with black, flips, scale to 0..1, resize to the model's size,
normalise, erase. Bytes stay bytes until they are scaled. Label maps are cropped and flipped with their images. Random
numbers come from a CPU stream per trial seed and epoch, so that they are the same on every device and for every
architecture.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
from timm.data.random_erasing import RandomErasing
from torch import Generator, Tensor
from torch.nn import functional

from runners.data.augmentation.repeats import epoch_order
from runners.data.dataset_info import Batch, DataInfo, ImageRows, Images, as_rows
from runners.data.evaluation_crop import EvaluationCrop
from runners.data.model_inputs import ModelInputs
from runners.data.random_streams import Seed, generator, global_streams
from runners.data.transfer import sent

__all__ = ["TensorBatches", "TensorTrainBatches", "crop_offsets", "flipped", "flips", "shifted"]


class TensorBatches:
    """Batches with every image once, in order (`EvalBatches`). With `drop_last` only whole batches.

    Args:
        crop: of an evaluation; default: whole images, resized to `img_size`.
    """

    def __init__(
        self,
        images: Images | ImageRows,
        *,
        info: DataInfo,
        img_size: tuple[int, int],
        batch_size: int,
        device: torch.device,
        drop_last: bool = False,
        crop: EvaluationCrop | None = None,
    ) -> None:
        held = images.images if isinstance(images, ImageRows) else images
        self._pixels = held.pixels.to(device)
        self._rows = images.rows.to(device) if isinstance(images, ImageRows) else None
        self._labels = images.labels.to(device)
        self._inputs = ModelInputs(info, img_size, device)
        self._crop = crop
        self._batch_size = batch_size
        self._drop_last = drop_last

    def __len__(self) -> int:
        whole, rest = divmod(len(self._labels), self._batch_size)
        return whole + (rest > 0 and not self._drop_last)

    def __iter__(self) -> Iterator[Batch]:
        for index in range(len(self)):
            part = slice(index * self._batch_size, (index + 1) * self._batch_size)
            pixels = self._pixels[part] if self._rows is None else self._pixels.index_select(0, self._rows[part])
            yield self._inputs.of(pixels, self._crop), self._labels[part]


class TensorTrainBatches:
    """Shuffled, augmented batches of equal size (`TrainBatches`); images that fill no batch are left out that epoch."""

    def __init__(
        self,
        images: Images | ImageRows,
        *,
        info: DataInfo,
        img_size: tuple[int, int],
        batch_size: int,
        device: torch.device,
        seed: Seed,
        crop_padding: int = 0,
        hflip: float = 0.0,
        vflip: float = 0.0,
        reprob: float = 0.0,
        remode: str = "const",
        recount: int = 1,
        aug_repeats: int = 0,
        ignore_label: int | None = None,
    ) -> None:
        assert (images.labels.ndim == 1) == (ignore_label is None), "label maps are padded with the ignored label"
        assert not vflip or ignore_label is None, "label maps are not turned upside down"
        held = as_rows(images)
        self._pixels, self._labels = held.images.pixels.to(device), held.images.labels.to(device)
        self._rows = held.rows
        self._inputs = ModelInputs(info, img_size, device)
        self._batch_size = batch_size
        self._device = device
        self._seed = seed
        self._crop_padding = crop_padding
        self._hflip = hflip
        self._vflip = vflip
        self._repeats = aug_repeats
        self._ignore_label = ignore_label
        # Random colours are drawn on the CPU, like all random numbers of the data.
        of_pixels = str(device) if remode == "const" else "cpu"
        erasing = {"mode": remode, "max_count": recount, "device": of_pixels}
        self._erase = RandomErasing(reprob, **erasing) if reprob > 0 else None

    def __len__(self) -> int:
        return len(self._rows) // self._batch_size

    def of_seed(self, seed: Seed) -> TensorTrainBatches:
        """Batches of the same images for a trial of another seed (`SharedImages`)."""
        other = copy.copy(self)
        other._seed = seed
        return other

    def epoch(self, number: int) -> Iterator[Batch]:
        order = epoch_order(len(self._rows), seed=self._seed, epoch=number, repeats=self._repeats)
        order = sent(self._rows[order], self._device)
        stream = generator(self._seed, "augmentation", number)
        for index in range(len(self)):
            picked = order[index * self._batch_size : (index + 1) * self._batch_size]
            images, labels = self._pixels.index_select(0, picked), self._labels.index_select(0, picked)
            if self._crop_padding:
                offsets = crop_offsets(len(images), self._crop_padding, stream)
                images = shifted(images, offsets, self._crop_padding)
                if self._ignore_label is not None:
                    maps = labels.unsqueeze(1)
                    labels = shifted(maps, offsets, self._crop_padding, fill=self._ignore_label).squeeze(1)
            if self._hflip:
                is_flipped = flips(len(images), self._hflip, stream)
                images = flipped(images, is_flipped)
                labels = labels if self._ignore_label is None else flipped(labels, is_flipped)
            if self._vflip:
                upside_down = flips(len(images), self._vflip, stream)
                images = flipped(images.transpose(-1, -2), upside_down).transpose(-1, -2).contiguous()
            images = self._inputs.of(images)
            if self._erase is not None:
                with global_streams(int(torch.randint(2**62, (), generator=stream))):
                    images = self._erase(images)
            yield images, labels


def crop_offsets(num: int, padding: int, stream: Generator) -> Tensor:
    """Random offsets (2, N), down and right, of crops after padding each side; `padding` is the middle."""
    return torch.randint(0, 2 * padding + 1, (2, num), generator=stream)


def shifted(images: Tensor, offsets: Tensor, padding: int, *, fill: float = 0) -> Tensor:
    """Crop of each image (N, C, H, W) at its own offset after padding each side by `padding` pixels of `fill`."""
    num, _, height, width = images.shape
    padded = functional.pad(images, (padding, padding, padding, padding), value=fill)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (N, C, 2P + 1, 2P + 1, H, W), a view
    if images.device.type == "cpu":  # PyTorch copies pixel by pixel here, NumPy row by row
        rows, columns = offsets.numpy()
        return torch.from_numpy(np.ascontiguousarray(windows.numpy()[np.arange(num), :, rows, columns]))
    rows, columns = sent(offsets, images.device)
    return windows[torch.arange(num, device=images.device), :, rows, columns].contiguous()


def flips(num: int, probability: float, stream: Generator) -> Tensor:
    """Which of N images are flipped, (N,) bool."""
    return torch.rand(num, generator=stream) < probability


def flipped(images: Tensor, is_flipped: Tensor) -> Tensor:
    """Images (N, ..., W), the marked ones flipped from left to right."""
    marked = sent(is_flipped.nonzero().squeeze(1), images.device)
    return images.index_copy(0, marked, images.index_select(0, marked).flip(-1))
