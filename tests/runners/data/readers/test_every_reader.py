"""Contract of every reader: its images and labels are those of the files, and what cannot be so is refused.

Readers of packages that are no dependency are skipped without them.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from runners.data import describe_dataset, load_data
from runners.data.survey.survey import survey_dataset
from search_space import Resources, SpecError
from search_space.schema.trial import ClassificationSpec, TaskSpec, TimmDatasetSpec, TrainSpec

from .conftest import Kind, noise, png, splits

CPU = torch.device("cpu")


def task_of(kind: Kind, **options: Any) -> TaskSpec:
    return ClassificationSpec(dataset=TimmDatasetSpec.model_validate({"name": kind.name, **kind.options, **options}))


def written(kind: Kind, root, train, test, classes=("ant", "bee")) -> Resources:
    kind.write(root / "data", classes, train, test)
    return Resources(data_dir=str(root / "data"), download=kind.is_remote)


@pytest.fixture
def seen(kind) -> Kind:
    """Every kind that is looked at before anything trains: not what is read over a network."""
    if kind.is_remote:
        pytest.skip("it is not looked at")
    return kind


def pixels_of(kind: Kind, images: list[bytes]) -> list[np.ndarray]:
    """What a model would see, as Pillow decodes it: (C, side, side), normalised."""
    if kind.options.get("in_chans") == 1:
        grey = [np.pad(np.array(Image.open(io.BytesIO(image)).convert("L")), 6) for image in images]
        return [(each[None] / 255 - 0.449) / 0.226 for each in grey]
    found = [np.array(Image.open(io.BytesIO(image))).transpose(2, 0, 1) / 255 for image in images]
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return [(each - mean[:, None, None]) / std[:, None, None] for each in found]


@pytest.mark.parametrize("limit", [1 << 30, 0], ids=["in memory", "by loader"])
def test_images_and_labels_are_those_of_the_files(kind, tmp_path, limit):
    train, test = splits()
    resources = written(kind, tmp_path, train, test)
    shape = {"img_size": (kind.side, kind.side), "seed": 0, "in_memory_bytes": limit}
    data = load_data(task_of(kind), TrainSpec(batch_size=4), resources, CPU, **shape)
    assert (data.info.num_train, data.info.num_test) == (6, 4)
    assert data.info.num_classes == (10 if "mnist" in kind.name else 2)
    assert data.info.img_size == (kind.side, kind.side)
    images, labels = (torch.cat(each) for each in zip(*data.test, strict=True))
    expected = dict(zip([image for _, image in test], pixels_of(kind, [image for _, image in test]), strict=True))
    wanted = sorted(((label, expected[image]) for label, image in test), key=lambda each: (each[0], each[1].sum()))
    found = sorted(zip(labels.tolist(), images.numpy(), strict=True), key=lambda each: (each[0], each[1].sum()))
    assert [label for label, _ in found] == [label for label, _ in wanted]
    for (_, ours), (_, theirs) in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_survey_counts_classes_sizes_and_the_most_frequent_class(seen, tmp_path):
    train, test = splits(6, 5)  # labels of the test split: 0 1 0 1 0
    survey = survey_dataset(task_of(seen), written(seen, tmp_path, train, test))
    assert (survey.train.images, survey.train.counts[:2]) == (6, (3, 3))
    assert (survey.test.images, survey.test.counts[:2], survey.test.majority) == (5, (3, 2), 0.6)
    assert survey.test.sizes == {(seen.side, seen.side): 5}
    assert survey.class_names == (("ant", "bee") if seen.has_names else survey.class_names)
    assert (survey.duplicates.train, survey.duplicates.test) == (0, 0)


def test_an_image_of_both_splits_is_counted_and_named(seen, tmp_path):
    train, test = splits()
    survey = survey_dataset(task_of(seen), written(seen, tmp_path, train, [*test, (0, train[0][1])]))
    assert (survey.duplicates.train, survey.duplicates.test) == (1, 1)
    assert sum("1 of 5 test images is also among the training images: " in note for note in survey.notes) == 1
    ((ours, theirs),) = survey.duplicates.pairs
    if seen.name == "folder/toy" or seen.name == "hfids/toy":
        assert (ours, theirs) == ("train/ant/0.png", "val/ant/4.png")
    elif seen.name == "hfids/parts":
        assert (ours, theirs) == ("0.png", "1.png")  # as the tables name them
    elif seen.name == "wds/toy":
        assert (ours, theirs) == ("toy/train-0.tar/00000.png", "toy/validation-1.tar/00004.png")
    elif not seen.is_stream and not seen.has_files:
        assert (ours, theirs) == ("image 0", "image 4")


@pytest.mark.parametrize("inner", ["test", "train"])
def test_a_split_that_contains_the_other_is_refused(seen, tmp_path, inner):
    train, test = splits()
    larger = [*train, *test]
    resources = written(seen, tmp_path, *((larger, test) if inner == "test" else (train, larger)))
    with pytest.raises(SpecError, match=r"all images of the split .* are also in"):
        survey_dataset(task_of(seen), resources)


@pytest.mark.parametrize("broken", [[0], [2], [1, 4]])
def test_broken_images_are_refused_by_name_and_no_others_are_read_in_their_place(seen, tmp_path, broken):
    if not seen.has_files:
        pytest.skip("one array has no broken image")
    train, test = splits()
    for at in broken:
        train[at] = (train[at][0], train[at][1][:200])
    with pytest.raises(SpecError) as caught:
        survey_dataset(task_of(seen), written(seen, tmp_path, train, test))
    count = "1 image" if len(broken) == 1 else f"{len(broken)} images"
    message = caught.value.problems[0].message.removeprefix(f"dataset {seen.options.get('name', seen.name)!r}: ")
    assert message.startswith(f"{count} of the split '{seen.options.get('train_split', 'train')}' cannot be read: ")
    assert message.count(".png: ") == len(broken)


def test_classes_of_one_split_only_are_refused(seen, tmp_path):
    if seen.name not in ("folder/toy", "torch/folder", "folder/toy.tar", "torch/imagenet"):
        pytest.skip("its classes are one list for both splits")
    train, test = splits()
    train = [*train, (2, png(noise(50)))]
    with pytest.raises(SpecError, match=r"only in one of them: cow"):
        describe_dataset(task_of(seen), written(seen, tmp_path, train, test, ("ant", "bee", "cow")))


def test_fewer_classes_than_labels_are_refused(seen, tmp_path):
    train, test = splits()
    if seen.name == "hfids/toy":
        pytest.skip("it numbers the classes that there are")
    resources = written(seen, tmp_path, [(label * 3, image) for label, image in train], test, "abcd")
    with pytest.raises(SpecError, match=r"not below num_classes|different classes"):
        survey_dataset(task_of(seen, num_classes=3), resources)


def test_one_class_is_no_task(seen, tmp_path):
    train, test = ([(0, image) for _, image in split] for split in splits())
    with pytest.raises(SpecError, match=r"every answer would be right|no column 'label'"):
        survey_dataset(task_of(seen), written(seen, tmp_path, train, test))
