"""Datasets by the names of `timm.data.create_dataset`, opened without downloading unless requested.

The libraries answer a missing split, a misspelt name or an unknown label with something else; this file opens the two
splits of every reader (`readers/place.py` lists them) and refuses what would silently be wrong: splits that are one
folder, splits with different classes, labels that are not numbers of classes, a single class.
"""

from __future__ import annotations

from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from timm.data import create_dataset
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch.utils.data import IterableDataset

from runners.data.dataset_info import SourceInfo, Split
from runners.data.decoding import decode, pil_mode
from runners.data.readers.class_folders import IMAGE_TYPES, class_folders
from runners.data.readers.hugging_face import MissingColumn, hub_offline, open_rows, open_stream
from runners.data.readers.labelled_images import LabelledImages
from runners.data.readers.labels import as_numbers, counts_of, label_faults, raw_labels
from runners.data.readers.place import Place, place_of, problem
from runners.data.readers.sizes import common_size
from runners.data.readers.split_folders import SplitNotFound, overlapping, split_folder
from runners.data.readers.tar_files import tar_file
from runners.data.readers.torchvision_sets import open_torchvision, part_of
from search_space.parsing.errors import Problem, SpecError, first_of

__all__ = ["describe", "load", "open_for_survey", "open_splits"]

_PACKAGES = {  # prefix -> module, what pip calls it
    "hfds": ("datasets", "datasets"),
    "hfids": ("datasets", "datasets"),
    "tfds": ("tensorflow_datasets", "tensorflow-datasets tensorflow"),
    "wds": ("webdataset", "webdataset"),
}
_MOST_NAMED = 5
_FOLDERS = ("folder", "image_folder")  # names of torch/ that are class folders
_GREY_MEAN, _GREY_STD = (0.449,), (0.226,)
"""ImageNet's mean and standard deviation, averaged over the colours."""


def describe(dataset: Any, resources: Any, in_memory_bytes: int) -> SourceInfo:
    train, test = open_splits(dataset, resources)
    is_stream = isinstance(train, IterableDataset)
    num_classes, counts = _classes(dataset, train, test)
    # The training split of a stream fills a shuffle buffer before its first image.
    height, width = _first_size(dataset, test) if is_stream else common_size(train)
    num_train, num_test = len(train), len(test)  # pyright: ignore[reportArgumentType]
    decoded_bytes = (num_train + num_test) * dataset.in_chans * height * width
    is_small = not is_stream and decoded_bytes <= in_memory_bytes
    return SourceInfo(
        img_size=(height, width),
        in_chans=dataset.in_chans,
        num_classes=num_classes,
        num_train=num_train,
        num_test=num_test,
        mean=tuple(IMAGENET_DEFAULT_MEAN) if dataset.in_chans == 3 else _GREY_MEAN,
        std=tuple(IMAGENET_DEFAULT_STD) if dataset.in_chans == 3 else _GREY_STD,
        storage="stream" if is_stream else "memory" if is_small else "loader",
        train_counts=counts[0],
        test_counts=counts[1],
    )


def load(dataset: Any, resources: Any, found: SourceInfo, img_size: tuple[int, int]) -> tuple[Split, Split]:
    train, test = open_splits(dataset, resources)
    if found.storage != "memory":
        return train, test
    # Both splits are cut alike: to the size of the model's input, or to their own where that has fewer pixels.
    size = min(img_size, found.img_size, key=lambda size: size[0] * size[1])
    return decode(train, size, dataset.in_chans), decode(test, size, dataset.in_chans)


def open_splits(dataset: Any, resources: Any) -> tuple[Any, Any]:
    return _opened(dataset, resources, is_training=True)


def open_for_survey(dataset: Any, resources: Any) -> tuple[Any, Any, tuple[str, ...]]:
    """Both splits in order, without shuffling, and what a reader would not expect of the place of the data."""
    return *_opened(dataset, resources, is_training=False), place_of(dataset, resources).notes


def _opened(dataset: Any, resources: Any, *, is_training: bool) -> tuple[Any, Any]:
    if dataset.train_split == dataset.test_split:
        raise SpecError(
            problem(
                dataset,
                f"train_split and test_split are both {dataset.train_split!r}: training and testing on the same images",
                "name two different splits",
            )
        )
    place = place_of(dataset, resources)
    _check_package(dataset, place)
    _check_has_splits(dataset, place)
    _check_different_images(dataset, place)
    problems: list[Problem] = []
    opened: list[Any] = []
    said = set[str]()  # of a dataset that is missing as a whole, once and not for each split
    for split, trains in ((dataset.train_split, is_training), (dataset.test_split, False)):
        try:
            opened.append(_open(dataset, resources, place, split, is_training=trains))
        except SpecError as err:
            found = {each.message.replace(repr(split), ""): each for each in err.problems}
            problems += [each for text, each in found.items() if text not in said]
            said |= found.keys()
    if problems:
        raise SpecError(problems)
    train, test = opened
    _check_same_classes(dataset, train, test)
    return train, test


