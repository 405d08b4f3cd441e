"""Equal fingerprint: the same images and labels would be read. Any change of them, and nothing else, makes another."""

from __future__ import annotations

import os
import shutil
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data.readers.reader_image_tar import ReaderImageTar
from torchvision.datasets import MNIST

from runners.data.fingerprint import DataChanged, check_data, difference, fingerprint
from runners.data.parts import parts_of
from runners.machine.file_digests import FileDigests
from search_space import Resources, SpecError
from search_space.schema.trial import ClassificationSpec


def task(name, **options):
    return ClassificationSpec.model_validate({"dataset": {"name": name, **options}})


@pytest.fixture
def found(png_folder):
    """The fingerprint of the folder of PNGs as it is now."""

    def found_(name="folder/toy", data_dir=png_folder, **options):
        return fingerprint(task(name, **options), Resources(data_dir=str(data_dir)), FileDigests(None))

    return found_


def test_a_copy_elsewhere_has_the_same(found, png_folder, tmp_path_factory):
    there = tmp_path_factory.mktemp("there")
    shutil.copytree(png_folder / "toy", there / "renamed")
    assert found("folder/renamed", there) == found()


def test_numbers_of_files_are_those_of_the_folders(found, png_folder):
    """6 + 2 images in each of two classes."""
    first = found()
    sizes = {path: path.stat().st_size for path in png_folder.rglob("*.png")}
    assert (first.files, first.bytes, first.by_name) == (16, sum(sizes.values()), 0)
    assert {name: folder.files for name, folder in first.folders.items()} == {
        "train/cat": 6, "train/dog": 6, "test/cat": 2, "test/dog": 2,
    }  # fmt: skip


def edit_a_pixel(toy):
    path = toy / "train/cat/0.png"
    pixels = np.array(Image.open(path))
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(path)


def test_times_and_other_files_do_not_count(found, png_folder):
    first = found()
    os.utime(png_folder / "toy/train/cat/0.png", (1, 1))
    (png_folder / "toy/train/cat/notes.txt").write_text("not an image")
    (png_folder / "toy/elsewhere").mkdir()
    assert found() == first


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (edit_a_pixel, "train/cat (6 files)"),
        (lambda toy: (toy / "validation/dog/1.png").unlink(), "test/dog (2 -> 1 files)"),
        (lambda toy: (toy / "train/cat/0.png").rename(toy / "train/cat/9.png"), "train/cat (6 files)"),
        # The images are the same and the label of one is another.
        (
            lambda toy: (toy / "train/cat/0.png").rename(toy / "train/dog/8.png"),
            "train/cat (6 -> 5 files), train/dog (6 -> 7 files)",
        ),
        (
            lambda toy: [shutil.move(toy / split / "cat", toy / split / "zebra") for split in ("train", "validation")],
            "test/cat (2 -> 0 files), test/dog (2 files), test/zebra (0 -> 2 files), train/cat (6 -> 0 files), "
            "train/dog (6 files) and 1 more folder",
        ),
    ],
)
def test_a_change_is_seen_and_named(found, png_folder, change, expected):
    first = found()
    change(png_folder / "toy")
    assert found().digest != first.digest
    assert difference(first, found()) == expected


def test_exchanged_splits_are_other_data(found):
    """Training on what the other tests on, and the reverse."""
    assert found().digest != found(train_split="validation", test_split="train").digest


def test_builtin_data_is_known_by_content():
    digits, shapes = (
        fingerprint(task(name), Resources(), FileDigests(None)) for name in ("builtin/digits", "builtin/shapes")
    )
    assert digits.digest != shapes.digest
    # 1797 images of 64 numbers of 4 bytes, and their labels of 8 bytes.
    assert digits.bytes == 1797 * (64 * 4 + 8)
    other = fingerprint(task("builtin/shapes", data_seed=1), Resources(), FileDigests(None))
    assert other.digest != shapes.digest


def test_arrays_of_torchvision_are_known_by_content():
    def mnist(pixel, label):
        dataset = MNIST.__new__(MNIST)
        dataset.data, dataset.targets = torch.full((3, 2, 2), pixel, dtype=torch.uint8), torch.tensor([0, 1, label])
        return [(part.name, part.content) for part in parts_of(dataset)]

    assert mnist(1, 2) == mnist(1, 2)
    assert mnist(1, 2) != mnist(7, 2)
    assert mnist(1, 2) != mnist(1, 0)


def test_an_archive_is_known_by_content(png_folder, found):
    """Of the same size: archives are padded."""

    def pack():
        for split in ("train", "validation"):
            with tarfile.open(png_folder / "packed" / f"{split}.tar", "w") as archive:
                for path in sorted((png_folder / "toy" / split).rglob("*.png")):
                    archive.add(path, path.relative_to(png_folder / "toy" / split))
        reader = ReaderImageTar(str(png_folder / "packed" / "train.tar"))
        (part,) = parts_of(type("Split", (), {"reader": reader})())
        size = os.path.getsize(part.content)
        return size, FileDigests(None).of("x", [part.content])[0][1]

    (png_folder / "packed").mkdir()
    first = pack()
    edit_a_pixel(png_folder / "toy")
    second = pack()
    assert first[0] == second[0]
    assert first[1] != second[1]


class Shards:
    """What a reader of shards knows before it reads: names of the shards and where they are."""

    def __init__(self, root, *names):
        self.shard_files = [(name, name if "://" in name else str(root / name)) for name in names]


def test_shards_are_known_by_content_here_and_by_name_elsewhere(tmp_path):
    (tmp_path / "0.tar").write_bytes(b"1")
    parts = parts_of(type("Split", (), {"reader": Shards(tmp_path, "0.tar", "1.tar", "https://host/2.tar")})())
    assert [(part.name, part.content) for part in parts] == [
        ("0.tar", str(tmp_path / "0.tar")),
        ("1.tar", None),
        ("https://host/2.tar", None),
    ]


def test_missing_data_is_an_error(found, png_folder):
    shutil.rmtree(png_folder / "toy")
    with pytest.raises(SpecError, match="there is no"):
        found()


def test_a_trial_refuses_other_data_than_the_driver_saw(found, png_folder, monkeypatch):
    monkeypatch.setenv("ARCHSWEEP_CACHE", "off")
    expected, resources = found().digest, Resources(data_dir=str(png_folder))
    check_data(task("folder/toy"), resources, expected)
    edit_a_pixel(png_folder / "toy")
    with pytest.raises(DataChanged, match="or this node has other ones"):
        check_data(task("folder/toy"), resources, expected)
