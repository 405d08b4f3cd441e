"""Contract of every built-in image source, and of their registry."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import runners.data
from archsweep.testing import check_dataset
from runners.data import SOURCES, describe_dataset, load_data
from runners.data.dataset_info import Images
from search_space.schema.datasets import GrainsSpec
from search_space.schema.resources import Resources
from search_space.schema.trial import ClassificationSpec, DigitsSpec, ShapesSpec, TrainSpec

BUILTIN = [
    DigitsSpec(),
    ShapesSpec(img_size=8, num_train=40, num_test=24, in_chans=1),
    GrainsSpec(img_size=16, num_train=40, num_test=24),
]
CPU = torch.device("cpu")


def _load(dataset, img_size=(8, 8), seed=0, val_fraction=0.25, **train):
    task = ClassificationSpec(dataset=dataset, val_fraction=val_fraction)
    train = TrainSpec(**{"batch_size": 8, "recalibrate_bn": 2, **train})
    return load_data(task, train, Resources(), CPU, img_size=img_size, seed=seed)


def test_every_source_file_is_in_the_table():
    folder = Path(runners.data.__file__).parent
    with_describe = {
        ".".join(["runners.data", *path.relative_to(folder).with_suffix("").parts])
        for path in folder.rglob("*.py")
        if "\ndef describe(" in path.read_text() or (path.name == "sources.py" and path.parent != folder)
    }
    assert with_describe == {source.describe.__module__ for source in SOURCES.values()}


@pytest.mark.parametrize("dataset", BUILTIN, ids=lambda dataset: dataset.name)
class TestEverySource:
    def test_its_splits_keep_the_contract_of_datasets(self, dataset):
        source, resources = SOURCES[dataset.name], Resources()
        found = source.describe(dataset, resources, 1 << 30)

        def opened(split: str, data_dir: Path | None):
            splits = source.load(dataset, resources, found, found.img_size)
            images = splits[split == "test"]
            assert isinstance(images, Images)
            # Copies: with a view of all images, each of them would be pickled with all others.
            return [
                (pixels.clone(), label) for pixels, label in zip(images.pixels, images.labels.tolist(), strict=True)
            ]

        check_dataset(opened, in_chans=found.in_chans, most=20)

    def test_description_agrees_with_what_is_loaded(self, dataset):
        info = describe_dataset(ClassificationSpec(dataset=dataset, val_fraction=0.25), Resources())
        data = _load(dataset, img_size=info.img_size)
        assert data.info == info
        assert data.val is not None
        assert sum(len(labels) for _, labels in data.val) == info.num_val
        assert sum(len(labels) for _, labels in data.test) == info.num_test
        images, labels = next(data.train.epoch(1))
        assert images.shape == (8, info.in_chans, *info.img_size)
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
        assert int(labels.max()) < info.num_classes

    def test_validation_split_is_the_same_for_all_seeds(self, dataset):
        first, second = (_load(dataset, seed=seed) for seed in (0, 1))
        assert first.val is not None
        assert second.val is not None
        for (images, labels), (others, other_labels) in zip(first.val, second.val, strict=True):
            assert torch.equal(images, others)
            assert torch.equal(labels, other_labels)

    def test_order_of_training_differs_between_seeds(self, dataset):
        first, second = (next(_load(dataset, seed=seed).train.epoch(1))[0] for seed in (0, 1))
        assert not torch.equal(first, second)

    def test_images_come_in_the_models_size(self, dataset):
        data = _load(dataset, img_size=(16, 12))
        for batches in (data.train.epoch(1), data.calibration, data.val, data.test):
            images, _ = next(iter(batches))
            assert images.shape[-2:] == (16, 12)

    def test_calibration_images_are_training_images_without_augmentation(self, dataset):
        data = _load(dataset, val_fraction=0.0, batch_size=8)
        plain = {image.numpy().tobytes() for images, _ in data.train.epoch(1) for image in images}
        augmented = _load(dataset, val_fraction=0.0, batch_size=8, hflip=1.0, crop_padding=2)
        used = [image.numpy().tobytes() for images, _ in augmented.calibration for image in images]
        assert len(used) == 16
        # All but the images that fill no batch are in `plain`.
        assert len(set(used) - plain) <= data.info.num_train % 8


def test_fewer_images_than_a_batch_make_one_batch():
    dataset = ShapesSpec(img_size=8, num_train=13, num_test=8)
    assert [len(labels) for _, labels in _load(dataset, val_fraction=0.0, batch_size=64).train.epoch(1)] == [13]


def test_fewer_images_than_a_batch_make_one_even_batch_for_mixup():
    dataset = ShapesSpec(img_size=8, num_train=13, num_test=8)
    data = _load(dataset, val_fraction=0.0, batch_size=64, mixup=0.2)
    assert [len(labels) for _, labels in data.train.epoch(1)] == [12]
