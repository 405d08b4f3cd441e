"""Datasets by any name of `timm.data.create_dataset`, opened without downloading unless requested.

    folder/NAME, NAME          images in class folders (or a .tar) below <data_dir>/NAME; `folder`: <data_dir> itself
    torch/cifar10, ...         torchvision's datasets below data_dir
    hfds/NAME, hfids/NAME      Hugging Face datasets: <data_dir>/NAME where it exists, else the local cache or the Hub;
                               hfids streams
    wds/..., tfds/...          WebDataset shards and TensorFlow datasets below data_dir; streams

timm opens the dataset; this file reports missing data as one message, and refuses what would silently be wrong: a
folder without separate splits (timm would train and test on the same images), or splits with different classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

from timm.data import create_dataset
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch.utils.data import IterableDataset

from runners.data.dataset_info import SourceInfo, Split
from runners.data.decoding import decode, first_image_size
from search_space.parsing.errors import Problem, SpecError, did_you_mean

__all__ = ["TORCH_NAMES", "describe", "hub_offline", "load", "open_splits"]

TORCH_NAMES = (
    "cifar10",
    "cifar100",
    "fashion_mnist",
    "folder",
    "image_folder",
    "imagenet",
    "inat",
    "inaturalist",
    "kmnist",
    "mnist",
    "places365",
    "qmnist",
)
_EXTRAS = {"hfds": "datasets", "hfids": "datasets", "tfds": "tensorflow-datasets", "wds": "webdataset"}
_GREY_MEAN, _GREY_STD = (0.449,), (0.226,)
"""ImageNet's mean and standard deviation, averaged over the colours."""


def describe(dataset: Any, resources: Any, in_memory_bytes: int) -> SourceInfo:
    return _describe(dataset, *open_splits(dataset, resources), in_memory_bytes)


def load(dataset: Any, resources: Any, in_memory_bytes: int, img_size: tuple[int, int]) -> tuple[Split, Split]:
    train, test = open_splits(dataset, resources)
    if _describe(dataset, train, test, in_memory_bytes).storage != "memory":
        return train, test
    return decode(train, img_size, dataset.in_chans), decode(test, img_size, dataset.in_chans)


def _describe(dataset: Any, train: Any, test: Any, in_memory_bytes: int) -> SourceInfo:
    num_classes = dataset.num_classes or _num_classes(train)
    if num_classes is None:
        raise SpecError(_problem(dataset, "the reader does not report the number of classes", "write num_classes: N"))
    _check_same_classes(dataset, train, test)
    is_stream = isinstance(train, IterableDataset)
    # The training split of a stream fills a shuffle buffer before its first image.
    height, width = first_image_size(test if is_stream else train)
    decoded_bytes = (len(train) + len(test)) * dataset.in_chans * height * width  # pyright: ignore[reportArgumentType]
    is_small = not is_stream and decoded_bytes <= in_memory_bytes
    return SourceInfo(
        img_size=(height, width),
        in_chans=dataset.in_chans,
        num_classes=num_classes,
        num_train=len(train),  # pyright: ignore[reportArgumentType]
        num_test=len(test),  # pyright: ignore[reportArgumentType]
        mean=tuple(IMAGENET_DEFAULT_MEAN) if dataset.in_chans == 3 else _GREY_MEAN,
        std=tuple(IMAGENET_DEFAULT_STD) if dataset.in_chans == 3 else _GREY_STD,
        storage="stream" if is_stream else "memory" if is_small else "loader",
    )


def open_splits(dataset: Any, resources: Any) -> tuple[Any, Any]:
    if dataset.train_split == dataset.test_split:
        raise SpecError(
            _problem(
                dataset,
                f"train_split and test_split are both {dataset.train_split!r}: training and testing on the same images",
                "name two different splits",
            )
        )
    train = _open(dataset, resources, dataset.train_split, is_training=True)
    test = _open(dataset, resources, dataset.test_split, is_training=False)
    roots = [_folder(split) for split in (train, test)]
    if roots[0] is not None and roots[0] == roots[1]:
        raise SpecError(
            _problem(
                dataset,
                f"{roots[0]} has no folders for the splits {dataset.train_split!r} and {dataset.test_split!r}: "
                "training and testing on the same images",
                "put the images below train/CLASS/ and validation/CLASS/, or name the folders with train_split and "
                "test_split",
            )
        )
    return train, test


