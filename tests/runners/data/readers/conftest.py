"""Small datasets, each written by the library that reads it, of images that are given."""

from __future__ import annotations

import io
import json
import struct
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

Split = Sequence[tuple[int, bytes]]
"""Label and encoded image; an image of no bytes is an empty file."""


def noise(seed: int, size: tuple[int, int] = (16, 16)) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, (*size, 3)).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def splits(num_train: int = 6, num_test: int = 4) -> tuple[list[tuple[int, bytes]], list[tuple[int, bytes]]]:
    """Two classes in turn; every image another noise."""
    train = [(index % 2, png(noise(index))) for index in range(num_train)]
    return train, [(index % 2, png(noise(100 + index))) for index in range(num_test)]


@dataclass(frozen=True)
class Kind:
    """Kind of dataset: `write` makes it below a folder from classes and splits; the rest says how it is read."""

    name: str
    write: Callable[[Path, Sequence[str], Split, Split], None]
    options: dict[str, Any] = field(default_factory=dict)
    package: str = ""
    is_stream: bool = False
    is_remote: bool = False
    has_names: bool = True
    has_files: bool = True
    side: int = 16


def _folders(root: Path, classes: Sequence[str], train: Split, test: Split, names=("train", "val")) -> None:
    for split, images in zip(names, (train, test), strict=True):
        for index, (label, image) in enumerate(images):
            folder = root / split / classes[label]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{index}.png").write_bytes(image)


def _below(name: str):
    return lambda root, *rest: _folders(root / name, *rest)


def _tars(root: Path, classes: Sequence[str], train: Split, test: Split) -> None:
    _folders(root / "raw", classes, train, test)
    (root / "toy").mkdir(parents=True)
    for split in ("train", "val"):
        with tarfile.open(root / "toy" / f"{split}.tar", "w") as out:
            out.add(root / "raw" / split, arcname=".")


def _imagenet(root: Path, classes: Sequence[str], train: Split, test: Split) -> None:
    """As torchvision unpacks it; a class has several names (`tench, Tinca tinca`)."""
    _folders(root, classes, train, test)
    names = {wnid: (f"{wnid} one", f"{wnid} two", f"{wnid} three") for wnid in classes}
    torch.save((names, ["n00000000"] * len(test)), root / "meta.bin")


