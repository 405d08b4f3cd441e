"""Augmentation of training images: timm's own transform at equal seeds, for images of any storage and size."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform
from timm.data.distributed_sampler import RepeatAugSampler
from timm.data.random_erasing import RandomErasing

from runners.data import DataInfo, Images, load_data
from runners.data.augmentation.auto_augment import reason_against_aa, with_black_posterising
from runners.data.augmentation.pipeline import PilImages, Whole, training_transform
from runners.data.augmentation.repeats import epoch_order
from runners.data.random_streams import stream_seed
from runners.data.tensor_loader import TensorTrainBatches
from runners.training.process_group import ProcessGroup
from search_space.schema.resources import Resources
from search_space.schema.trial import ClassificationSpec, ShapesSpec, TimmDatasetSpec, TrainSpec

CPU = torch.device("cpu")
INFO = DataInfo("toy", (24, 20), 3, 2, 10, 0, 10, mean=(0.5, 0.4, 0.3), std=(0.25, 0.2, 0.3))
STRONG = {
    "hflip": 0.5, "vflip": 0.3, "aa": "rand-m9-n3-mstd0.5-inc1", "grayscale_prob": 0.3, "gaussian_blur_prob": 0.3,
    "reprob": 0.6, "remode": "pixel", "recount": 2,
}  # fmt: skip
JITTERED = {"color_jitter": (0.4, 0.3, 0.2, 0.1), "color_jitter_prob": 0.7, "train_crop_mode": "rkrr"}


def _photo(size=(24, 20), seed=0) -> Image.Image:
    return Image.fromarray(np.random.RandomState(seed).randint(0, 256, (*size, 3)).astype(np.uint8))


def _seed(number: int) -> None:
    random.seed(number), np.random.seed(number), torch.manual_seed(number)


@pytest.mark.parametrize(
    ("train", "of_timm"),
    [
        ({}, {}),
        ({"scale": (0.3, 0.6), "ratio": (0.5, 2.0), "train_interpolation": "bicubic"},
         {"scale": (0.3, 0.6), "ratio": (0.5, 2.0), "interpolation": "bicubic"}),
        (STRONG,
         {"hflip": 0.5, "vflip": 0.3, "auto_augment": "rand-m9-n3-mstd0.5-inc1", "grayscale_prob": 0.3,
          "gaussian_blur_prob": 0.3, "re_prob": 0.6, "re_mode": "pixel", "re_count": 2}),
        (JITTERED,
         {"color_jitter": (0.4, 0.3, 0.2, 0.1), "color_jitter_prob": 0.7, "train_crop_mode": "rkrr"}),
        ({"no_aug": True}, {"no_aug": True}),
        ({"aa": "augmix-m5-w2", "hflip": 1.0}, {"auto_augment": "augmix-m5-w2", "hflip": 1.0}),
    ],
)  # fmt: skip
def test_images_are_augmented_as_timm_augments_them(train, of_timm):
    """Equal generators give equal bits; timm's own defaults for jitter and flips are not ours."""
    ours = training_transform(TrainSpec(**train), INFO, (16, 14))
    defaults = {"hflip": 0.0, "color_jitter": 0.0, "mean": INFO.mean, "std": INFO.std}
    theirs = with_black_posterising(create_transform((3, 16, 14), is_training=True, **{**defaults, **of_timm}))
    for number in range(20):
        _seed(number)
        expected = theirs(_photo())
        _seed(number)
        assert torch.equal(ours(_photo()), expected)


def test_whole_images_lose_no_pixel():
    """Without a random crop an image of the input's size comes through with all of its pixels."""
    for size in ((24, 20), (7, 31)):
        transform = training_transform(TrainSpec(), INFO, size, whole=Whole(size))
        pixels = np.asarray(_photo(size)) / 255
        expected = (pixels - np.array(INFO.mean)) / np.array(INFO.std)
        np.testing.assert_allclose(transform(_photo(size)).permute(1, 2, 0), expected, atol=1e-5)


