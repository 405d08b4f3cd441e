"""Place of a dataset: which library reads it, under which name, below which folder; and errors about it in one form.

folder/NAME, NAME          images in class folders (or .tar files) below <data_dir>/NAME; `folder`: <data_dir> itself
torch/NAME                 torchvision's datasets below <data_dir>
hfds/NAME, hfids/NAME      Hugging Face datasets: <data_dir>/NAME where it exists, else the local cache or the Hub
wds/NAME, tfds/NAME        WebDataset shards below <data_dir>/NAME (or <data_dir>), TensorFlow datasets
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_space.parsing.errors import Problem, SpecError, did_you_mean

__all__ = ["KEYED", "TORCH_NAMES", "Place", "place_of", "problem"]

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
KEYED = ("hfds", "hfids", "tfds", "wds")
"""Prefixes whose images and labels have names of their own (`input_key`, `target_key`)."""
_BUILT_IN = ("builtin/digits", "builtin/grains", "builtin/shapes")
_SHARDS = ("_info.json", "info.json", "*.tar")


@dataclass(frozen=True)
class Place:
    """Place of a dataset.

    Attributes:
        prefix: `folder`, `torch`, `hfds`, `hfids`, `wds`, `tfds`, or the unknown one that was given.
        name: what timm takes as its name.
        root: folder of the data; None: the default cache of the library.
        notes: what a reader would not expect of it, as sentences.
    """

    prefix: str
    name: str
    root: str | None
    notes: tuple[str, ...] = ()


def place_of(dataset: Any, resources: Any) -> Place:
    """The place of the dataset.

    Raises:
        SpecError: the name is unknown, nothing is there, or it would be read over a network unasked.
    """
    name, data_dir = dataset.name, resources.data_dir
    prefix, _, rest = name.partition("/")
    prefix = prefix.lower() if rest else ""
    if (dataset.input_key or dataset.target_key) and prefix not in KEYED:
        message = "input_key and target_key name the columns of hfds/, hfids/, wds/ and tfds/; here they have no effect"
        raise SpecError(problem(dataset, message, "leave them out"))
    if prefix == "builtin":
        raise SpecError(problem(dataset, "unknown built-in dataset", did_you_mean(name, _BUILT_IN)))
    if prefix == "torch" and rest.lower() not in TORCH_NAMES:
        known = [f"torch/{known}" for known in TORCH_NAMES]
        raise SpecError(problem(dataset, "unknown torchvision dataset", did_you_mean(name, known)))
    if prefix in ("hfds", "hfids"):
        local = None if data_dir is None else Path(data_dir) / rest
        if local is not None and local.exists():
            return Place(prefix, str(local), None)
        if prefix == "hfids" and not resources.download:
            hint = "allow it with --download, or put the files below resources.data_dir"
            raise SpecError(problem(dataset, "streams from the Hugging Face Hub", hint))
        return Place(prefix, rest, data_dir)
    places = (name, data_dir or "", dataset.train_split, dataset.test_split)
    is_remote = any("://" in place or place.startswith("pipe:") for place in places)
    if not resources.download and is_remote:
        raise SpecError(problem(dataset, "would be read over the network", "allow it with --download"))
    if data_dir is None:
        raise SpecError(problem(dataset, "no data directory is given", "set resources.data_dir or --data-dir DIR"))
    if prefix == "wds" and not is_remote:
        return _shards(dataset, rest, Path(data_dir))
    if prefix == "wds" and "://" not in data_dir and (Path(data_dir) / rest).is_dir():
        return Place("wds", rest, str(Path(data_dir) / rest))
    if prefix in ("torch", "wds", "tfds"):
        return Place(prefix, rest.lower() if prefix == "torch" else rest, data_dir)
    root = Path(data_dir) / (rest if prefix == "folder" else "" if name == "folder" else name)
    if not root.exists():
        raise SpecError(
            problem(
                dataset,
                f"there is no {root}",
                "put the images below train/CLASS/ and validation/CLASS/ there, or change resources.data_dir; "
                "datasets that are not folders start with torch/, hfds/, hfids/, wds/ or tfds/",
            )
        )
    return Place("folder", "", str(root))


def problem(dataset: Any, message: str, hint: str) -> Problem:
    return Problem(f"dataset {dataset.name!r}: {message}", path="task.dataset", hint=hint)


def _shards(dataset: Any, rest: str, data_dir: Path) -> Place:
    """Shards below NAME; below data_dir itself only where that holds shards, because then the name says nothing."""
    if (data_dir / rest).is_dir():
        return Place("wds", rest, str(data_dir / rest))
    if any(next(data_dir.glob(pattern), None) for pattern in _SHARDS):
        return Place(
            "wds", rest, str(data_dir), (f"there is no {data_dir / rest}: the shards are those of {data_dir}",)
        )
    hint = "put _info.json and the shards there, or change resources.data_dir"
    raise SpecError(problem(dataset, f"there is no {data_dir / rest}, and no shard in {data_dir}", hint))
