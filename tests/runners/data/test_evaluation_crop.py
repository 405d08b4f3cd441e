"""Evaluation crops: the geometry is timm's, wherever a dataset is held, and above 1 the image has a border."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from runners.data import DataInfo, Images, describe_dataset
from runners.data.evaluation_crop import EvaluationCrop
from runners.data.images.loading import load_images
from runners.data.tensor_loader import TensorBatches
from search_space.schema.resources import Resources
from search_space.schema.trial import ClassificationSpec, TimmDatasetSpec, TrainSpec

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
INFO = DataInfo("test", (40, 60), 3, 10, 4, 0, 4, MEAN, STD)
CPU = torch.device("cpu")


def smooth(height: int, width: int) -> np.ndarray:
    """An image (H, W, 3) of slow waves, which PIL and torch interpolate to the same values but for rounding."""
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(rows / 9 + k) + np.cos(columns / 11 - k) for k in range(3)]
    return np.rint(127.5 + 60 * np.stack(waves, axis=-1)).clip(0, 255).astype(np.uint8)


def in_memory(image: np.ndarray, crop: EvaluationCrop) -> torch.Tensor:
    """The normalised input that the image becomes where its dataset is held in memory."""
    pixels = torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0)
    images = Images(pixels, torch.zeros(1, dtype=torch.int64))
    batches = TensorBatches(images, info=INFO, img_size=(32, 32), batch_size=4, device=CPU, crop=crop)
    return next(iter(batches))[0][0]


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("crop_pct", [0.5, 0.875, 0.9, 1.0, 1.13, 2.0])
@pytest.mark.parametrize("native", [(40, 60), (61, 40), (48, 48), (20, 24)])
@pytest.mark.parametrize("size", [(32, 32), (32, 48), (33, 28)])
def test_images_in_memory_are_cropped_as_timm_crops_files(mode, crop_pct, native, size) -> None:
    image = smooth(*native)
    transform = create_transform(
        (3, *size), is_training=False, crop_pct=crop_pct, crop_mode=mode, interpolation="bilinear", mean=MEAN, std=STD
    )
    expected = transform(Image.fromarray(image))
    found = in_memory(image, EvaluationCrop(size, crop_pct, mode))
    assert found.shape == expected.shape == (3, *size)
    # PIL rounds to 8 bits after each of the two directions: at most two steps of 1/255, by the smallest std.
    assert (found - expected).abs().max() <= 2.01 / 255 / min(STD)


@pytest.mark.parametrize(("native", "size"), [((40, 60), (32, 48)), ((20, 24), (32, 32))])
def test_bicubic_images_in_memory_are_those_of_timm(native, size) -> None:
    """A black and white edge, where a bicubic overshoots: both keep to 0..1."""
    image = smooth(*native)
    image[:, native[1] // 2 :] = 255
    image[:, native[1] // 2 - 6 : native[1] // 2] = 0
    options = {"crop_mode": "center", "crop_pct": 0.9, "mean": MEAN, "std": STD}
    transforms = {
        name: create_transform((3, *size), is_training=False, interpolation=name, **options)
        for name in ("bicubic", "bilinear")
    }
    expected = {name: transform(Image.fromarray(image)) for name, transform in transforms.items()}
    found = in_memory(image, EvaluationCrop(size, 0.9, "center", "bicubic"))
    # PIL rounds and clips after each of the two directions.
    assert (found - expected["bicubic"]).abs().max() <= 3.01 / 255 / min(STD)
    assert (found - expected["bilinear"]).abs().max() > 10 / 255 / min(STD)


def test_a_ratio_above_one_pads_with_black() -> None:
    """RFC at 448 (facts: Resize(396), then a crop of 448): the image fills 396/448 = 88.4 % of the input."""
    white = np.full((500, 500, 3), 255, np.uint8)
    crop = EvaluationCrop((448, 448), 1.13, "center")
    assert crop.scaled == (396, 396)
    pixels = in_memory(white, crop) * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    inside = torch.zeros(448, 448, dtype=torch.bool)
    inside[26:422, 26:422] = True  # (448 - 396) / 2 on every side
    assert torch.allclose(pixels[:, inside], torch.ones(3, 396 * 396), atol=1e-6)
    assert torch.allclose(pixels[:, ~inside], torch.zeros(3, 448 * 448 - 396 * 396), atol=1e-6)


def test_the_default_crop_is_what_was_always_measured() -> None:
    """Bit for bit: images in memory, resized without a crop."""
    image = smooth(40, 60)
    pixels = torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0)
    images = Images(pixels, torch.zeros(1, dtype=torch.int64))
    batches = TensorBatches(images, info=INFO, img_size=(32, 32), batch_size=4, device=CPU)
    assert torch.equal(in_memory(image, EvaluationCrop((32, 32))), next(iter(batches))[0][0])


@pytest.mark.parametrize(
    ("one", "other", "native", "alike"),
    [
        (EvaluationCrop((32, 32)), EvaluationCrop((32, 32), 0.99), (32, 32), True),  # floor(32 / 0.99) = 32
        (EvaluationCrop((32, 32)), EvaluationCrop((32, 32), 0.875), (32, 32), False),
        (EvaluationCrop((32, 32), 0.9, "border"), EvaluationCrop((32, 32), 0.9, "squash"), (40, 40), True),
        (EvaluationCrop((32, 32), 1.2, "border"), EvaluationCrop((32, 32), 1.2, "squash"), (40, 40), False),  # grey
        (EvaluationCrop((32, 32), 0.9, "center"), EvaluationCrop((32, 32), 0.9, "squash"), (40, 60), False),
        (EvaluationCrop((32, 32)), EvaluationCrop((32, 32), interpolation="bicubic"), (32, 32), True),
        (EvaluationCrop((32, 32)), EvaluationCrop((32, 32), interpolation="bicubic"), (40, 40), False),
        (EvaluationCrop((32, 32)), EvaluationCrop((32, 32), interpolation="bicubic"), None, False),
        (EvaluationCrop((32, 32), 0.9), EvaluationCrop((32, 32), 0.9, "center"), None, True),
        (EvaluationCrop((32, 32), 0.9), EvaluationCrop((32, 32), 0.9, "squash"), None, False),
    ],
)
def test_crops_that_give_the_same_input_are_known(one, other, native, alike) -> None:
    assert (one.in_effect(native) == other.in_effect(native)) is alike


@pytest.fixture
def wide_folder(tmp_path):
    """Images of 40 x 60 pixels, whose left third is red and whose middle is a wave."""
    for split in ("train", "validation"):
        for label in ("a", "b"):
            folder = tmp_path / "wide" / split / label
            folder.mkdir(parents=True)
            for number in range(3):
                image = smooth(40, 60)
                image[:, :8] = (255, 0, 0)
                image[0, 0] = (number, len(label), 100 if split == "train" else 200)  # no two are equal
                Image.fromarray(image).save(folder / f"{number}.png")
    return tmp_path


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
def test_a_small_and_a_large_dataset_are_measured_alike(wide_folder, mode) -> None:
    """In memory or by timm's loader; a test size and a validation split included."""
    task = ClassificationSpec(dataset=TimmDatasetSpec(name="folder/wide"), val_fraction=0.34)
    resources = Resources(data_dir=str(wide_folder), num_workers=0)
    crop = EvaluationCrop((28, 36), 0.8, mode)
    found = []
    for limit in (1 << 30, 0):
        info = describe_dataset(task, resources, in_memory_bytes=limit)
        options = {"img_size": (16, 16), "seed": 0, "share": None, "info": info}
        train = TrainSpec(batch_size=2)
        plain = load_images(task, train, resources, CPU, **options)
        data = load_images(task, train, resources, CPU, crops=[EvaluationCrop((16, 16)), crop], **options)
        assert torch.equal(torch.cat([x for x, _ in plain.test]), torch.cat([x for x, _ in data.test]))
        assert torch.equal(torch.cat([x for x, _ in plain.calibration]), torch.cat([x for x, _ in data.calibration]))
        assert all(torch.equal(a, b) for (a, _), (b, _) in zip(plain.train.epoch(1), data.train.epoch(1), strict=True))
        (other,) = data.further
        assert other.val is not None
        found.append([torch.cat([x for x, _ in part]) for part in (other.val, other.test)])
    for in_mem, by_loader in zip(*found, strict=True):
        assert in_mem.shape == by_loader.shape
        assert in_mem.shape[-2:] == (28, 36)
        assert (in_mem - by_loader).abs().max() <= 2.01 / 255 / 0.22


