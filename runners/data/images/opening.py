"""One split of a dataset, opened by the reader of its name: a dataset with random access, or a stream.

The libraries answer what is missing or misspelt with exceptions of many types; here each becomes one `SpecError` that
says what is wrong with which split and what to do. What is read over a network is read only where that is allowed.
"""

from __future__ import annotations

import functools
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from runners.data.readers.class_folders import IMAGE_TYPES, class_folders
from runners.data.readers.hugging_face import MissingColumn, hub_offline, open_rows
from runners.data.readers.labelled_images import LabelledImages
from runners.data.readers.place import Place, problem
from runners.data.readers.shard_info import shard_split
from runners.data.readers.shard_samples import SampleKeys
from runners.data.readers.shards import indexed_shards
from runners.data.readers.split_folders import SplitNotFound, split_folder
from runners.data.readers.tar_files import tar_file
from runners.data.readers.torchvision_sets import open_torchvision
from runners.data.streams.hugging_face import open_hugging_face_stream
from runners.data.streams.network_shards import NetworkShards, is_address, read_beside_shards
from runners.data.streams.tensorflow_datasets import open_tensorflow_stream
from search_space.parsing.errors import SpecError

__all__ = ["check_package", "is_folder", "open_split"]

_PACKAGES = {  # prefix -> module, what installs it
    "hfds": ("datasets", "'archsweep[hub]'"),
    "hfids": ("datasets", "'archsweep[hub]'"),
    "tfds": ("tensorflow_datasets", "tensorflow-datasets tensorflow"),
    "wds": ("webdataset", "'archsweep[shards]'"),
}
_FOLDERS = ("folder", "image_folder")  # names of torch/ that are class folders


def open_split(dataset: Any, resources: Any, place: Place, split: str) -> Any:
    """A split of a dataset: array, `LabelledImages` or `SampleStream`.

    Raises:
        SpecError: it is not there, cannot be read, or would be read over a network unasked.
    """
    is_offline = place.prefix in ("hfds", "hfids") and not resources.download
    try:
        with hub_offline() if is_offline else nullcontext():
            return _read_split(dataset, resources, place, split)
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


def check_package(dataset: Any, prefix: str) -> None:
    """Refuse a dataset whose package is missing; shards on this machine need none.

    Raises:
        SpecError: with what installs it.
    """
    module, _ = _PACKAGES.get(prefix, ("", ""))
    if module and find_spec(module) is None:
        message = f"needs the package {module!r}, which is not installed"
        raise SpecError(problem(dataset, message, _install(prefix)))


def is_folder(place: Place) -> bool:
    """Whether its splits are class folders."""
    return place.prefix == "folder" or (place.prefix == "torch" and place.name in _FOLDERS)


def _read_split(dataset: Any, resources: Any, place: Place, split: str) -> Any:
    keys = {"input_key": dataset.input_key, "target_key": dataset.target_key}
    if is_folder(place):
        return _open_folder(dataset, split_folder(Path(str(place.root)), split), may_nest=place.prefix == "torch")
    if place.prefix == "torch":
        options = {"in_chans": dataset.in_chans, "download": resources.download}
        return open_torchvision(place.name, str(place.root), split, **options)
    if place.prefix == "wds":
        return _open_shards(dataset, resources, str(place.root), split)
    if place.prefix == "hfds":
        return open_rows(place, split, in_chans=dataset.in_chans, **keys)
    if place.prefix == "hfids":
        return open_hugging_face_stream(place, split, **keys)
    assert place.prefix == "tfds", place.prefix
    return open_tensorflow_stream(place, split, download=resources.download, **keys)


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


def _open_shards(dataset: Any, resources: Any, root: str, split: str) -> Any:
    if is_address(root) or is_address(split):
        _check_network(dataset, resources)
    found = shard_split(split, functools.partial(read_beside_shards, root))
    keys = SampleKeys(dataset.input_key, dataset.target_key)
    if is_address(root) or any(map(is_address, found.names)):
        _check_network(dataset, resources)
        return NetworkShards(f"{dataset.name} {split}", root, found, keys)
    reader, faults = indexed_shards(Path(root), found, keys)
    if faults:
        hint = (
            "a sample is an image and its label, 00001.jpg and 00001.cls (or label in 00001.json); input_key and "
            "target_key name others; _info.json holds the names of the shards and their numbers of samples"
        )
        raise SpecError(problem(dataset, f"split {split!r} below {root}: {fault}", hint) for fault in faults)
    return LabelledImages(reader, dataset.in_chans)


def _check_network(dataset: Any, resources: Any) -> None:
    if not resources.download:
        raise SpecError(problem(dataset, "would be read over the network", "allow it with --download"))
    check_package(dataset, "wds")


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
