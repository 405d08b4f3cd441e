"""Datasets of plug-ins: what a class or function of a user's gives for a split, as images with a class each.

A split is map-style, as torchvision's: `__len__`, and `__getitem__(i)` giving an image and the number of its class.
`targets` (labels), `classes` (names) and `fingerprint` (what identifies the content) are optional; without them every
image is read where they are needed. What a user's code raises names the split, the index, and the line of their file.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from runners.data.dataset_info import DataInfo, SourceInfo, Split
from runners.data.decoding import held_alike, imagenet_statistics, in_mode
from runners.data.parts import Part
from runners.data.readers.image_facts import ImageFact, pixel_digest
from runners.data.readers.labelled_images import UnreadableImage
from runners.data.readers.labels import as_numbers, counts_of, label_faults
from runners.data.readers.place import problem
from runners.data.readers.sizes import median_size
from search_space.parsing.errors import Problem, SpecError, reason_of
from search_space.plugins import contributed, load_shipped, shipped_plugins
from search_space.plugins.contracts import member_failed, place_in_plugin

__all__ = ["PluginImages", "describe", "load", "open_splits"]

_MOST_SIZES = 2000
_READ_TWICE = 3


class PluginImages(Dataset):
    """A split of a plug-in's dataset: (PIL image of 8 bits a channel, label).

    Args:
        made: what the plug-in has opened.
        title: dataset and split, for messages.
    """

    def __init__(self, made: Any, title: str, in_chans: int) -> None:
        self._made = made
        self._title = title
        self._in_chans = in_chans
        self._labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._made)

    def __getstate__(self) -> dict[str, Any]:
        # A loader's process that is no fork (spawn, forkserver) has no plug-in: it is loaded there before its class is
        # looked for.
        return {**vars(self), "_made": pickle.dumps(self._made), "plugins": shipped_plugins()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        load_shipped(state.pop("plugins"))
        vars(self).update(state, _made=pickle.loads(state["_made"]))

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """Image and label.

        Raises:
            UnreadableImage: the user's code raised, or gave something else.
        """
        image, label = self.item(index)
        if wrong := label_faults([label], None):
            raise UnreadableImage(f"{self._title}[{index}]: its label is no number of a class: {'; '.join(wrong)}")
        return image, int(label)

    def item(self, index: int) -> tuple[Image.Image, Any]:
        """Image and label as it is.

        Raises:
            UnreadableImage: the user's code raised, or gave no image.
        """
        try:
            item = self._made[index]
        except Exception as err:
            place = f" ({found})" if (found := place_in_plugin(err)) else ""
            raise UnreadableImage(f"{self._title}[{index}]: {type(err).__name__}: {reason_of(err)}{place}") from err
        if not isinstance(item, tuple | list) or len(item) != 2:
            text = f"gave an object of {type(item).__name__}, not an image and its label"
            raise UnreadableImage(f"{self._title}[{index}]: {text}")
        try:
            return in_mode(_as_pil(item[0]), self._in_chans), _plain(item[1])
        except (TypeError, ValueError, OSError) as err:
            raise UnreadableImage(f"{self._title}[{index}]: {reason_of(err)}") from err

    @property
    def targets(self) -> np.ndarray:
        """Labels (N,), int64: the user's `targets`, else of every item."""
        if self._labels is None:
            self._labels = as_numbers(self.raw_targets())
        return self._labels

    def raw_targets(self) -> list[Any]:
        """Labels as they are, unchecked."""
        known = getattr(self._made, "targets", None)
        if known is None:
            return [self.item(index)[1] for index in range(len(self))]
        values = np.asarray(known)
        if values.shape != (len(self),):
            text = f"{self._title}: `targets` has the shape {values.shape} for {len(self)} images"
            raise SpecError(Problem(text, path="task.dataset", hint="one label for each image, in their order"))
        return values.tolist()

    @property
    def classes(self) -> tuple[str, ...]:
        """The user's names of the classes; empty without."""
        return tuple(map(str, getattr(self._made, "classes", None) or ()))

    @property
    def fingerprint(self) -> str | None:
        """The user's text for the content; None without."""
        known = getattr(self._made, "fingerprint", None)
        return None if known is None else str(known)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of every image."""
        return [(image.height, image.width) for image, _ in map(self.item, range(len(self)))]

    def sampled_sizes(self) -> list[tuple[int, int]]:
        """(height, width) of at most 2,000 images at equal distances."""
        rows = np.linspace(0, len(self) - 1, min(len(self), _MOST_SIZES)).round().astype(int)
        return [(image.height, image.width) for image, _ in map(self.item, rows.tolist())]

    def facts(self) -> tuple[list[Any], list[ImageFact]]:
        """Labels and facts of all images, each read once; what cannot be read is a fault."""
        labels: list[Any] = []
        found: list[ImageFact] = []
        known = getattr(self._made, "targets", None)
        promised = None if known is None else self.raw_targets()
        for index in range(len(self)):
            try:
                image, label = self.item(index)
            except UnreadableImage as err:
                labels.append(None)
                found.append(ImageFact(0, 0, "", str(err).partition("]: ")[2]))
                continue
            labels.append(label)
            differs = promised is not None and promised[index] != label
            fault = f"its label is {label!r}, and {promised[index]!r} in `targets`" if promised and differs else ""
            found.append(ImageFact(image.height, image.width, pixel_digest(image), fault))
        return labels, found

    def parts(self) -> list[Part]:
        """What identifies the content: the user's `fingerprint`, else every image with its label.

        Raises:
            SpecError: an image cannot be read.
        """
        known = self.fingerprint
        if known is not None:
            return [Part("fingerprint", "", known.encode())]
        found = []
        for index in range(len(self)):
            try:
                image, label = self.item(index)
            except UnreadableImage as err:
                raise SpecError(Problem(str(err), path="task.dataset")) from err
            found.append(Part(f"image {index}", str(label), f"{image.size} {pixel_digest(image)}".encode()))
        return found


def open_splits(dataset: Any, resources: Any) -> tuple[PluginImages, PluginImages]:
    """The training and the test split.

    Raises:
        SpecError: the plug-in's code raised, or gave no map-style dataset.
    """
    if dataset.train_split == dataset.test_split:
        text = f"train_split and test_split are both {dataset.train_split!r}: training and testing on the same images"
        raise SpecError(problem(dataset, text, "name two different splits"))
    train, test = (_open(dataset, resources, split) for split in (dataset.train_split, dataset.test_split))
    if train.classes != test.classes:
        text = f"the splits have different classes: {list(train.classes)} and {list(test.classes)}"
        raise SpecError(problem(dataset, text, "give both splits the same list `classes`"))
    return train, test


def describe(dataset: Any, resources: Any, in_memory_bytes: int) -> SourceInfo:
    train, test = open_splits(dataset, resources)
    _refused_unreadable(dataset, lambda: _check_repeats(train))
    labels = _refused_unreadable(dataset, lambda: [train.raw_targets(), test.raw_targets()])
    classes = train.classes
    problems = [
        problem(
            dataset,
            f"labels of the split {split!r} are not numbers of classes: {'; '.join(wrong)}",
            "a label is a number from 0 to the number of `classes` - 1",
        )
        for values, split in zip(labels, (dataset.train_split, dataset.test_split), strict=True)
        if (wrong := label_faults(values, len(classes) or None))
    ]
    if problems:
        raise SpecError(problems)
    num_classes = len(classes) or max(max(values) for values in labels) + 1
    height, width = _refused_unreadable(dataset, lambda: median_size(train.sampled_sizes()))
    decoded_bytes = (len(train) + len(test)) * dataset.in_chans * height * width
    mean, std = imagenet_statistics(dataset.in_chans)
    return SourceInfo(
        img_size=(height, width),
        in_chans=dataset.in_chans,
        num_classes=num_classes,
        num_train=len(train),
        num_test=len(test),
        mean=mean,
        std=std,
        storage="memory" if decoded_bytes <= in_memory_bytes else "loader",
        train_counts=counts_of(np.asarray(labels[0]), num_classes),
        test_counts=counts_of(np.asarray(labels[1]), num_classes),
        class_names=classes,
    )


def load(dataset: Any, resources: Any, found: DataInfo | SourceInfo, img_size: tuple[int, int]) -> tuple[Split, Split]:
    return held_alike(open_splits(dataset, resources), found, img_size, dataset.in_chans)


def _open(dataset: Any, resources: Any, split: str) -> PluginImages:
    made = contributed("dataset")[dataset.name]
    folder = None if resources.data_dir is None else Path(resources.data_dir)
    try:
        opened = made(split, folder, **dataset.options)
        size = len(opened)
    except SpecError:
        raise
    except Exception as err:
        hint = f"it was called for the split {split!r} with data_dir={str(folder) if folder else None!r}"
        failed = member_failed("dataset", dataset.name, err)
        raise SpecError(Problem(failed.message, where=failed.where, path="task.dataset", hint=hint)) from err
    if not hasattr(opened, "__getitem__"):
        text = f"the split {split!r} is an object of {type(opened).__name__} without __getitem__"
        raise SpecError(problem(dataset, text, "a map-style dataset has __len__ and __getitem__(index)"))
    if size == 0:
        raise SpecError(problem(dataset, f"the split {split!r} has no image", "look at its folder and its options"))
    return PluginImages(opened, f"{dataset.name} {split}", dataset.in_chans)


def _check_repeats(split: PluginImages) -> None:
    """Refuse images that change from one reading to the next: neither their fingerprint nor a test set would hold."""
    for index in range(min(_READ_TWICE, len(split))):
        if pixel_digest(split.item(index)[0]) != pixel_digest(split.item(index)[0]):
            raise UnreadableImage(
                f"image {index} is another one when it is read again: leave random augmentation to archsweep"
            )


def _refused_unreadable(dataset: Any, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except UnreadableImage as err:
        raise SpecError(problem(dataset, str(err), "an image that cannot be read would fail every trial")) from err


def _as_pil(image: Any) -> Image.Image:
    """The image with 8 bits a channel.

    Raises:
        TypeError, ValueError: it is none, or has another range.
    """
    if isinstance(image, Image.Image):
        return image
    if isinstance(image, Tensor):  # torchvision's order: channels first
        values = image.detach().cpu().numpy()
        values = np.moveaxis(values, 0, -1) if values.ndim == 3 else values
    elif isinstance(image, np.ndarray):
        values = image
    else:
        raise TypeError(f"is an object of {type(image).__name__}, not a PIL image, an array or a tensor")
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[-1] not in (3, 4)):
        order = "(C, H, W)" if isinstance(image, Tensor) else "(H, W) or (H, W, C)"
        raise ValueError(f"has the shape {tuple(image.shape)}, not {order} with 1, 3 or 4 channels")
    if values.dtype.kind == "f":
        low, high = float(values.min()), float(values.max())
        if not 0 <= low <= high <= 1:
            raise ValueError(f"has pixels from {low:g} to {high:g}: numbers of 8 bits, or from 0 to 1, not normalised")
        values = np.rint(values * 255).astype(np.uint8)
    if values.dtype != np.uint8:
        raise ValueError(f"has pixels of {values.dtype}: numbers of 8 bits (uint8), or floating-point from 0 to 1")
    return Image.fromarray(np.ascontiguousarray(values))


def _plain(label: Any) -> Any:
    """A label as Python has it: NumPy's numbers and tensors of one number."""
    return label.item() if isinstance(label, np.generic) or (isinstance(label, Tensor) and label.ndim == 0) else label
