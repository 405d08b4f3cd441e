"""The majority-class line, against scikit-learn on a constant prediction."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, matthews_corrcoef, roc_auc_score

from runners.data.survey.majority_class import majority_class, majority_metrics
from runners.data.survey.survey import survey_dataset
from search_space.schema.resources import Resources
from search_space.schema.task import TASK_SPECS


@pytest.mark.parametrize(
    ("label", "counts"),
    [(0, (7, 2, 1)), (1, (7, 2, 1)), (1, (3, 9)), (0, (3, 9)), (2, (5, 0, 4, 1)), (1, (5, 0, 4, 1))],
)
def test_metrics_are_those_of_a_constant_prediction(label, counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    predicted = np.full(len(labels), label)
    found = majority_metrics(label, counts)
    assert found["top1"] == found["accuracy"] == pytest.approx(100 * accuracy_score(labels, predicted), rel=1e-12)
    present = [each for each in range(len(counts)) if counts[each]]
    recalls = [np.mean(predicted[labels == each] == each) for each in present]
    assert found["balanced_accuracy"] == pytest.approx(100 * np.mean(recalls), rel=1e-12)
    if label in present:
        assert found["balanced_accuracy"] == pytest.approx(100 * balanced_accuracy_score(labels, predicted), rel=1e-12)
    f1 = f1_score(labels, predicted, average="macro", zero_division=0)
    assert found["macro_f1"] == pytest.approx(100 * f1, rel=1e-12)
    assert found["auroc"] == 100 * roc_auc_score(labels == present[0], np.full(len(labels), 0.3))
    assert found["mcc"] == 100 * matthews_corrcoef(labels, predicted)
    of_class_1 = f1_score(labels == 1, predicted == 1, zero_division=0)
    assert found["f1"] == pytest.approx(100 * of_class_1, rel=1e-12)


def test_a_test_split_of_one_class_has_no_auroc():
    assert "auroc" not in majority_metrics(0, (4, 0))


def test_the_class_is_that_of_the_training_split(tmp_path):
    """Of the test split, class b is the most frequent one."""
    counts = {"train": {"a": 4, "b": 2}, "val": {"a": 1, "b": 3}}
    for split, numbers in counts.items():
        for name, number in numbers.items():
            folder = tmp_path / "two" / split / name
            folder.mkdir(parents=True)
            for at in range(number):
                shade = 20 * at + (100 if split == "val" else 0) + (5 if name == "b" else 0)
                Image.new("RGB", (8, 8), (shade, 0, 0)).save(folder / f"{at}.png")
    task = TASK_SPECS["classification"].model_validate({"dataset": {"name": "folder/two", "test_split": "val"}})
    survey = survey_dataset(task, Resources(data_dir=str(tmp_path)))
    found = majority_class(task, survey)
    assert found is not None
    assert found.name == "a"
    assert found.metrics == {
        "top1": 25.0,
        "balanced_accuracy": 50.0,
        "macro_f1": pytest.approx(20.0),  # F1 of a: precision 1/4, recall 1, so 2/5; that of b is 0
        "auroc": 50.0,
    }


@pytest.mark.parametrize("name", ["segmentation", "detection"])
def test_tasks_without_a_class_for_every_image_have_no_line(name):
    task = TASK_SPECS[name]()
    assert majority_class(task, survey_dataset(task, Resources())) is None
