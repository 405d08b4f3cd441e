"""A folder of class folders without splits: the test split is drawn, stratified, and the same everywhere."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from runners.data import describe_dataset
from runners.data.fingerprint import fingerprint
from runners.data.sources import source_of
from runners.data.survey.survey import survey_dataset
from runners.machine.file_digests import user_file_digests
from search_space import SpecError, load_sweep_text
from search_space.schema.resources import Resources
from search_space.schema.trial import ClassificationSpec, TimmDatasetSpec

CLASSES = {"ant": 10, "bee": 5, "cat": 6}


@pytest.fixture
def flat(tmp_path):
    """21 images of 8 x 8 pixels, each of a colour of its own."""
    for label, (name, number) in enumerate(CLASSES.items()):
        (tmp_path / "flat" / name).mkdir(parents=True)
        for at in range(number):
            pixels = np.full((8, 8, 3), (80 * label, 20 * at, 7), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "flat" / name / f"{at}.png")
    return tmp_path


def _task(**options) -> ClassificationSpec:
    return ClassificationSpec(dataset=TimmDatasetSpec(name="folder/flat", **options))


def _images(folder, **options) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Colours of the images of the training and the test split, decoded."""
    task, resources = _task(**options), Resources(data_dir=str(folder))
    splits = source_of(task.dataset).load(task.dataset, resources, describe_dataset(task, resources), (8, 8))
    train, test = ([tuple(image[:, 0, 0].tolist()) for image in split.pixels] for split in splits)
    return train, test


def test_a_share_is_drawn_of_every_class(flat):
    info = describe_dataset(_task(test_fraction=0.2), Resources(data_dir=str(flat)))
    assert (info.num_train, info.num_test) == (17, 4)
    assert (info.train_counts, info.test_counts) == ((8, 4, 5), (2, 1, 1))
    assert info.class_names == ("ant", "bee", "cat")


def test_every_image_is_in_one_split(flat):
    train, test = _images(flat, test_fraction=0.2)
    assert len({*train, *test}) == 21
    assert not {*train} & {*test}


def test_every_image_is_in_one_fold(flat):
    seen = Counter()
    for fold in range(5):
        info = describe_dataset(_task(folds=5, fold=fold), Resources(data_dir=str(flat)))
        assert info.num_train + info.num_test == 21
        assert info.num_test in (4, 5)
        assert all(count - per in (0, 1) for count, per in zip(info.test_counts, (2, 1, 1), strict=True))
        train, test = _images(flat, folds=5, fold=fold)
        assert not {*train} & {*test}
        seen += Counter(test)
    assert len(seen) == 21
    assert set(seen.values()) == {1}


def test_another_split_seed_draws_others(flat):
    assert _images(flat, test_fraction=0.4) == _images(flat, test_fraction=0.4)
    assert _images(flat, test_fraction=0.4)[1] != _images(flat, test_fraction=0.4, split_seed=1)[1]


def test_the_validation_split_is_held_out_of_what_is_left(flat):
    task = _task(folds=3).model_copy(update={"val_fraction": 0.5})
    info = describe_dataset(task, Resources(data_dir=str(flat)))
    assert (info.num_train, info.num_val, info.num_test) == (7, 7, 7)


def test_survey_and_fingerprint_are_of_the_splits(flat):
    resources = Resources(data_dir=str(flat))
    survey = survey_dataset(_task(folds=3, fold=1), resources)
    assert survey.name == "folder/flat (without fold 1 of 3, fold 1 of 3)"
    assert (survey.train.images, survey.test.images) == (14, 7)
    digests = {fingerprint(_task(folds=3, fold=fold), resources, user_file_digests()).digest for fold in range(3)}
    assert len(digests) == 3


def _message(task, **options) -> str:
    with pytest.raises(SpecError) as caught:
        describe_dataset(task, Resources(**options))
    return str(caught.value)


def test_only_folders_of_class_folders_are_split(flat):
    shards = ClassificationSpec(dataset=TimmDatasetSpec(name="torch/cifar10", test_fraction=0.5))
    assert "is no folder of class folders" in _message(shards, data_dir=str(flat))
    (flat / "flat" / "ant" / "left").mkdir()
    (flat / "flat" / "ant" / "0.png").rename(flat / "flat" / "ant" / "left" / "0.png")
    assert "1 folder of images inside a class folder" in _message(_task(test_fraction=0.5), data_dir=str(flat))


def test_both_splits_need_an_image(flat):
    found = _message(_task(test_fraction=0.01), data_dir=str(flat))
    assert "21 images give 21 for training and 0 for the test" in found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("folds: 5, test_fraction: 0.2", "test_fraction and folds both draw the test split: write one of them"),
        ("fold: 2", "fold=2 has no effect without folds: write the number of folds"),
        ("folds: 3, fold: 3", "fold < folds must hold, but got fold=3, folds=3: the first is 0"),
        ("split_seed: 1", "split_seed=1 has no effect without test_fraction or folds"),
        ("folds: 3, test_split: test", "train_split and test_split name folders, and test_fraction or folds draw both"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    text = (
        f"name: s\nbaseline: {{task: {{dataset: {{name: folder/flat, {options}}}}}}}\n"
        "space: {arch.depth: [2, 4]}\ndesign: one_factor\n"
    )
    with pytest.raises(SpecError) as caught:
        load_sweep_text(text)
    assert message in " ".join(str(caught.value).split())


def test_a_design_does_not_vary_the_fold():
    """Each fold is another test set: their difference is none of variants."""
    text = (
        "name: s\nbaseline: {task: {dataset: {name: folder/flat, folds: 5}}}\n"
        "space: {task.dataset.fold: [0, 1]}\ndesign: one_factor\n"
    )
    with pytest.raises(SpecError) as caught:
        load_sweep_text(text)
    assert "is measured on another test set than the baseline" in " ".join(str(caught.value).split())