def _open(dataset: Any, resources: Any, place: Place, split: str, *, is_training: bool) -> Any:
    is_offline = place.prefix in ("hfds", "hfids") and not resources.download
    try:
        with hub_offline() if is_offline else nullcontext():
            return _read_split(dataset, resources, place, split, is_training=is_training)
    except SpecError:
        raise
    except ImportError as err:
        raise SpecError(problem(dataset, f"needs a package that is missing: {err}", _install(place.prefix))) from err
    except SplitNotFound as err:
        raise SpecError(problem(dataset, str(err), err.hint)) from err
    except MissingColumn as err:
        raise SpecError(problem(dataset, f"split {split!r} {err}", err.hint)) from err
    # timm and the libraries below it raise many types for missing data; the user gets one message.
    except (AssertionError, LookupError, OSError, RuntimeError, TypeError, ValueError) as err:
        root = place.root or (place.name if Path(place.name).exists() else "the default cache")
        message = f"split {split!r} cannot be read below {root}: {_first_line(err)}"
        raise SpecError(problem(dataset, message, _how_to_get(place, resources, _first_line(err)))) from err


def _read_split(dataset: Any, resources: Any, place: Place, split: str, *, is_training: bool) -> Any:
    keys = {"input_key": dataset.input_key, "target_key": dataset.target_key}
    if _is_folder(place):
        return _open_folder(dataset, split_folder(Path(str(place.root)), split), may_nest=place.prefix == "torch")
    if place.prefix == "torch":
        options = {"in_chans": dataset.in_chans, "download": resources.download}
        return open_torchvision(place.name, str(place.root), split, **options)
    if place.prefix == "hfds":
        return open_rows(place, split, in_chans=dataset.in_chans, **keys)
    mode = pil_mode(dataset.in_chans)
    if place.prefix == "hfids":
        options = {"mode": mode, "download": resources.download, **keys}
        return open_stream(place, split, is_training=is_training, **options)
    more: dict[str, Any] = {name: key for name, key in keys.items() if key is not None}
    more |= {"download": True} if resources.download else {}
    found = create_dataset(
        f"{place.prefix}/{place.name}",
        root=place.root,
        split=split,
        is_training=is_training,
        input_img_mode=mode,
        **more,
    )
    if place.prefix == "wds":
        _check_shards(found, place, split)
    return found


def _check_shards(found: Any, place: Place, split: str) -> None:
    """timm leaves a shard out that is not there."""
    names = [name for name in found.reader.split_info.filenames if "://" not in name and "::" not in name]
    missing = [name for name in names if not name.startswith("pipe:") and not (Path(str(place.root)) / name).is_file()]
    if missing:
        listed = first_of(missing, _MOST_NAMED)
        text = f"{len(missing)} of {len(names)} shards of the split {split!r} are not below {place.root}: {listed}"
        raise SplitNotFound(text, "complete them, or correct _info.json")


def _is_folder(place: Place) -> bool:
    return place.prefix == "folder" or (place.prefix == "torch" and place.name in _FOLDERS)


def _open_folder(dataset: Any, folder: Path, *, may_nest: bool) -> Any:
    hint = f"images are in SPLIT/CLASS/image.png; formats: {', '.join(sorted(kind[1:] for kind in IMAGE_TYPES))}"
    if folder.is_file():
        reader, faults = tar_file(folder)
        if faults:
            raise SpecError(problem(dataset, f"{folder} has {fault}", hint) for fault in faults)
        return LabelledImages(reader, dataset.in_chans)
    contents = class_folders(folder, may_nest=may_nest)
    if contents.faults:
        raise SpecError(problem(dataset, f"{folder} has {fault}", hint) for fault in contents.faults)
    if not contents.files:
        raise SpecError(
            problem(
                dataset,
                f"{folder} has no class folder with images",
                "put the images below train/CLASS/ and validation/CLASS/, or name the folders with train_split and "
                "test_split",
            )
        )
    return LabelledImages(contents.reader(), dataset.in_chans)


def _check_different_images(dataset: Any, place: Place) -> None:
    """Refuse splits that are one place, or of which one is inside the other; by content the survey compares them."""
    names, text = (dataset.train_split, dataset.test_split), ""
    try:
        if _is_folder(place):
            text = overlapping(*(split_folder(Path(str(place.root)), name) for name in names))
        elif place.prefix == "torch" and len({part_of(place.name, name) for name in names}) == 1:
            text = f"both mean the part {part_of(place.name, names[0])!r}"
    except SplitNotFound:
        pass  # said by the split itself
    if text:
        text = f"the splits {names[0]!r} and {names[1]!r} {text}: training and testing on the same images"
        raise SpecError(problem(dataset, text, "name two different splits with train_split and test_split"))


