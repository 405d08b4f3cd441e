"""WebDataset shards: labels and counts are checked before anything trains; skipped without the package."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runners.data.survey.survey import survey_dataset
from search_space import Resources, SpecError
from search_space.schema.trial import TaskSpec, TimmDatasetSpec

from .conftest import noise, png, write_shard

TASK = TaskSpec(dataset=TimmDatasetSpec(name="wds/toy", num_classes=2))
pytest.importorskip("webdataset")


def write(root: Path, train: list, test: list, *, key: str = "png", says: int | None = None) -> Resources:
    found = {}
    for name, labels, first in (("train", train, 0), ("validation", test, 100)):
        images = [(label, png(noise(first + index))) for index, label in enumerate(labels)]
        write_shard(root / "toy" / f"{name}.tar", images, key=key)
        length = len(labels) if says is None or name == "validation" else says
        split = {"name": name, "num_samples": length, "filenames": [f"{name}.tar"], "shard_lengths": [length]}
        found[name] = split
    (root / "toy/_info.json").write_text(json.dumps({"splits": found}))
    return Resources(data_dir=str(root))


def refusal(resources: Resources) -> str:
    with pytest.raises(SpecError) as caught:
        survey_dataset(TASK, resources)
    return caught.value.problems[0].message.removeprefix("dataset 'wds/toy': ")


def test_classes_are_counted(tmp_path):
    found = survey_dataset(TASK, write(tmp_path, [0, 1, 1, 1], [0, 1]))
    assert (found.train.counts, found.test.counts, found.test.majority) == ((1, 3), (1, 1), 0.5)


@pytest.mark.parametrize("label", ["cat", "", "1.5", "[0]"])
def test_a_label_that_is_no_number_is_refused(tmp_path, label):
    """timm leaves such an image out, with a line in the log."""
    assert refusal(write(tmp_path, [0, 1, label, 1], [0, 1])) == ("the split 'train' says 4 images, and 3 can be read")


@pytest.mark.parametrize(("label", "why"), [(-1, "below 0: -1"), (2, "not below num_classes, 2: 2")])
def test_a_number_of_no_class_is_refused(tmp_path, label, why):
    text = refusal(write(tmp_path, [0, 1, label, 1], [0, 1]))
    assert text == f"labels of the split 'train' are not the numbers of 2 classes: 1 of 4 are {why}"


@pytest.mark.parametrize("says", [3, 5, 400])
def test_a_wrong_number_of_images_is_refused(tmp_path, says):
    resources = write(tmp_path, [0, 1, 0, 1], [0, 1], says=says)
    assert refusal(resources) == f"the split 'train' says {says} images, and 4 can be read"


def test_a_missing_shard_is_refused(tmp_path):
    resources = write(tmp_path, [0, 1, 0, 1], [0, 1])
    (tmp_path / "toy/train.tar").unlink()
    assert refusal(resources) == (f"1 of 1 shards of the split 'train' are not below {tmp_path / 'toy'}: train.tar")


def test_shards_without_a_readable_test_image_are_refused(tmp_path):
    """A StopIteration."""
    resources = write(tmp_path, [0, 1], [0, 1], key="jpeg")
    assert refusal(resources) == "the split 'validation' holds no image that can be read"


def test_shards_of_the_data_directory_itself_are_read_and_named(tmp_path):
    write(tmp_path, [0, 1, 0, 1], [0, 1])
    found = survey_dataset(TASK, Resources(data_dir=str(tmp_path / "toy")))
    assert found.notes == (f"there is no {tmp_path / 'toy/toy'}: the shards are those of {tmp_path / 'toy'}",)
