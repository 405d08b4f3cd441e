"""Data of self-supervision: banks, validation split, shares of processes, folders of images of different sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from runners.data.dataset_info import Data, DataInfo
from runners.data.holdout import stratified_holdout
from runners.data.loading import IN_MEMORY_BYTES
from runners.data.views.loading import describe_views, load_views, multi_crop
from runners.training.process_group import ProcessGroup
from search_space.schema.datasets import DigitsSpec, GrainsSpec, TimmDatasetSpec
from search_space.schema.resources import Resources
from search_space.schema.task import SelfSupervisedSpec
from search_space.schema.trial import TrainSpec

CPU = torch.device("cpu")
GRAINS = GrainsSpec(img_size=16, num_train=21, num_test=10)
TOY = TimmDatasetSpec(name="folder/toy")


@pytest.fixture
def odd_sizes(tmp_path):
    """`toy/{train,validation}/{0,1}/`: 21 and 10 pictures, all of other sizes; the first pixel is the number."""
    random = np.random.RandomState(0)
    for split, count in (("train", 21), ("validation", 10)):
        for index in range(count):
            pixels = random.randint(0, 256, (20 + 3 * index, 50 - index, 3)).astype(np.uint8)
            path = tmp_path / "toy" / split / str(index % 2) / f"{index:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return tmp_path


def described(task, root=None, **options) -> DataInfo:
    resources = Resources(data_dir=None if root is None else str(root))
    return describe_views(task, resources, **{"in_memory_bytes": IN_MEMORY_BYTES, **options})


def loaded(dataset=GRAINS, root=None, *, share=None, seed=0, num_workers=0, batch_size=4, **options) -> Data:
    img_size = options.pop("img_size", (16, 16))
    task = SelfSupervisedSpec(**{"dataset": dataset, "local_crops": 2, "local_size": 8, **options})
    resources = Resources(data_dir=None if root is None else str(root), num_workers=num_workers)
    shape = {"img_size": img_size, "seed": seed, "share": share, "info": described(task, root)}
    return load_views(task, TrainSpec(batch_size=batch_size, recalibrate_bn=2), resources, CPU, **shape)


def in_bytes(image: torch.Tensor) -> bytes:
    return image.mul(255).round().to(torch.uint8).numpy().tobytes()


def gathered(batches) -> tuple[torch.Tensor, torch.Tensor]:
    images, targets = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(targets)


def test_training_batches_have_views_and_labels():
    crops, labels = next(loaded().train.epoch(1))
    assert [tuple(view.shape) for view in crops.views] == [(4, 3, 16, 16)] * 2 + [(4, 3, 8, 8)] * 2
    assert tuple(labels.shape) == (4,)


def test_sizes_follow_the_models_input():
    data = loaded(img_size=(14, 28), local_size=None)
    crops, _ = next(data.train.epoch(1))
    # 3/7 of the sides
    assert [tuple(view.shape[-2:]) for view in crops.views] == [(14, 28)] * 2 + [(6, 12)] * 2
    assert tuple(next(iter(data.test))[0].shape) == (4, 3, 14, 28)


def test_options_of_the_task_reach_the_views():
    task = SelfSupervisedSpec(
        local_crops=3, local_size=5, global_scale=(0.5, 0.9), local_scale=(0.1, 0.3), aspect=(0.9, 1.1),
        color_jitter=0.1, grayscale=0.15, blur=(0.25, 0.35, 0.45), solarize=0.55, channel_jitter=0.65,
        channel_shift=0.35,
    )  # fmt: skip
    crop = multi_crop(task, TrainSpec(hflip=0.75), (8, 9))
    assert vars(crop) == {
        "global_size": (8, 9), "local_size": (5, 5), "num_local": 3, "global_scale": (0.5, 0.9),
        "local_scale": (0.1, 0.3), "aspect": (0.9, 1.1), "hflip": 0.75, "color_jitter": 0.1, "grayscale": 0.15,
        "blur": (0.25, 0.35, 0.45), "solarize": 0.55, "channel_jitter": 0.65,
        "channel_shift": 0.35,
    }  # fmt: skip


def test_the_bank_has_every_training_image_once_before_the_test_images():
    """Targets: label, bank (0) or measured (1), position; labels of grains cycle through 8 classes."""
    data = loaded()
    images, targets = gathered(data.test)
    expected = [[index % 8, 0, index] for index in range(21)] + [[index % 8, 1, index] for index in range(10)]
    assert targets.tolist() == expected
    assert targets.dtype == torch.int64
    assert len(data.test) == len(list(data.test)) == 6 + 3
    tested, labels = gathered(data.samples)
    assert torch.equal(tested, images[21:])
    assert torch.equal(labels, targets[21:, 0])


def test_without_a_validation_split_there_are_no_validation_batches():
    assert loaded().val is None


def test_images_held_out_are_in_no_bank_and_in_no_training_batch():
    """Every image of grains is its own; those that are kept are the bank of both splits."""
    data, whole = loaded(val_fraction=1 / 3), loaded()
    assert (data.info.num_train, data.info.num_val, data.info.num_test) == (14, 7, 10)
    kept, held_out = stratified_holdout(np.arange(21) % 8, 1 / 3, seed=1)
    every, _ = gathered(whole.test)
    for batches, rest in ((data.val, every[held_out]), (data.test, every[21:])):
        images, targets = gathered(batches)
        assert torch.equal(images, torch.cat([every[kept], rest]))
        assert targets[:, 1].tolist() == [0] * 14 + [1] * len(rest)
    assert len(data.train) == 14 // 4
    calibrated, _ = gathered(data.calibration)
    rows = {image.numpy().tobytes() for image in every[kept]}
    assert len(calibrated) == 8
    assert {image.numpy().tobytes() for image in calibrated} <= rows


@pytest.mark.parametrize(("batch_size", "sizes"), [(20, [20]), (10, [10, 10]), (7, [7, 7]), (1, [2])])
def test_no_batch_of_calibration_has_one_image(batch_size, sizes):
    """Of 21 images, two batches are asked for: 21, 20, 14 and 2 images. The variance of a single value is undefined."""
    assert [len(images) for images, _ in loaded(batch_size=batch_size).calibration] == sizes


@pytest.mark.parametrize("kind", ["memory", "files"])
def test_shares_of_every_batch_are_the_batch(kind, odd_sizes):
    """Of three processes; of the last three images of the bank, and the last four of the split, one has none."""
    data = (GRAINS, None) if kind == "memory" else (TOY, odd_sizes)
    whole = loaded(*data, batch_size=6)
    parts = [loaded(*data, batch_size=6, share=ProcessGroup(rank, 3).shard_of) for rank in range(3)]
    images, targets = gathered(whole.test)
    found = [gathered(part.test) for part in parts]
    rows = {tuple(target): image for part in found for image, target in zip(part[0], part[1].tolist(), strict=True)}
    assert sum(len(part[1]) for part in found) == len(rows) == len(targets) == 31
    assert all(torch.equal(rows[tuple(target)], image) for image, target in zip(images, targets.tolist(), strict=True))
    trained = [gathered((crops.global_views, labels) for crops, labels in part.train.epoch(1)) for part in parts]
    whole_trained = gathered((crops.global_views, labels) for crops, labels in whole.train.epoch(1))
    assert sum(len(labels) for _, labels in trained) == len(whole_trained[1]) == 18
    views = lambda found: {each.numpy().tobytes() for each in found}  # noqa: E731
    assert views(whole_trained[0]) == set().union(*(views(part[0]) for part in trained))


def test_a_folder_of_images_of_different_sizes_is_read_at_their_own(odd_sizes):
    info = described(SelfSupervisedSpec(dataset=TOY), odd_sizes)
    assert (info.storage, info.num_train, info.num_test, info.num_classes) == ("loader", 21, 10, 2)
    data = loaded(TOY, odd_sizes)
    crops, labels = next(data.train.epoch(1))
    assert [tuple(view.shape) for view in crops.views] == [(4, 3, 16, 16)] * 2 + [(4, 3, 8, 8)] * 2
    assert set(labels.tolist()) == {0, 1}
    _, targets = gathered(data.test)
    assert targets[:, 2].tolist() == [*range(21), *range(10)]
    assert targets[:21, 0].tolist() == [0] * 11 + [1] * 10  # folder by folder


def test_whole_images_are_cut_out_of_files(odd_sizes):
    """With boxes of the whole image, the view is the file itself, resized, and not a part of a common size."""
    options = {"global_scale": (1.0, 1.0), "aspect": (0.1, 10.0), "color_jitter": 0, "grayscale": 0, "solarize": 0}
    task = SelfSupervisedSpec(dataset=TOY, local_crops=0, blur=(0, 0, 0), **options)
    # A scale of 1 fits only the aspect of the image itself, so after ten tries its middle is taken: all of it.
    info, resources = described(task, odd_sizes), Resources(data_dir=str(odd_sizes))
    shape = {"img_size": (12, 12), "seed": 0, "share": None, "info": info}
    data = load_views(task, TrainSpec(batch_size=21, hflip=0), resources, CPU, **shape)
    ((crops, _),) = data.train.epoch(1)
    mean, std = (torch.tensor(values)[:, None, None] for values in (info.mean, info.std))
    found = {in_bytes(view * std + mean) for view in crops.global_views[:, 0]}
    paths = sorted((odd_sizes / "toy" / "train").rglob("*.png"))
    assert len(paths) == 21
    for path in paths:
        pixels = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None].float() / 255
        whole = torch.nn.functional.interpolate(pixels, (12, 12), mode="bicubic", antialias=True).clamp(0, 1)[0]
        assert in_bytes(whole) in found


def test_a_folder_of_images_of_one_size_is_held_in_memory(png_folder):
    task = SelfSupervisedSpec(dataset=TimmDatasetSpec(name="folder/toy"))
    assert described(task, png_folder).storage == "memory"
    assert described(task, png_folder, in_memory_bytes=0).storage == "loader"


def test_a_table_whose_sizes_are_not_known_is_read_one_by_one():
    class Table:
        """As the reader of a Hugging Face dataset: no list of files."""

        reader = object()

    from runners.data.readers.sizes import have_one_size

    assert not have_one_size(Table())


def test_grey_digits_have_views():
    crops, _ = next(loaded(DigitsSpec(), img_size=(8, 8), local_size=4).train.epoch(1))
    assert [tuple(view.shape) for view in crops.views] == [(4, 1, 8, 8)] * 2 + [(4, 1, 4, 4)] * 2


@pytest.mark.thorough
def test_workers_change_no_bit_of_the_training(odd_sizes):
    none, two = (list(loaded(TOY, odd_sizes, num_workers=number).train.epoch(1)) for number in (0, 2))
    for (crops, labels), (others, other_labels) in zip(none, two, strict=True):
        assert torch.equal(labels, other_labels)
        assert all(torch.equal(a, b) for a, b in zip(crops.views, others.views, strict=True))
