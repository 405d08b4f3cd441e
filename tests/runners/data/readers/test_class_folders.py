"""Folders of images: each fault that was seen, with what it was taken for, and what is said now."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data.readers.reader_image_folder import find_images_and_targets

from runners.data import describe_dataset, load_data
from runners.data.readers.class_folders import class_folders, natural_order
from runners.data.readers.labelled_images import UnreadableImage
from runners.data.survey.survey import survey_dataset
from search_space import Resources, SpecError
from search_space.schema.trial import ClassificationSpec, TaskSpec, TimmDatasetSpec, TrainSpec

CPU = torch.device("cpu")


def task(**options) -> TaskSpec:
    val = options.pop("val_fraction", 0.0)
    return ClassificationSpec(dataset=TimmDatasetSpec(**{"name": "folder/toy", **options}), val_fraction=val)


@pytest.fixture
def toy(png_folder, monkeypatch) -> Path:
    monkeypatch.setenv("ARCHSWEEP_CACHE", "off")
    return png_folder / "toy"


def load(toy: Path, img_size=(12, 10), limit=1 << 30, **options):
    train = TrainSpec(batch_size=4)
    resources = Resources(data_dir=str(toy.parent))
    return load_data(task(**options), train, resources, CPU, img_size=img_size, seed=0, in_memory_bytes=limit)


def survey(toy: Path, **options):
    return survey_dataset(task(**options), Resources(data_dir=str(toy.parent)))


def messages(toy: Path, **options) -> list[str]:
    with pytest.raises(SpecError) as caught:
        survey(toy, **options)
    return [problem.message.removeprefix("dataset 'folder/toy': ") for problem in caught.value.problems]


def put(path: Path, value: int = 90, size: tuple[int, int] = (12, 10)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)


@pytest.mark.parametrize("limit", [1 << 30, 0], ids=["in memory", "by loader"])
def test_an_empty_file_does_not_get_the_pixels_of_the_next(toy, limit):
    """timm answers a file that it cannot read with the one after it."""
    (toy / "validation/cat/0.png").write_bytes(b"")
    assert messages(toy) == [
        f"1 image of the split 'validation' cannot be read: {toy / 'validation/cat/0.png'}: it is empty"
    ]
    with pytest.raises(UnreadableImage, match=r"cat.0\.png"):
        list(load(toy, limit=limit).test)


def test_all_files_that_cannot_be_read_are_counted_and_the_first_ones_named(toy):
    for index in range(6):
        (toy / f"train/cat/{index}.png").write_bytes(b"no image")
    (message,) = messages(toy)
    assert message.startswith("6 images of the split 'train' cannot be read: ")
    assert message.count("it is no image that can be read") == 5
    assert message.endswith("; and 1 more")


def test_a_truncated_file_is_found_although_its_header_is_whole(toy):
    path = toy / "train/dog/3.png"
    path.write_bytes(path.read_bytes()[:120])
    assert Image.open(path).size == (10, 12)
    assert messages(toy)[0].startswith(f"1 image of the split 'train' cannot be read: {path}: ")


def test_hidden_files_and_folders_are_not_read_and_are_named(toy):
    put(toy / "train/cat/._0.png")
    put(toy / "train/.ipynb_checkpoints/0-checkpoint.png")
    (toy / "train/cat/.DS_Store").write_bytes(b"no image")
    found = survey(toy)
    assert (found.train.counts, found.class_names) == ((6, 6), ("cat", "dog"))
    assert found.notes == ("split 'train': 2 hidden files not read: .ipynb_checkpoints/0-checkpoint.png, cat/._0.png",)


def test_class_folders_inside_class_folders_are_refused(toy):
    """`train/cat/{c1,c2}` beside `train/dog` were three classes."""
    for name in ("c1", "c2"):
        put(toy / f"train/cat/{name}/0.png")
    assert messages(toy) == [f"{toy / 'train'} has 2 folders of images inside a class folder: cat/c1, cat/c2"]


def test_images_beside_the_class_folders_are_refused(toy):
    """They were a class without a name, with the label 0."""
    put(toy / "train/0.png")
    put(toy / "validation/1.png")
    assert messages(toy) == [
        f"{toy / 'train'} has 1 image beside the class folders: 0.png",
        f"{toy / 'validation'} has 1 image beside the class folders: 1.png",
    ]


def test_a_class_whose_files_are_all_of_unknown_types_does_not_vanish(toy):
    for split in ("train", "validation"):
        (toy / split / "emu").mkdir()
        (toy / split / "emu" / "0.heic").write_bytes(b"-")
    assert messages(toy) == [
        f"{toy / split} has 1 class folder without an image that can be read: emu (their files: 1 .heic)"
        for split in ("train", "validation")
    ]


def test_files_that_are_not_read_are_counted_and_named(toy):
    (toy / "train/cat/extra.heic").write_bytes(b"-")
    for name in "abcd":
        (toy / f"train/dog/{name}.txt").write_bytes(b"-")
    assert survey(toy).notes == (
        "split 'train': 1 image of other formats not read: cat/extra.heic",
        "split 'train': 4 other files not read: dog/a.txt, dog/b.txt, dog/c.txt and 1 more",
    )


@pytest.mark.parametrize("kind", ["webp", "bmp", "gif", "tif", "tiff", "jpg", "JPEG", "ppm"])
def test_the_common_formats_are_read(toy, kind):
    """Grey, so that the palette of a gif holds it; JPEG is off by a little."""
    shutil.rmtree(toy / "validation/dog")
    (toy / "validation/dog").mkdir()
    options = {"lossless": True} if kind == "webp" else {}
    Image.fromarray(np.full((12, 10, 3), 200, np.uint8)).save(toy / f"validation/dog/0.{kind}", **options)
    images, labels = next(iter(load(toy).test))
    assert labels.tolist() == [0, 0, 1]
    pixels = (images[2, 0] * 0.229 + 0.485) * 255
    np.testing.assert_allclose(pixels.numpy(), 200, atol=2 if kind.lower().startswith("jp") else 0.1)


@pytest.mark.parametrize("limit", [1 << 30, 0], ids=["in memory", "by loader"])
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_sixteen_bits_are_scaled_and_not_clipped(toy, limit, kind):
    """32,896 of 65,535 is 128 of 255 (257 * 128); clipped it would be white."""
    Image.fromarray(np.full((12, 10), 257 * 128, np.uint16)).save(toy / f"validation/dog/9.{kind}")
    images = torch.cat([images for images, _ in load(toy, limit=limit).test])
    np.testing.assert_allclose(((images[-1, 0] * 0.229 + 0.485) * 255).numpy(), 128, atol=0.1)


@pytest.mark.parametrize("values", [np.float32(0.5), np.int32(70_000)])
def test_pixels_of_unknown_range_are_refused(toy, values):
    Image.fromarray(np.full((12, 10), values)).save(toy / "train/dog/9.tif")
    assert "whose range is not known" in messages(toy)[0]


@pytest.mark.parametrize("name", ["0.png", "99.png"], ids=["first", "last"])
def test_one_image_of_another_size_does_not_decide_how_its_split_is_cut(toy, name):
    """A thumbnail as the first test image cut all test images to its size; a strip as the first training image
    stretched all training images."""
    before = load(toy)
    for split, size in (("validation", (2, 3)), ("train", (200, 4))):
        folder = toy / split / "cat"
        (folder / "0.png").rename(folder / "50.png")
        put(folder / name, size=size)
    after = load(toy)
    assert before.info.img_size == after.info.img_size == (12, 10)
    ours, theirs = (
        {image.numpy().tobytes() for images, _ in data.test for image in images} for data in (before, after)
    )
    assert (len(ours), len(theirs), len(ours & theirs)) == (4, 5, 4)


def test_both_splits_are_cut_to_one_size(toy):
    for path in (toy / "validation").rglob("*.png"):
        Image.open(path).resize((40, 30)).save(path)
    data = load(toy, img_size=(24, 20))
    assert data.info.img_size == (12, 10)
    assert {tuple(images.shape[-2:]) for images, _ in (*data.test, *data.train.epoch(1))} == {(24, 20)}


def test_a_class_without_a_training_image_is_refused(toy):
    for index in range(1, 6):
        (toy / f"train/dog/{index}.png").unlink()
    with pytest.raises(SpecError) as caught:
        describe_dataset(task(val_fraction=0.6), Resources(data_dir=str(toy.parent)))
    assert [problem.message for problem in caught.value.problems] == [
        "0.6 of 7 training images holds out all images of 1 of 2 classes (labels 1)"
    ]


def test_fewer_classes_than_labels_are_refused_before_training(toy):
    put(toy / "train/emu/0.png", 1)
    put(toy / "validation/emu/0.png", 2)
    assert messages(toy, num_classes=2) == [
        "labels of the split 'train' are not numbers of classes: 1 of 13 are not below num_classes, 2: 2",
        "labels of the split 'validation' are not numbers of classes: 1 of 5 are not below num_classes, 2: 2",
    ]


def test_more_classes_than_there_are_is_said(toy):
    assert survey(toy, num_classes=5).notes == (
        "split 'train': 3 of 5 classes without an image",
        "split 'validation': 3 of 5 classes without an image",
    )


def test_a_single_class_is_refused(toy):
    for split in ("train", "validation"):
        shutil.rmtree(toy / split / "dog")
    assert messages(toy) == ["all images of the split 'train' have one class: every answer would be right"]


def test_a_name_that_links_to_a_missing_file_is_refused(toy):
    (toy / "train/cat/7.png").symlink_to(toy / "gone.png")
    with pytest.raises(SpecError, match=r"train/cat/7\.png"):
        survey(toy)


def test_a_link_to_the_folder_itself_is_walked_once(toy):
    (toy / "train/cat/again").symlink_to(toy / "train/cat")
    assert len(class_folders(toy / "train").files["cat"]) == 6


def test_order_and_labels_are_those_of_timm(tmp_path):
    for name in ("c10", "c2", "C1"):
        for file in ("img10", "img9", "a"):
            put(tmp_path / name / f"{file}.png")
    reader = class_folders(tmp_path).reader()
    samples, classes = find_images_and_targets(str(tmp_path))
    assert reader.samples == samples
    assert reader.class_to_idx == classes == {"C1": 0, "c2": 1, "c10": 2}


def test_names_that_differ_in_case_only_have_one_order():
    """For timm they are equal, and their labels follow from the hash seed of the process."""
    for names in itertools.permutations(["Cat", "cat", "01", "1"]):
        assert sorted(names, key=natural_order) == ["01", "1", "Cat", "cat"]


def test_the_file_system_may_list_in_any_order(toy, monkeypatch):
    expected = class_folders(toy / "train").reader().samples
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda *a, **k: ((root, dirs, files[::-1]) for root, dirs, files in walk(*a, **k)))
    assert class_folders(toy / "train").reader().samples == expected
