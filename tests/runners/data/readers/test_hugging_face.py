"""Hugging Face datasets as the package `datasets` writes them; skipped without it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from runners.data import describe_dataset, load_data
from runners.data.survey.survey import survey_dataset
from search_space import Resources, SpecError, variant_id
from search_space.schema.trial import ClassificationSpec, Setting, TimmDatasetSpec, TrainSpec

from .conftest import noise, png, write_parquet

IMAGES = [png(noise(index)) for index in range(8)]


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Writes `toy` with these labels in both splits, and returns how it is described."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))

    def described(labels, kind=None, columns=("image", "label"), names=("train", "validation"), **options: Any):
        half = len(labels) // 2
        rows = list(zip(labels, IMAGES, strict=True))
        parts = dict(zip(names, (rows[:half], rows[half:]), strict=True))
        write_parquet(tmp_path / "toy", parts, kind or datasets.Value("int64"), columns=columns)
        task = ClassificationSpec(
            dataset=TimmDatasetSpec.model_validate({"name": "hfds/toy", "num_classes": 2, **options})
        )
        return describe_dataset(task, Resources(data_dir=str(tmp_path))), task

    return described


def refusal(toy, *args, **options) -> tuple[str, str]:
    with pytest.raises(SpecError) as caught:
        toy(*args, **options)
    problem = caught.value.problems[0]
    return problem.message.removeprefix("dataset 'hfds/toy': "), problem.hint


@pytest.mark.parametrize(
    ("kind", "labels", "expected"),
    [
        ("string", ["a", "b"] * 4, "4 of 4 are text, the first 'a'"),
        ("float32", [0.5, 1.5] * 4, "4 of 4 are floating-point numbers, the first 0.5"),
        ("bool", [True, False] * 4, "4 of 4 are truth values, the first True"),
        ("int64", [0, None] * 4, "2 of 4 are missing"),
        ("int64", [-1, 1] * 4, "2 of 4 are below 0: -1"),
        ("int64", [1, 2] * 4, "2 of 4 are not below num_classes, 2: 2"),
    ],
)
def test_labels_that_are_no_numbers_of_classes(toy, kind, labels, expected):
    datasets = pytest.importorskip("datasets")
    message, hint = refusal(toy, labels, datasets.Value(kind))
    assert message == f"labels of the split 'train' are not numbers of classes: {expected}"
    assert hint.endswith("name another column with target_key (image, label)")


def test_lists_of_labels(toy):
    datasets = pytest.importorskip("datasets")
    message, _ = refusal(toy, [[0, 1]] * 8, datasets.Sequence(datasets.Value("int64")))
    assert message.endswith("4 of 4 are lists or other objects, the first [0, 1]")


def test_hidden_labels_of_a_test_split(toy):
    datasets = pytest.importorskip("datasets")
    message, _ = refusal(toy, [0, 1, 0, 1, -1, -1, -1, -1], datasets.ClassLabel(names=["a", "b"]))
    assert message == "labels of the split 'validation' are not numbers of classes: 4 of 4 are below 0: -1"


@pytest.mark.parametrize(
    ("columns", "keys", "hint"),
    [
        (("img", "label"), {"input_key": "img"}, "name input_key: COLUMN in task.dataset"),
        (("image", "fine_label"), {"target_key": "fine_label"}, "name target_key: COLUMN in task.dataset"),
        (
            ("img", "fine_label"),
            {"input_key": "img", "target_key": "fine_label"},
            "name input_key: COLUMN and target_key: COLUMN in task.dataset",
        ),
    ],
)
def test_columns_of_other_names_are_named(toy, tmp_path, columns, keys, hint):
    message, found = refusal(toy, [0, 1] * 4, columns=columns)
    assert message.startswith("split 'train' has no column '")
    assert message.endswith(f"only {', '.join(columns)}")
    assert found == hint
    task = ClassificationSpec(dataset=TimmDatasetSpec.model_validate({"name": "hfds/toy", "num_classes": 2, **keys}))
    resources = Resources(data_dir=str(tmp_path))
    data = load_data(task, TrainSpec(batch_size=4), resources, torch.device("cpu"), img_size=(16, 16), seed=0)
    assert [labels.tolist() for _, labels in data.test] == [[0, 1, 0, 1]]


def test_columns_are_part_of_the_identity_and_their_defaults_are_not():
    def id_of(**keys):
        dataset = TimmDatasetSpec.model_validate({"name": "hfds/toy", **keys})
        return variant_id(Setting(task=ClassificationSpec(dataset=dataset)))

    assert len({id_of(), id_of(input_key="img"), id_of(target_key="fine"), id_of(target_key="coarse")}) == 4
    assert id_of() == id_of(input_key=None)


def test_a_missing_split_is_named_and_no_download_is_advised(toy):
    message, hint = refusal(toy, [0, 1] * 4, names=("train", "test"))
    assert message.startswith("split 'validation' cannot be read below ")
    assert hint == "name the splits with train_split and test_split"


def test_without_names_of_classes_their_number_is_asked_for(toy):
    message, hint = refusal(toy, [0, 1, 2, 1] * 2, num_classes=None)
    assert message == "the reader does not report the number of classes"
    assert hint == "write num_classes: 3, if the labels 0 to 2 are all there are"


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_damaged_table_of_a_stream_is_refused(toy, tmp_path, split):
    """The length of a stream is counted without its images, so that the damage is met later."""
    toy([0, 1] * 4)
    path = tmp_path / "toy" / f"{split}-00000-of-00001.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes(500) + content[600:])
    task = ClassificationSpec(dataset=TimmDatasetSpec(name="hfids/toy", num_classes=2))
    with pytest.raises(SpecError, match=f"{split}.* cannot be read|{split}.*can be read"):
        survey_dataset(task, Resources(data_dir=str(tmp_path)))