def test_a_small_and_a_large_dataset_have_the_interpolation_that_is_written(wide_folder) -> None:
    """Also where images in memory are held at the size of the input, which no crop resizes again."""
    task = ClassificationSpec(dataset=TimmDatasetSpec(name="folder/wide"), val_fraction=0.34)
    resources = Resources(data_dir=str(wide_folder), num_workers=0)
    crops = [EvaluationCrop((16, 16), interpolation=name) for name in ("bilinear", "bicubic")]
    found = []
    for limit in (1 << 30, 0):
        info = describe_dataset(task, resources, in_memory_bytes=limit)
        options = {"img_size": (16, 16), "seed": 0, "share": None, "info": info, "crops": crops}
        data = load_images(task, TrainSpec(batch_size=2), resources, CPU, **options)
        further = data.further[0]
        assert data.val is not None
        assert further.val is not None
        found.append([torch.cat([x for x, _ in part]) for part in (data.val, data.test, further.val, further.test)])
    for in_mem, by_loader in zip(*found, strict=True):
        assert (in_mem - by_loader).abs().max() <= 2.01 / 255 / 0.22
    for smooth_, sharp in ((found[0][0], found[0][2]), (found[0][1], found[0][3])):
        assert (smooth_ - sharp).abs().max() > 5 / 255 / 0.22