def test_images_in_memory_keep_their_pixels_as_pillow_images():
    pixels = torch.randint(256, (3, 3, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for images in (Images(pixels, torch.arange(3)), Images(pixels.float() / 255, torch.arange(3))):
        found = PilImages(images)
        assert found.size == (6, 5)
        image, label = found[2]
        assert label == 2
        np.testing.assert_array_equal(np.asarray(image), pixels[2].permute(1, 2, 0))
    grey, _ = PilImages(Images(pixels[:, :1], torch.arange(3)))[0]
    assert grey.mode == "L"


def test_posterising_to_no_bits_is_black_as_in_pillow_before_13():
    """Published recipes reach it: magnitude 10 of `inc1` keeps 4 - 10 / 10 * 4 = 0 bits."""
    assert reason_against_aa("rand-m10-p1.0-inc1", 3) == ""
    transform = with_black_posterising(create_transform(24, is_training=True, auto_augment="rand-m10-n1-p1.0-inc1"))
    (operation,) = [each for each in transform.transforms[2].ops if each.name == "PosterizeIncreasing"]
    assert np.asarray(operation(_photo())).max() == 0
    weak = with_black_posterising(create_transform(24, is_training=True, auto_augment="rand-m5-n1-p1.0-inc1"))
    (operation,) = [each for each in weak.transforms[2].ops if each.name == "PosterizeIncreasing"]
    np.testing.assert_array_equal(np.asarray(operation(_photo())), np.asarray(_photo()) & 0b11000000)


@pytest.mark.parametrize("repeats", [2, 3])
def test_order_with_repeats_is_that_of_timms_sampler(repeats):
    sampler = RepeatAugSampler(range(10), num_replicas=1, rank=0, num_repeats=repeats, selected_round=0)
    sampler.set_epoch(stream_seed(5, "order", 2))
    assert epoch_order(10, seed=5, epoch=2, repeats=repeats).tolist() == list(sampler)


def _folder(root, side: int = 16) -> TimmDatasetSpec:
    for split, count in (("train", 12), ("validation", 4)):
        for index in range(count):
            folder = root / "toy" / split / ("cat" if index % 2 else "dog")
            folder.mkdir(parents=True, exist_ok=True)
            _photo((side, side), seed=index + (100 if split == "train" else 0)).save(folder / f"{index:02}.png")
    return TimmDatasetSpec(name="folder/toy")


@pytest.fixture(params=["memory", "loader", "drawn", "grey"])
def load(request, tmp_path):
    """Function from options of `train` to batches of 6 of 12 images of a storage."""
    if request.param in ("drawn", "grey"):
        dataset = ShapesSpec(img_size=16, num_train=12, num_test=4, in_chans=1 if request.param == "grey" else 3)
    else:
        dataset = _folder(tmp_path)
    memory = 0 if request.param == "loader" else 2**30

    def load_(*, num_workers=0, share=None, seed=3, **train):
        task = ClassificationSpec(dataset=dataset)
        resources = Resources(data_dir=str(tmp_path), num_workers=num_workers)
        options = {"img_size": (16, 16), "seed": seed, "share": share, "in_memory_bytes": memory}
        return load_data(task, TrainSpec(batch_size=6, **train), resources, CPU, **options)

    return load_


KINDS = [
    {"scale": (0.2, 1.0), "aa": "rand-m9-mstd0.5-inc1", "reprob": 0.5, "remode": "pixel", "vflip": 0.5},
    {"color_jitter": 0.4, "gaussian_blur_prob": 0.5, "aug_repeats": 3},
]


def _images(data, epoch=1):
    return torch.cat([images for images, _ in data.train.epoch(epoch)])


@pytest.mark.parametrize("train", KINDS)
def test_augmentation_follows_from_seed_epoch_and_image_alone(load, train):
    first = _images(load(**train))
    assert torch.isfinite(first).all()
    torch.rand(5), np.random.rand(3), random.random()
    data = load(**train)
    other = _images(data, 2)
    assert torch.equal(_images(data), first)
    assert not torch.equal(other, first)
    assert not torch.equal(_images(load(seed=4, **train)), first)


@pytest.mark.slow
@pytest.mark.parametrize("train", KINDS)
def test_number_of_workers_changes_no_pixel(load, train):
    assert torch.equal(_images(load(num_workers=2, **train)), _images(load(**train)))


@pytest.mark.parametrize("train", [*KINDS, {"aug_repeats": 2, "vflip": 0.5}])
def test_processes_share_the_batches_of_one(load, train):
    whole, processes = load(**train), [ProcessGroup(rank, 2) for rank in range(2)]
    for one in processes:
        batches = zip(whole.train.epoch(1), load(share=one.shard_of, **train).train.epoch(1), strict=True)
        for (images, labels), (ours, of_ours) in batches:
            index = one.shard_of(6)
            assert torch.equal(ours, images[index])
            assert torch.equal(of_ours, labels[index])


def test_copies_of_an_image_are_augmented_apart(load):
    """12 images in three copies each: an epoch of 12 has 4 images, of one label each, in 12 versions."""
    data = load(aug_repeats=3, hflip=0.5, reprob=1.0, remode="pixel")
    found = list(data.train.epoch(1))
    labels = torch.cat([labels for _, labels in found]).view(4, 3)
    assert (labels == labels[:, :1]).all()
    assert len({image.numpy().tobytes() for images, _ in found for image in images}) == 12


def test_evaluation_is_not_augmented(load):
    plain, strong = load(), load(**KINDS[0])
    for name in ("test", "calibration"):
        for (one, _), (other, _) in zip(getattr(plain, name), getattr(strong, name), strict=True):
            assert torch.equal(one, other)


def test_a_random_crop_is_of_the_stored_image_however_small_the_input_is(tmp_path):
    """Photographs of 64 pixels and a model of 8: a crop of a hundredth of the area is 6 pixels of the photograph, not
    one of the 8 that an image in memory has. Neighbours of noise differ, those of one enlarged pixel do not."""
    dataset = _folder(tmp_path, side=64)
    train = TrainSpec(batch_size=6, scale=(0.01, 0.012), ratio=(1.0, 1.0))
    data = load_data(
        ClassificationSpec(dataset=dataset, val_fraction=1 / 3), train, Resources(data_dir=str(tmp_path)), CPU,
        img_size=(8, 8), seed=0,
    )  # fmt: skip
    assert (data.info.storage, data.info.num_train, data.info.num_val) == ("memory", 8, 4)
    images = _images(data)
    assert len(images) == 6
    assert images.std(dim=(-1, -2)).min() > 0.5


@pytest.mark.parametrize("mode", ["const", "rand", "pixel"])
def test_erasing_in_memory_has_the_distribution_of_timms_loader(mode):
    """Share of erased pixels of 512 images in memory, augmented as batches, and of 512 erased one by one; its standard
    error is about 0.005 each."""
    images = Images(torch.full((512, 1, 16, 16), 0.9), torch.zeros(512, dtype=torch.long))
    info = DataInfo("toy", (16, 16), 1, 2, 512, 0, 1, mean=(0.5,), std=(0.25,))
    train = {"reprob": 0.7, "remode": mode, "recount": 3}
    batches = TensorTrainBatches(images, info=info, img_size=(16, 16), batch_size=512, device=CPU, seed=0, **train)
    ((found, _),) = batches.epoch(1)
    erase = RandomErasing(0.7, mode=mode, max_count=3, device="cpu")
    _seed(1)
    expected = torch.stack([erase(torch.full((1, 16, 16), 1.6)) for _ in range(512)])
    shares = [(each - 1.6).abs().gt(1e-5).float().mean().item() for each in (found, expected)]
    assert shares[0] == pytest.approx(shares[1], abs=0.025)
    assert 0.05 < shares[1] < 0.2
    erased = found[(found - 1.6).abs() > 1e-5]
    assert (erased.unique().numel() == 1) == (mode == "const")


def test_vertical_flips_turn_the_marked_images_upside_down():
    """400 images that are bright above: with a chance of 1/4 about 100 are bright below (deviation 9)."""
    pixels = torch.zeros(400, 1, 4, 4)
    pixels[:, :, :2] = 1
    info = DataInfo("toy", (4, 4), 1, 2, 400, 0, 1, mean=(0.0,), std=(1.0,))
    options = {"info": info, "img_size": (4, 4), "batch_size": 400, "device": CPU, "seed": 0}
    ((found, _),) = TensorTrainBatches(Images(pixels, torch.zeros(400)), vflip=0.25, **options).epoch(1)
    below = found[:, 0, 2:].mean(dim=(-1, -2))
    assert torch.equal(found[below == 0], pixels[: int((below == 0).sum())])
    assert set(below.tolist()) == {0.0, 1.0}
    assert 70 <= int(below.sum()) <= 130
