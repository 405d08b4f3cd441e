"""Splits by their names: two different sets of images, or refused with what there is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from runners.data import describe_dataset, load_data
from runners.data.images import opening
from runners.data.readers.split_folders import SplitNotFound
from runners.data.readers.torchvision_sets import part_of
from search_space import Resources, SpecError
from search_space.schema.trial import ClassificationSpec, TimmDatasetSpec, TrainSpec

from .conftest import KINDS, noise, png, splits


def describe(root: Path, name: str, *, download: bool = False, **options: Any):
    dataset = TimmDatasetSpec.model_validate({"name": name, **options})
    return describe_dataset(ClassificationSpec(dataset=dataset), Resources(data_dir=str(root), download=download))


def refusal(root: Path, name: str, **options: Any) -> str:
    with pytest.raises(SpecError) as caught:
        describe(root, name, **options)
    (problem,) = caught.value.problems
    return f"{problem.message}\n{problem.hint}".replace(str(root), "ROOT").removeprefix(f"dataset {name!r}: ")


@pytest.mark.parametrize("name", ["folder/toy", "torch/folder"])
class TestFolders:
    @pytest.fixture
    def root(self, png_folder, name) -> Path:
        """`test/` instead of `validation/`."""
        toy = png_folder / "toy"
        (toy / "validation").rename(toy / "test")
        return png_folder if name == "folder/toy" else toy

    def test_named_folders_are_read(self, root, name):
        found = describe(root, name, test_split="test")
        assert (found.num_train, found.num_test) == (12, 4)

    def test_synonyms_of_timm_are_read(self, root, name):
        toy = root / "toy" if name == "folder/toy" else root
        (toy / "train").rename(toy / "training")
        (toy / "test").rename(toy / "eval")
        found = describe(root, name)
        assert (found.num_train, found.num_test) == (12, 4)

    def test_a_folder_that_is_not_there_is_not_the_root(self, root, name):
        """The test split held all images, those of training included."""
        below = "ROOT/toy" if name == "folder/toy" else "ROOT"
        assert refusal(root, name) == (
            f"there is no folder for the split 'validation' below {below}, only test, train\n"
            "name the folders with train_split and test_split"
        )

    def test_another_spelling_is_named(self, root, name):
        assert refusal(root, name, train_split="Train", test_split="test").endswith(
            "\nDid you mean 'train'? name the folders with train_split and test_split"
        )

    @pytest.mark.parametrize("test_split", [".", "train/..", "train/cat/../../"])
    def test_a_folder_around_the_other_is_refused(self, root, name, test_split):
        text = refusal(root, name, test_split=test_split)
        assert "are folders of which the first is inside the second: training and testing on the same images" in text

    def test_a_folder_inside_the_other_is_refused(self, root, name):
        toy = root / "toy" if name == "folder/toy" else root
        shutil.move(toy / "test", toy / "train" / "test")
        with pytest.raises(SpecError, match="of which the second is inside the first"):
            describe(root, name, test_split="train/test")

    def test_a_link_to_the_other_is_refused(self, root, name):
        toy = root / "toy" if name == "folder/toy" else root
        shutil.rmtree(toy / "test")
        (toy / "test").symlink_to(toy / "train")
        with pytest.raises(SpecError, match="are the same folder"):
            describe(root, name, test_split="test")

    def test_a_slice_is_not_the_whole(self, root, name):
        assert "'train[:50%]' is a slice" in refusal(root, name, train_split="train[:50%]", test_split="test")


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "mnist", "kmnist", "fashion_mnist", "qmnist"])
def test_names_of_the_two_halves(name):
    assert [part_of(name, split) for split in ("train", "training")] == ["train", "train"]
    assert {part_of(name, split) for split in ("test", "val", "valid", "validation", "eval")} == {"test"}
    for other in ("Train", "train[:50%]", "t", "", "train "):
        with pytest.raises(SplitNotFound):
            part_of(name, other)


def test_names_of_the_other_sets_are_those_of_torchvision():
    assert [part_of("imagenet", split) for split in ("training", "validation", "val")] == ["train", "val", "val"]
    assert [part_of("places365", split) for split in ("train", "train-challenge")] == [
        "train-standard",
        "train-challenge",
    ]
    assert [part_of("inat", split) for split in ("train", "genus/eval", "2021_train_mini")] == [
        "2021_train",
        "genus/2021_valid",
        "2021_train_mini",
    ]


class TestTorch:
    @pytest.fixture
    def root(self, tmp_path) -> Path:
        KINDS["torch/mnist"].write(tmp_path, ("a", "b"), *splits(6, 4))
        return tmp_path

    def test_two_names_of_one_half_are_refused(self, root):
        assert refusal(root, "torch/mnist", in_chans=1, test_split="training") == (
            "the splits 'train' and 'training' both mean the part 'train': training and testing on the same images\n"
            "name two different splits with train_split and test_split"
        )

    def test_an_unknown_name_is_not_the_test_set(self, root):
        assert refusal(root, "torch/mnist", in_chans=1, train_split="Train") == (
            "torch/mnist has no split 'Train'\n"
            "known: eval, evaluation, test, train, training, val, valid, validation.  Did you mean 'train'?"
        )

    def test_the_halves_may_be_swapped(self, root):
        found = describe(root, "torch/mnist", in_chans=1, train_split="test", test_split="train")
        assert (found.num_train, found.num_test) == (4, 6)


def test_labels_of_inaturalist_are_those_of_the_level_that_the_split_names(tmp_path):
    """Two species of one genus: two classes by species, one label by genus."""
    species = "{:05}_Animalia_Chordata_Aves_Order_Family_Genus{}_{}"
    for split, number in (("2021_train", 3), ("2021_valid", 2)):
        for index, (genus, name) in enumerate((("A", "x"), ("A", "y"), ("B", "z"))):
            folder = tmp_path / split / species.format(index, genus, name)
            folder.mkdir(parents=True)
            for at in range(number):
                (folder / f"{at}.jpg").write_bytes(png(noise(hash((split, index, at)) % 1000)))
    by_species = describe(tmp_path, "torch/inat")
    assert (by_species.num_classes, by_species.train_counts, by_species.test_counts) == (3, (3, 3, 3), (2, 2, 2))
    by_genus = describe(tmp_path, "torch/inaturalist", train_split="genus/train", test_split="genus/val")
    assert (by_genus.num_classes, by_genus.train_counts) == (2, (6, 3))


def test_classes_of_imagenet_are_counted_once_for_all_their_names(tmp_path):
    KINDS["torch/imagenet"].write(tmp_path, ("n1", "n2"), *splits(6, 4))
    found = describe(tmp_path, "torch/imagenet")
    assert (found.num_classes, found.num_train, found.num_test) == (2, 6, 4)


def test_a_tar_file_can_be_held_out_of(tmp_path):
    """Its labels were taken for file names: a TypeError in memory, and with `val_fraction`."""
    kind = KINDS["folder/toy.tar"]
    kind.write(tmp_path, ("ant", "bee"), *splits(8, 4))
    task = ClassificationSpec(dataset=TimmDatasetSpec.model_validate(kind.options), val_fraction=0.25)
    train, resources = TrainSpec(batch_size=4), Resources(data_dir=str(tmp_path))
    for limit in (0, 1 << 30):
        shape = {"img_size": (16, 16), "seed": 0, "in_memory_bytes": limit}
        data = load_data(task, train, resources, torch.device("cpu"), **shape)
        assert [labels.tolist() for _, labels in data.val] == [[0, 1]]
        assert np.concatenate([labels.numpy() for _, labels in data.test]).tolist() == [0, 0, 1, 1]


def test_a_single_tar_file_is_not_both_splits(tmp_path):
    KINDS["folder/toy.tar"].write(tmp_path, ("ant", "bee"), *splits())
    (tmp_path / "toy/train.tar").rename(tmp_path / "one.tar")
    assert "are the same folder" in refusal(tmp_path, "folder/one.tar")


class TestPlaces:
    def test_the_name_of_shards_is_their_folder(self, tmp_path):
        """It was ignored: a typo read the same data."""
        KINDS["wds/toy"].write(tmp_path, ("a", "b"), *splits())
        assert describe(tmp_path, "wds/toy", num_classes=2).num_train == 6
        assert refusal(tmp_path, "wds/tyo", num_classes=2) == (
            "there is no ROOT/tyo, and no shard in ROOT\n"
            "put _info.json and the shards there, or change resources.data_dir"
        )

    @pytest.mark.parametrize(
        ("prefix", "package", "install"),
        [
            ("hfds", "datasets", "'archsweep[hub]'"),
            ("hfids", "datasets", "'archsweep[hub]'"),
            ("tfds", "tensorflow_datasets", "tensorflow-datasets tensorflow"),
        ],
    )
    def test_a_missing_package_is_named(self, tmp_path, monkeypatch, prefix, package, install):
        monkeypatch.setattr(opening, "find_spec", lambda name: None)
        (tmp_path / "toy").mkdir()
        assert refusal(tmp_path, f"{prefix}/toy", num_classes=2) == (
            f"needs the package '{package}', which is not installed\npip install {install}"
        )

    def test_shards_need_a_package_only_where_they_are_read_over_a_network(self, tmp_path, monkeypatch):
        monkeypatch.setattr(opening, "find_spec", lambda name: None)
        KINDS["wds/toy"].write(tmp_path, ("a", "b"), *splits())
        assert describe(tmp_path, "wds/toy", num_classes=2).num_test == 4
        address = {"train_split": "https://host.invalid/a.tar|8", "test_split": "https://host.invalid/b.tar|8"}
        assert refusal(tmp_path, "wds/toy", download=True, num_classes=2, **address) == (
            "needs the package 'webdataset', which is not installed\npip install 'archsweep[shards]'"
        )

    @pytest.mark.parametrize("option", ["input_key", "target_key"])
    @pytest.mark.parametrize("name", ["folder/toy", "torch/cifar10"])
    def test_columns_have_no_effect_elsewhere(self, tmp_path, name, option):
        assert "here they have no effect" in refusal(tmp_path, name, **{option: "img"})
