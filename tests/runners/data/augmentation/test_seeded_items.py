"""Items are augmented as if the generators were lent for each of them alone, also where a dataset draws from them."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

from runners.data import DataInfo
from runners.data.augmentation.pipeline import training_transform
from runners.data.augmentation.repeats import epoch_order
from runners.data.augmentation.seeded_items import SeededItems
from runners.data.dense.pair_loader import SeededPairs
from runners.data.images.timm_loader import LoaderTrainBatches
from runners.data.random_streams import global_streams, stream_seed
from search_space.schema.trial import TrainSpec

CPU = torch.device("cpu")
INFO = DataInfo("toy", (24, 20), 3, 2, 40, 0, 10, mean=(0.5, 0.4, 0.3), std=(0.25, 0.2, 0.3), storage="loader")
SEED, EPOCH, BATCH = 5, 2, 20  # a batch of more items than are read at once


class Photos(Dataset):
    """40 images of noise; `draws`: each reading draws from the global generators, as a plug-in's may."""

    def __init__(self, draws: bool = False) -> None:
        self._draws = draws

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        if self._draws:
            index = int(random.random() * 1000 + np.random.rand() * 1000 + torch.rand(()).item() * 1000)
        return Image.fromarray(np.random.RandomState(index).randint(0, 256, (24, 20, 3)).astype(np.uint8)), index % 2


FAMILIES = {
    "crop and flips": {"hflip": 0.5, "vflip": 0.5, "scale": (0.2, 1.0)},
    "RandAugment": {"aa": "rand-m9-n3-mstd0.5-inc1"},
    "AutoAugment": {"aa": "original-mstd0.5"},
    "AugMix": {"aa": "augmix-m5-w2"},
    "random erasing": {"reprob": 0.7, "remode": "pixel", "recount": 3},
    "black erasing": {"reprob": 0.7, "aa": "rand-m5", "vflip": 0.5},
    "colours": {"color_jitter": 0.4, "grayscale_prob": 0.3, "gaussian_blur_prob": 0.5},
    "repeats": {"aug_repeats": 3, "hflip": 0.5, "reprob": 0.5, "remode": "rand"},
    "splits": {"aug_splits": 3, "aa": "augmix-m3"},
}


def _batches(train: TrainSpec, num_workers: int = 0, draws: bool = False) -> LoaderTrainBatches:
    shape = {"info": INFO, "img_size": (16, 14), "batch_size": BATCH, "device": CPU, "seed": SEED}
    return LoaderTrainBatches(Photos(draws), train=train, num_workers=num_workers, **shape)


def _one_by_one(train: TrainSpec, draws: bool = False) -> torch.Tensor:
    """The epoch, each image read with the generators as they are, and augmented with them lent for it alone."""
    photos, transform = Photos(draws), training_transform(train, INFO, (16, 14))
    found = []
    order = epoch_order(40, seed=SEED, epoch=EPOCH, repeats=train.aug_repeats).tolist()
    for place, index in enumerate(order):
        image, _ = photos[index]
        names = (index, place % train.aug_repeats) if train.aug_repeats else (index,)
        with global_streams(stream_seed(SEED, "augmentation", EPOCH, *names)):
            made = transform(image)
        found.append(torch.stack(made) if train.aug_splits else made)
    if not train.aug_splits:
        return torch.stack(found)
    # All first splits of a batch first.
    return torch.cat([torch.stack(found[at : at + BATCH]).transpose(0, 1).flatten(0, 1) for at in (0, BATCH)])


def _states() -> bytes:
    return repr((random.getstate(), np.random.get_state(), torch.get_rng_state().tolist())).encode()


def _seed_all(number: int) -> None:
    random.seed(number), np.random.seed(number), torch.manual_seed(number)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_batch_is_augmented_as_its_images_one_by_one(family):
    train = TrainSpec(**FAMILIES[family])
    _seed_all(1)
    before = _states()
    found = torch.cat([images for images, _ in _batches(train).epoch(EPOCH)])
    assert _states() == before
    assert torch.equal(found, _one_by_one(train))


@pytest.mark.parametrize(
    "family",
    [
        "RandAugment",
        *(pytest.param(each, marks=pytest.mark.slow) for each in sorted(FAMILIES) if each != "RandAugment"),
    ],
)
def test_two_loader_workers_augment_as_none(family):
    train = TrainSpec(**FAMILIES[family])
    found = torch.cat([images for images, _ in _batches(train, num_workers=2).epoch(EPOCH)])
    assert torch.equal(found, _one_by_one(train))


def test_a_dataset_that_draws_has_the_generators_of_the_process():
    """Its images are those that it draws without any augmentation, and what is drawn afterwards is as well."""
    train = TrainSpec(**FAMILIES["RandAugment"])
    _seed_all(3)
    expected, after = _one_by_one(train, draws=True), _states()
    _seed_all(3)
    assert torch.equal(torch.cat([images for images, _ in _batches(train, draws=True).epoch(EPOCH)]), expected)
    assert _states() == after


class _Failing(SeededItems):
    """Items that are drawn; the one at 18 cannot be augmented."""

    def __len__(self) -> int:
        return 20

    def read(self, index: int) -> int:
        return index

    def augmented(self, item: int) -> float:
        drawn = random.random() + np.random.rand() + torch.rand(()).item()
        if item == 18:
            raise ValueError("cannot be augmented")
        return drawn


def test_an_augmentation_that_fails_leaves_the_generators_as_they_were():
    _seed_all(4)
    before = _states()
    with pytest.raises(ValueError, match="cannot be augmented"):
        _Failing(SEED).__getitems__(list(range(20)))
    assert _states() == before
    with pytest.raises(ValueError, match="cannot be augmented"):
        _Failing(SEED)[18]
    assert _states() == before


def test_an_item_is_the_same_alone_and_in_a_batch():
    items = _Failing(SEED)
    assert items.__getitems__(list(range(18))) == [items[index] for index in range(18)]
    items.epoch = 1
    assert items[0] != _Failing(SEED)[0]


def test_pairs_of_a_batch_are_transformed_as_one_by_one():
    class Numbers:
        def __len__(self) -> int:
            return 20

        def pair(self, index: int) -> tuple[int, int]:
            return index, index

    def transform(image: int, target: int) -> tuple[torch.Tensor, float]:
        return torch.rand(2) + image, random.random() + np.random.rand() + target

    pairs = SeededPairs(Numbers(), transform, SEED)
    for index, (image, target) in enumerate(pairs.__getitems__(list(range(20)))):
        with global_streams(stream_seed(SEED, "augmentation", 0, index)):
            expected, of_target = transform(index, index)
        assert torch.equal(image, expected)
        assert target == of_target
