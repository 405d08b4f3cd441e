"""Images and label maps held as two tensors on the device, augmented a batch at a time.

Order of operations: index, scale to 0..1, random crop after padding (the image with black, the label map with the
ignored label), flip, resize the image to the model's size, normalise. Label maps are never resized: logits are resized
to them. Random numbers come from a CPU stream per trial seed and epoch, the same for every device and architecture.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator, Tensor
from torch.nn import functional

from runners.data.dataset_info import Batch
from runners.data.decoding import resize
from runners.data.random_streams import generator

__all__ = ["TensorPairBatches", "TensorPairTrainBatches", "random_crop_pairs", "random_hflip_pairs"]


class TensorPairBatches:
    """Batches with every pair once, in order (`EvalBatches`): images (B, C, H, W), classes (B, S, S) int64.

    Args:
        pixels: (N, C, S, S) uint8.
        label_maps: (N, S, S) uint8.
        img_size: (H, W) of the model's images.
        mean, std: per channel, for pixels in 0..1.
        drop_last: only whole batches.
    """

    def __init__(
        self,
        pixels: Tensor,
        label_maps: Tensor,
        *,
        img_size: tuple[int, int],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        batch_size: int,
        device: torch.device,
        drop_last: bool = False,
    ) -> None:
        self._pixels, self._label_maps = pixels.to(device), label_maps.to(device)
        self._prepare = _Prepare(img_size, mean, std, device)
        self._batch_size = batch_size
        self._drop_last = drop_last

    def __len__(self) -> int:
        whole, rest = divmod(len(self._pixels), self._batch_size)
        return whole + (rest > 0 and not self._drop_last)

    def __iter__(self) -> Iterator[Batch]:
        for index in range(len(self)):
            part = slice(index * self._batch_size, (index + 1) * self._batch_size)
            yield self._prepare(self._pixels[part].float() / 255), self._label_maps[part].long()


class TensorPairTrainBatches:
    """Shuffled, augmented batches of equal size (`TrainBatches`); pairs that fill no batch are left out that epoch."""

    def __init__(
        self,
        pixels: Tensor,
        label_maps: Tensor,
        *,
        img_size: tuple[int, int],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        batch_size: int,
        device: torch.device,
        seed: int,
        crop_padding: int = 0,
        hflip: float = 0.0,
        ignore_label: int = 255,
    ) -> None:
        self._pixels, self._label_maps = pixels.to(device), label_maps.to(device)
        self._prepare = _Prepare(img_size, mean, std, device)
        self._batch_size = batch_size
        self._seed = seed
        self._crop_padding = crop_padding
        self._hflip = hflip
        self._ignore_label = ignore_label

    def __len__(self) -> int:
        return len(self._pixels) // self._batch_size

    def epoch(self, number: int) -> Iterator[Batch]:
        order = torch.randperm(len(self._pixels), generator=generator(self._seed, "order", number))
        order = order.to(self._pixels.device)
        stream = generator(self._seed, "augmentation", number)
        for index in range(len(self)):
            picked = order[index * self._batch_size : (index + 1) * self._batch_size]
            images, labels = self._pixels[picked].float() / 255, self._label_maps[picked].long()
            if self._crop_padding:
                images, labels = random_crop_pairs(
                    images, labels, self._crop_padding, stream, ignore_label=self._ignore_label
                )
            if self._hflip:
                images, labels = random_hflip_pairs(images, labels, self._hflip, stream)
            yield self._prepare(images), labels


def random_crop_pairs(
    images: Tensor, labels: Tensor, padding: int, stream: Generator, *, ignore_label: int
) -> tuple[Tensor, Tensor]:
    """Random crop of each pair: shifted by its own offset of up to `padding` pixels per axis.

    Args:
        images: (B, C, H, W); what is shifted in is black.
        labels: (B, H, W); what is shifted in is ignored.
    """
    offset = torch.randint(0, 2 * padding + 1, (2, len(images)), generator=stream).to(images.device)
    border = (padding,) * 4
    return (
        _shifted(functional.pad(images, border), offset, images.shape[-2:]),
        _shifted(functional.pad(labels[:, None], border, value=ignore_label), offset, labels.shape[-2:])[:, 0],
    )


def random_hflip_pairs(images: Tensor, labels: Tensor, probability: float, stream: Generator) -> tuple[Tensor, Tensor]:
    """Random horizontal flip, drawn for each pair."""
    is_flipped = (torch.rand(len(images), generator=stream) < probability).to(images.device)
    return (
        torch.where(is_flipped[:, None, None, None], images.flip(-1), images),
        torch.where(is_flipped[:, None, None], labels.flip(-1), labels),
    )


class _Prepare:
    """Final resizing and normalisation of images in 0..1, the same for training and evaluation."""

    def __init__(
        self, img_size: tuple[int, int], mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
    ) -> None:
        self._img_size = img_size
        self._mean, self._std = (torch.tensor(each, device=device).view(1, -1, 1, 1) for each in (mean, std))

    def __call__(self, unit: Tensor) -> Tensor:
        return (resize(unit, self._img_size) - self._mean) / self._std


def _shifted(padded: Tensor, offset: Tensor, size: tuple[int, ...]) -> Tensor:
    """The part (B, C, H, W) of every image that begins at its own offset (2, B)."""
    rows = offset[0][:, None] + torch.arange(size[0], device=padded.device)
    columns = offset[1][:, None] + torch.arange(size[1], device=padded.device)
    each = torch.arange(len(padded), device=padded.device)[:, None, None]
    # Indices on both sides of the channel axis put it last: (B, H, W, C)
    return padded[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