def _open(dataset: Any, resources: Any, split: str, *, is_training: bool) -> Any:
    prefix, name, root = _resolve(dataset, resources)
    options: dict[str, Any] = {"download": True} if resources.download else {}
    if prefix != "torch":
        options["input_img_mode"] = "L" if dataset.in_chans == 1 else "RGB"
    is_offline = prefix in ("hfds", "hfids") and not resources.download
    try:
        with hub_offline() if is_offline else nullcontext():
            return create_dataset(name, root=root, split=split, is_training=is_training, **options)
    except ImportError as err:
        raise SpecError(_problem(dataset, f"needs a package that is missing: {err}", _install(prefix))) from err
    # timm and the libraries below it raise many types for missing data; the user gets one message.
    except (AssertionError, LookupError, OSError, RuntimeError, TypeError, ValueError) as err:
        message = f"split {split!r} cannot be read below {root or 'the default cache'}: {_first_line(err)}"
        hint = "check the name and the split" if resources.download else _how_to_get(prefix, root)
        raise SpecError(_problem(dataset, message, hint)) from err


def _resolve(dataset: Any, resources: Any) -> tuple[str, str, str | None]:
    """Prefix, timm's name and root directory of the dataset."""
    name, data_dir = dataset.name, resources.data_dir
    prefix, _, rest = name.partition("/")
    prefix = prefix.lower() if rest else ""
    if prefix == "builtin":
        raise SpecError(
            _problem(dataset, "unknown built-in dataset", did_you_mean(name, ["builtin/digits", "builtin/shapes"]))
        )
    if prefix == "torch" and rest.lower() not in TORCH_NAMES:
        known = [f"torch/{known}" for known in TORCH_NAMES]
        raise SpecError(_problem(dataset, "unknown torchvision dataset", did_you_mean(name, known)))
    if prefix in ("hfds", "hfids"):
        local = None if data_dir is None else Path(data_dir) / rest
        if local is not None and local.exists():
            return prefix, f"{prefix}/{local}", None
        if prefix == "hfids" and not resources.download:
            hint = "allow it with --download, or put the files below resources.data_dir"
            raise SpecError(_problem(dataset, "streams from the Hugging Face Hub", hint))
        return prefix, name, data_dir
    places = (name, data_dir or "", dataset.train_split, dataset.test_split)
    if not resources.download and any("://" in place or place.startswith("pipe:") for place in places):
        raise SpecError(_problem(dataset, "would be read over the network", "allow it with --download"))
    if data_dir is None:
        raise SpecError(_problem(dataset, "no data directory is given", "set resources.data_dir or --data-dir DIR"))
    if prefix in ("torch", "wds", "tfds"):
        return prefix, name, data_dir
    below = rest if prefix == "folder" else "" if name == "folder" else name
    root = Path(data_dir) / below
    if not root.exists():
        raise SpecError(
            _problem(
                dataset,
                f"there is no {root}",
                "put the images below train/CLASS/ and validation/CLASS/ there, or change resources.data_dir; "
                "datasets that are not folders start with torch/, hfds/, hfids/, wds/ or tfds/",
            )
        )
    return "folder", "", str(root)


def _how_to_get(prefix: str, root: str | None) -> str:
    if prefix in ("torch", "tfds", "hfds", "hfids"):
        return "set resources.data_dir to the directory of the data, or download it with --download"
    return f"check the contents of {root}; class folders are read as train/CLASS/image.png"


def _install(prefix: str) -> str:
    return f"pip install {_EXTRAS[prefix]}" if prefix in _EXTRAS else "install the package named above"


def _first_line(err: BaseException) -> str:
    return next(iter(str(err).strip().splitlines()), "") or type(err).__name__


def _folder(split: Any) -> str | None:
    reader = getattr(split, "reader", None)
    root = getattr(reader, "root", None) if reader is not None and hasattr(reader, "samples") else None
    if root is None and hasattr(split, "samples"):
        root = getattr(split, "root", None)
    return None if root is None else str(root)


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
            _problem(
                dataset,
                f"the splits have different classes ({len(ours)} in {dataset.train_split!r}, {len(theirs)} in "
                f"{dataset.test_split!r}); only in one of them: {', '.join(odd[:10])}",
                "both splits need the same class folders",
            )
        )


def _problem(dataset: Any, message: str, hint: str) -> Problem:
    return Problem(f"dataset {dataset.name!r}: {message}", path="task.dataset", hint=hint)


_SWITCHES = (("datasets.config", "HF_HUB_OFFLINE"), ("huggingface_hub.constants", "HF_HUB_OFFLINE"))


@contextmanager
def hub_offline() -> Iterator[None]:
    """Restrict the Hugging Face Hub's libraries to local files and their cache.

    `datasets.load_dataset` downloads by default. Its switch, the environment variable HF_HUB_OFFLINE, is read when the
    libraries are imported, and timm has imported them long before; so the module constants are set instead.

    Raises:
        ImportError: the package `datasets` is not installed.
    """
    modules = [(import_module(module), name) for module, name in _SWITCHES]
    before = [getattr(module, name) for module, name in modules]
    for module, name in modules:
        setattr(module, name, True)
    try:
        yield
    finally:
        for (module, name), value in zip(modules, before, strict=True):
            setattr(module, name, value)
