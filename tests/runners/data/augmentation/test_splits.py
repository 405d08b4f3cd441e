"""Splits of the augmentation (AugMix): those of timm's `AugMixDataset` at equal seeds, in every way images are read."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import AugMixDataset, create_transform
from torch.utils.data import Dataset

from runners.data import DataInfo, describe_dataset, load_data
from runners.data.augmentation.pipeline import training_transform
from search_space.schema.resources import Resources
from search_space.schema.trial import ClassificationSpec, ShapesSpec, TimmDatasetSpec, TrainSpec

CPU = torch.device("cpu")
INFO = DataInfo("toy", (24, 20), 3, 2, 10, 0, 10, mean=(0.5, 0.4, 0.3), std=(0.25, 0.2, 0.3))
ERASED = {"reprob": 1.0, "remode": "const"}


def photo(seed=0) -> Image.Image:
    return Image.fromarray(np.random.RandomState(seed).randint(1, 256, (24, 20, 3)).astype(np.uint8))


def seed_all(number: int) -> None:
    random.seed(number), np.random.seed(number), torch.manual_seed(number)


class Photos(Dataset):
    """What `AugMixDataset` wraps: a dataset that applies its `transform`."""

    transform = None

    def __getitem__(self, index):
        return self.transform(photo(index)), index

    def __len__(self):
        return 4


@pytest.mark.parametrize(
    ("train", "of_timm"),
    [
        ({"aa": "augmix-m3-w2", "hflip": 0.5}, {"auto_augment": "augmix-m3-w2", "hflip": 0.5}),
        ({"color_jitter": 0.4, "reprob": 0.6}, {"color_jitter": 0.4, "re_prob": 0.6}),
    ],
)
def test_splits_are_those_of_timm(train, of_timm):
    """Equal generators give equal bits."""
    ours = training_transform(TrainSpec(aug_splits=3, **train), INFO, (16, 14))
    defaults = {"hflip": 0.0, "color_jitter": 0.0, "mean": INFO.mean, "std": INFO.std}
    theirs = AugMixDataset(Photos(), num_splits=3)
    theirs.transform = create_transform((3, 16, 14), is_training=True, separate=True, **{**defaults, **of_timm})
    for number in range(6):
        seed_all(number)
        expected, _ = theirs[number % 4]
        seed_all(number)
        found = ours(photo(number % 4))
        assert len(found) == 3
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
        assert not torch.equal(found[1], found[2])


def test_resplit_leaves_the_clean_images_whole():
    """Erased pixels are zero after normalisation, which no pixel of these images is."""
    options = {"aug_splits": 2, "color_jitter": 0.1, **ERASED}
    for resplit, counts in ((False, (True, True)), (True, (False, True))):
        seed_all(0)
        found = training_transform(TrainSpec(resplit=resplit, **options), INFO, (16, 14))(photo())
        assert tuple(bool((split == 0).all(dim=0).any()) for split in found) == counts


def pictures(folder) -> None:
    for split in ("train", "val"):
        for number in range(8):
            path = folder / "pictures" / split / str(number % 2) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            photo(number).save(path)


@pytest.mark.parametrize("way", ["drawn", "memory", "loader"])
def test_a_batch_has_all_first_splits_first_and_a_label_for_each_image(way, tmp_path):
    """The same for drawn images, files in memory and files of timm's loader; a shard has the splits of its images."""
    pictures(tmp_path)
    dataset = (
        ShapesSpec(img_size=16, num_train=8, num_test=4)
        if way == "drawn"
        else TimmDatasetSpec(name="folder/pictures", num_classes=2, test_split="val")
    )
    task, resources = ClassificationSpec(dataset=dataset), Resources(data_dir=str(tmp_path))
    train = TrainSpec(aug_splits=3, aa="augmix-m3", batch_size=4)
    memory = {"in_memory_bytes": 0} if way == "loader" else {}
    info = describe_dataset(task, resources, **memory)
    assert info.storage == ("loader" if way == "loader" else "memory")
    shared = {"img_size": (16, 16), "seed": 0, "info": info, **memory}
    batches = list(load_data(task, train, resources, CPU, **shared).train.epoch(1))
    assert [(tuple(images.shape), tuple(labels.shape)) for images, labels in batches] == [((12, 3, 16, 16), (4,))] * 2
    clean = load_data(task, TrainSpec(aug_splits=2, aa="augmix-m3", batch_size=4), resources, CPU, **shared)
    for (images, labels), (twice, same) in zip(batches, clean.train.epoch(1), strict=True):
        assert torch.equal(images[:8], twice)  # a third split changes neither of the two before it
        assert torch.equal(labels, same)
    shard = load_data(task, train, resources, CPU, share=lambda size: torch.arange(size)[1::2], **shared)
    for (images, labels), (part, own) in zip(batches, shard.train.epoch(1), strict=True):
        picked = torch.tensor([1, 3, 5, 7, 9, 11])
        assert torch.equal(images[picked], part)
        assert torch.equal(labels[1::2], own)