def _check_has_splits(dataset: Any, place: Place) -> None:
    """A folder that has neither of the two splits: one message."""
    names = (dataset.train_split, dataset.test_split)
    if not _is_folder(place) or any("[" in name for name in names):
        return
    for name in names:
        try:
            split_folder(Path(str(place.root)), name)
            return
        except SplitNotFound:
            pass
    text = f"{place.root} has no folders for the splits {names[0]!r} and {names[1]!r}"
    hint = (
        "put the images below train/CLASS/ and validation/CLASS/, or name the folders with train_split and test_split"
    )
    raise SpecError(problem(dataset, f"{text}: training and testing on the same images", hint))


def _check_package(dataset: Any, place: Place) -> None:
    module, _ = _PACKAGES.get(place.prefix, ("", ""))
    if module and find_spec(module) is None:
        message = f"needs the package {module!r}, which is not installed"
        raise SpecError(problem(dataset, message, _install(place.prefix)))


def _classes(dataset: Any, train: Any, test: Any) -> tuple[int, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Number of classes, and images of every class in both splits (empty for streams)."""
    is_stream = isinstance(train, IterableDataset)
    labels = [] if is_stream else [raw_labels(train), raw_labels(test)]
    num_classes = dataset.num_classes or _num_classes(train)
    problems = []
    for values, split in zip(labels, (dataset.train_split, dataset.test_split), strict=False):
        if wrong := label_faults(values, num_classes):
            text = f"labels of the split {split!r} are not numbers of classes: {'; '.join(wrong)}"
            hint = "a label is a number from 0 to num_classes - 1"
            if place_of_labels := _columns(train):
                hint += f"; name another column with target_key ({place_of_labels})"
            problems.append(problem(dataset, text, hint))
    if problems:
        raise SpecError(problems)
    if num_classes is None:
        highest = max((int(np.max(values)) for values in labels if len(values)), default=None)
        hint = (
            "write num_classes: N"
            if highest is None
            else f"write num_classes: {highest + 1}, if the labels 0 to " + (f"{highest} are all there are")
        )
        raise SpecError(problem(dataset, "the reader does not report the number of classes", hint))
    if is_stream:
        return num_classes, ((), ())
    in_train, in_test = (counts_of(as_numbers(values), num_classes) for values in labels)
    return num_classes, (in_train, in_test)


def _columns(split: Any) -> str:
    dataset = getattr(getattr(split, "reader", None), "dataset", None)
    return ", ".join(getattr(dataset, "column_names", ()))


def _first_size(dataset: Any, split: Any) -> tuple[int, int]:
    """(height, width) of the first image of a stream."""
    image = next(iter(split), (None,))[0]
    if image is None:
        text = f"the split {dataset.test_split!r} holds no image that can be read"
        raise SpecError(problem(dataset, text, "check its shards, and the names of images and labels in them"))
    return image.height, image.width


def _how_to_get(place: Place, resources: Any, reason: str) -> str:
    if "split" in reason.lower():
        return "name the splits with train_split and test_split"
    if resources.download:
        return "check the name and the split"
    if place.prefix in ("torch", "tfds", "hfds", "hfids"):
        return "set resources.data_dir to the directory of the data, or download it with --download"
    if place.prefix == "wds":
        return "_info.json names the shards of every split; or write the shards themselves: train-{000..009}.tar|10000"
    return f"check the contents of {place.root}; class folders are read as train/CLASS/image.png"


def _install(prefix: str) -> str:
    return f"pip install {_PACKAGES[prefix][1]}" if prefix in _PACKAGES else "install the package named above"


def _first_line(err: BaseException) -> str:
    return next(iter(str(err).strip().splitlines()), "") or type(err).__name__


def _class_names(split: Any) -> list[str] | None:
    holder = getattr(split, "reader", split)
    class_to_idx = getattr(holder, "class_to_idx", None)
    return sorted(class_to_idx, key=class_to_idx.__getitem__) if class_to_idx else None


def _num_classes(split: Any) -> int | None:
    names = _class_names(split)
    return None if names is None else len(names)


def _check_same_classes(dataset: Any, train: Any, test: Any) -> None:
    ours, theirs = _class_names(train), _class_names(test)
    if ours is not None and theirs is not None and ours != theirs:
        odd = sorted(set(ours) ^ set(theirs))
        raise SpecError(
            problem(
                dataset,
                f"the splits have different classes ({len(ours)} in {dataset.train_split!r}, {len(theirs)} in "
                f"{dataset.test_split!r}); only in one of them: {', '.join(odd[:10])}",
                "both splits need the same class folders",
            )
        )
