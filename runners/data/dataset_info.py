"""Dataset interface: sizes and counts before training, batches during it.

A source (one file beside this one, one line in `SOURCES`) provides `describe` (cheap: counts and sizes), `load` (two
splits) and `open` (the same, undecoded). A split is `Images`, all pixels in one tensor, or `ImageRows` of them, or a
PyTorch dataset of PIL images that timm's loader reads, or a `SampleStream`, without random access.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.utils.data import Dataset

from runners.data.random_streams import Seed
from runners.data.streams.sample_stream import SampleStream

__all__ = [
    "Batch",
    "Data",
    "DataInfo",
    "EvalBatches",
    "ImageRows",
    "Images",
    "Measured",
    "SharedImages",
    "Source",
    "SourceInfo",
    "Split",
    "TrainBatches",
    "as_rows",
]

Batch = tuple[Any, Any]
"""Inputs and targets of B samples on the trial's device; the targets have the length B.

Images (B, C, H, W), float32, normalised, and labels (B,), int64, or label maps (B, H, W). With `aug_splits` images are
(S * B, C, H, W), all first splits first. Where samples differ in size,
lists of B: detection has images (C, H, W) and dicts of tensors. Text: tokens (B, 3, L),
int64 (ids, sentence of each token, 1 for real tokens), and labels (B,), int64 or float32."""


@dataclass(frozen=True)
class DataInfo:
    """Sizes and counts of a dataset. `img_size` is its native (height, width); batches have the model's size."""

    name: str
    img_size: tuple[int, int]
    in_chans: int
    num_classes: int
    num_train: int
    num_val: int
    num_test: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    storage: Literal["memory", "loader", "stream"] = "memory"
    """`memory`: one tensor, batched augmentation; `loader`: timm's; `stream`: without random access."""
    train_counts: tuple[int, ...] = ()
    """Images of every class, before a validation split is held out; empty for a stream, whose labels are not known
    before it is read."""
    test_counts: tuple[int, ...] = ()
    class_names: tuple[str, ...] = ()
    """Names of the classes in the order of their labels; empty where they are not known."""
    vocabulary: int = 0
    """Number of token ids of a dataset of text, whose `img_size` is (1, most tokens) and whose numbers to predict have
    0 classes; 0 of images."""
    tokens: tuple[str, ...] = ()
    """Vocabulary of a dataset of text in the order of the ids; empty before its texts are cut, and of drawn ones."""
    fingerprint: str = ""
    """Of the data, where it was compared with what the driver saw: then trials of a node share what is decoded."""


@dataclass(frozen=True)
class SourceInfo:
    """Sizes and counts of a source, before a validation split is held out of its training split."""

    img_size: tuple[int, int]
    in_chans: int
    num_classes: int
    num_train: int
    num_test: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    storage: Literal["memory", "loader", "stream"] = "memory"
    train_counts: tuple[int, ...] = ()
    test_counts: tuple[int, ...] = ()
    """Images of every class; empty for a stream."""
    class_names: tuple[str, ...] = ()
    vocabulary: int = 0
    """Number of token ids of a dataset of text; 0 of images."""


@dataclass(frozen=True)
class Images:
    """A split in memory: pixels (N, C, H, W), uint8 in 0..255 or float32 in 0..1; labels (N,), int64."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> Images:
        # Row by row, ten times as fast as indexing.
        return Images(self.pixels.index_select(0, indices), self.labels.index_select(0, indices))


@dataclass(frozen=True)
class ImageRows:
    """A part of a split in memory, which shares its pixels: they are copied a batch at a time, if at all.

    Attributes:
        rows: positions in `images`, (N,), int64.
    """

    images: Images
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> Tensor:
        """(N,), int64."""
        return self.images.labels.index_select(0, self.rows)

    def copied(self) -> Images:
        return self.images.subset(self.rows)


def as_rows(images: Images | ImageRows) -> ImageRows:
    """Images as rows of a split, all of them where they are a whole one."""
    return images if isinstance(images, ImageRows) else ImageRows(images, torch.arange(len(images)))


Split = Images | ImageRows | Dataset | SampleStream


@dataclass(frozen=True)
class Source:
    """Source of images: three functions of the dataset's spec and the resources.

    Attributes:
        describe: also takes the memory limit in bytes.
        load: the training and the test split; also takes what `describe` found, as `SourceInfo` or in a `DataInfo`, and
            the (height, width) of the model's input.
        open: the same two splits without decoding them, for the fingerprint; images that a program draws may be a
            sample.
    """

    describe: Callable[[Any, Any, int], SourceInfo]
    load: Callable[[Any, Any, Any, tuple[int, int]], tuple[Split, Split]]
    open: Callable[[Any, Any], tuple[Split, Split]]


class TrainBatches(Protocol):
    """Shuffled, augmented batches of equal size. An epoch depends only on its number and the trial's seed."""

    def __len__(self) -> int: ...

    def epoch(self, number: int) -> Iterator[Batch]: ...


@runtime_checkable
class SharedImages(Protocol):
    """Batches of images in memory, which trials of several seeds can share."""

    def of_seed(self, seed: Seed) -> TrainBatches | None:
        """Batches of the same images for a trial of another seed; None where they cannot be shared."""
        ...


class EvalBatches(Protocol):
    """Batches with every image once, un-augmented, always in the same order."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...


@dataclass(frozen=True)
class Measured:
    """What a trial is measured on."""

    val: EvalBatches | None
    test: EvalBatches


@dataclass(frozen=True)
class Data:
    """Batches of one training.

    Attributes:
        calibration: fixed un-augmented training batches, shuffled once.
        further: what further trials that share this training are measured on; `val` and `test` are the first one's.
        samples: test images at the size of the network's input, for its probes; None: those of `test` have it.
    """

    info: DataInfo
    train: TrainBatches
    calibration: EvalBatches
    val: EvalBatches | None
    test: EvalBatches
    samples: EvalBatches | None = None
    further: tuple[Measured, ...] = ()

    @property
    def measured(self) -> tuple[Measured, ...]:
        """What every trial of the training is measured on, the first one's first."""
        return (Measured(self.val, self.test), *self.further)

    def of_seed(self, seed: Seed) -> Data | None:
        """The data of a trial of another seed and else the same, with the images of this one; None where they cannot be
        shared."""
        train = self.train.of_seed(seed) if isinstance(self.train, SharedImages) else None
        return None if train is None else replace(self, train=train)