def _idx(path: Path, values: np.ndarray, code: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = struct.pack(">HBB", 0, code, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(head + values.tobytes())


def _grey(split: Split) -> np.ndarray:
    """28 x 28 grey pixels: the images, enlarged at the border."""
    images = [np.array(Image.open(io.BytesIO(image)).convert("L")) for _, image in split]
    return np.stack([np.pad(image, 6) for image in images])


def _mnist(root: Path, classes: Sequence[str], train: Split, test: Split) -> None:
    for part, split in (("train", train), ("t10k", test)):
        labels = np.array([label for label, _ in split], dtype=np.uint8)
        _idx(root / f"MNIST/raw/{part}-images-idx3-ubyte", _grey(split), 8)
        _idx(root / f"MNIST/raw/{part}-labels-idx1-ubyte", labels, 8)


def _qmnist(root: Path, classes: Sequence[str], train: Split, test: Split) -> None:
    """The label is the first of eight numbers; the second is the series of the writer."""
    for part, split in (("train", train), ("test", test)):
        rows = np.full((len(split), 8), 4, dtype=">i4")
        rows[:, 0] = [label for label, _ in split]
        _idx(root / f"QMNIST/raw/qmnist-{part}-images-idx3-ubyte", _grey(split), 8)
        _idx(root / f"QMNIST/raw/qmnist-{part}-labels-idx2-int", rows, 12)


def write_parquet(
    root: Path,
    splits: dict[str, Split],
    label_type: Any,
    *,
    columns: tuple[str, str] = ("image", "label"),
    file: str = "{}-00000-of-00001.parquet",
) -> None:
    """A Hugging Face dataset of Parquet files; labels of -1 and others are written as they are."""
    datasets = pytest.importorskip("datasets")
    root.mkdir(parents=True, exist_ok=True)
    image_key, label_key = columns
    features = datasets.Features({image_key: datasets.Image(), label_key: label_type})
    for name, split in splits.items():
        rows = {
            image_key: [{"bytes": image, "path": f"{index}.png"} for index, (_, image) in enumerate(split)],
            label_key: [label for label, _ in split],
        }
        datasets.Dataset.from_dict(rows, features=features).to_parquet(str(root / file.format(name)))


def _parquet(root: Path, classes: Sequence[str], train: Split, test: Split) -> None:
    datasets = pytest.importorskip("datasets")
    write_parquet(root / "toy", {"train": train, "validation": test}, datasets.ClassLabel(names=list(classes)))


def write_tar(path: Path, members: Sequence[tuple[str, bytes]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as out:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            out.addfile(entry, io.BytesIO(content))


def write_shard(path: Path, split: Split, *, key: str = "png", first: int = 0) -> None:
    """A shard of WebDataset: `00000.png`, `00000.cls`, ... in a tar file."""
    pairs = [
        ((f"{index:05}.{key}", image), (f"{index:05}.cls", str(label).encode()))
        for index, (label, image) in enumerate(split, first)
    ]
    write_tar(path, [member for pair in pairs for member in pair])


def _shards(root: Path, classes: Sequence[str], train: Split, test: Split, address: str = "{}") -> None:
    """Two shards for each split; `address` is how `_info.json` writes the path of one."""
    found = {}
    for name, split in (("train", train), ("validation", test)):
        half = len(split) // 2
        parts = split[:half], split[half:]
        for number, part in enumerate(parts):
            write_shard(root / "toy" / f"{name}-{number}.tar", part, first=number * half)
        files = [address.format(root / "toy" / f"{name}-{number}.tar") for number in range(2)]
        lengths = list(map(len, parts))
        found[name] = {"name": name, "num_samples": len(split), "filenames": files, "shard_lengths": lengths}
    (root / "toy/_info.json").write_text(json.dumps({"splits": found}))


def _piped(root: Path, classes: Sequence[str], train: Split, test: Split) -> None:
    _shards(root, classes, train, test, "pipe:cat {}")


def _parquet_parts(root: Path, classes: Sequence[str], train: Split, test: Split) -> None:
    datasets = pytest.importorskip("datasets")
    kind = datasets.ClassLabel(names=list(classes))
    for name, split in (("train", train), ("validation", test)):
        for number in range(3):
            part = f"{name}-{number:05}-of-00003"
            write_parquet(root / "toy", {part: split[number::3]}, kind, file="{}.parquet")


def _tensorflow(root: Path, classes: Sequence[str], train: Split, test: Split) -> None:
    """Written by TensorFlow Datasets itself, which encodes the pixels again and shuffles them once."""
    tfds = pytest.importorskip("tensorflow_datasets")
    features = {
        "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
        "label": tfds.features.ClassLabel(names=list(classes)),
    }

    with tfds.core.registered.skip_registration():

        class Toy(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("1.0.0")

            def _info(self):
                return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

            def _split_generators(self, manager):
                return {"train": self._generate_examples(train), "validation": self._generate_examples(test)}

            def _generate_examples(self, split):
                for index, (label, image) in enumerate(split):
                    yield index, {"image": np.array(Image.open(io.BytesIO(image))), "label": label}

    root.mkdir(parents=True, exist_ok=True)
    Toy(data_dir=str(root)).download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=2))


KINDS = {
    kind.name: kind
    for kind in (
        Kind("folder/toy", _below("toy")),
        Kind("torch/folder", _folders),
        Kind("torch/imagenet", _imagenet),
        Kind("folder/toy.tar", _tars, {"name": "folder/toy", "train_split": "train.tar", "test_split": "val.tar"}),
        Kind("torch/mnist", _mnist, {"in_chans": 1}, has_names=False, has_files=False, side=28),
        Kind("torch/qmnist", _qmnist, {"in_chans": 1}, has_names=False, has_files=False, side=28),
        Kind("hfds/toy", _parquet, package="datasets"),
        Kind("hfids/toy", _below("toy"), {"test_split": "validation"}, package="datasets", is_stream=True),
        Kind("hfids/parts", _parquet_parts, {"name": "hfids/toy"}, package="datasets", is_stream=True),
        Kind("wds/toy", _shards, {"num_classes": 2}, has_names=False),
        Kind(
            "wds/pipe",
            _piped,
            {"name": "wds/toy", "num_classes": 2},
            package="webdataset",
            is_stream=True,
            is_remote=True,
            has_names=False,
        ),
        Kind("tfds/toy", _tensorflow, package="tensorflow_datasets", is_stream=True, has_files=False),
    )
}


KIN = {"hfids/parts", "torch/qmnist"}
"""Kinds whose code paths others have, too: slow."""


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.slow) if name in KIN else name for name in sorted(KINDS)])
def kind(request, tmp_path, monkeypatch) -> Kind:
    """Every kind of dataset whose package is installed."""
    found = KINDS[request.param]
    if found.package:
        pytest.importorskip(found.package)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("ARCHSWEEP_CACHE", str(tmp_path / "cache"))
    return found
