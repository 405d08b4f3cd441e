"""Datasets by timm's names: image folders and torchvision files, no unrequested download, messages for missing data."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from runners.data import describe_dataset, load_data
from search_space.parsing.errors import SpecError
from search_space.schema.resources import Resources
from search_space.schema.trial import ClassificationSpec, TaskSpec, TimmDatasetSpec, TrainSpec

CPU = torch.device("cpu")


def _task(name: str = "folder/toy", val_fraction: float = 0.0, **options) -> TaskSpec:
    return ClassificationSpec(dataset=TimmDatasetSpec(name=name, **options), val_fraction=val_fraction)


def _load(folder, task, train=None, **options):
    train = train or TrainSpec(batch_size=4)
    return load_data(task, train, Resources(data_dir=str(folder)), CPU, **{"img_size": (12, 10), "seed": 0, **options})


@pytest.mark.parametrize("name", ["folder/toy", "toy"])
def test_folder_is_described_without_decoding_it(png_folder, name):
    info = describe_dataset(_task(name), Resources(data_dir=str(png_folder)))
    assert (info.img_size, info.in_chans, info.num_classes) == ((12, 10), 3, 2)
    assert (info.num_train, info.num_val, info.num_test, info.storage) == (12, 0, 4, "memory")


def test_folder_itself_is_the_dataset_called_folder(png_folder):
    assert describe_dataset(_task("folder"), Resources(data_dir=str(png_folder / "toy"))).num_train == 12


def test_pixels_and_labels_are_those_of_the_files(png_folder):
    data = _load(png_folder, _task())
    (images, labels), *_ = data.test
    assert labels.tolist() == [0, 0, 1, 1]  # cat, dog
    expected = np.array(Image.open(png_folder / "toy/validation/dog/1.png")).astype(np.float64) / 255
    expected = (expected - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(images[3].permute(1, 2, 0).numpy(), expected, atol=1e-5)


def test_grey_images_have_one_channel(png_folder):
    data = _load(png_folder, _task(in_chans=1))
    (images, _), *_ = data.test
    assert images.shape == (4, 1, 12, 10)


def test_images_of_differing_shapes_are_cropped_in_the_middle_and_not_squeezed(png_folder):
    """A wide image, white middle third between black sides, is all white in a square of the same height."""
    wide = np.zeros((10, 30, 3), dtype=np.uint8)
    wide[:, 10:20] = 255
    Image.fromarray(wide).save(png_folder / "toy/validation/cat/0.png")
    data = _load(png_folder, _task(), img_size=(10, 10))
    (images, _), *_ = data.test
    assert images[0].min() > 2.0  # white is about 2.2 to 2.6 after normalisation


def test_validation_split_is_stratified_and_the_same_for_all_seeds(png_folder):
    task = _task(val_fraction=1 / 3)
    seen = []
    for seed in (0, 1):
        data = _load(png_folder, task, seed=seed)
        assert (data.info.num_train, data.info.num_val) == (8, 4)
        assert data.val is not None
        (images, labels), *_ = data.val
        assert labels.tolist() == [0, 0, 1, 1]
        seen.append(images)
    assert torch.equal(*seen)


def test_validation_images_are_not_trained_on(png_folder):
    data = _load(png_folder, _task(val_fraction=1 / 3))
    assert data.val is not None
    trained = {image.numpy().tobytes() for images, _ in data.train.epoch(1) for image in images}
    held_out = {image.numpy().tobytes() for images, _ in data.val for image in images}
    assert (len(trained), len(held_out)) == (8, 4)
    assert not trained & held_out


class TestLoader:
    """The same folder with a memory limit of zero, so that timm's loader reads it."""

    @pytest.fixture
    def batches(self, png_folder):
        def load(seed: int = 0, num_workers: int = 0, **options):
            train = TrainSpec(batch_size=4, hflip=0.5, aa="rand-m5", reprob=0.3, **options)
            resources = Resources(data_dir=str(png_folder), num_workers=num_workers)
            task = _task(val_fraction=1 / 3)
            return load_data(task, train, resources, CPU, img_size=(8, 8), seed=seed, in_memory_bytes=0)

        return load

    def test_splits_and_shapes(self, batches):
        data = batches()
        assert (data.info.storage, data.info.num_train, data.info.num_val) == ("loader", 8, 4)
        assert [tuple(images.shape) for images, _ in data.train.epoch(1)] == [(4, 3, 8, 8)] * 2
        assert [labels.tolist() for _, labels in data.val] == [[0, 0, 1, 1]]
        assert [labels.tolist() for _, labels in data.test] == [[0, 0, 1, 1]]

    def test_epoch_follows_from_seed_and_number_alone(self, batches):
        first = [images for images, _ in batches().train.epoch(1)]
        torch.rand(5), np.random.rand(5)
        data = batches()
        second = [images for images, _ in data.train.epoch(2)]
        again = [images for images, _ in data.train.epoch(1)]
        other = [images for images, _ in batches(seed=1).train.epoch(1)]
        assert torch.equal(torch.cat(first), torch.cat(again))
        assert not torch.equal(torch.cat(first), torch.cat(second))
        assert not torch.equal(torch.cat(first), torch.cat(other))

    def test_number_of_workers_changes_nothing(self, batches):
        alone = [images for images, _ in batches().train.epoch(1)]
        with_worker = [images for images, _ in batches(num_workers=1).train.epoch(1)]
        assert torch.equal(torch.cat(alone), torch.cat(with_worker))

    def test_reading_leaves_the_global_generators_alone(self, batches):
        data = batches()
        torch.manual_seed(0)
        expected = torch.rand(3)
        torch.manual_seed(0)
        list(data.train.epoch(1)), list(data.test), list(data.calibration)
        assert torch.equal(torch.rand(3), expected)


def _write_mnist(root, split: str, pixels: np.ndarray, labels: np.ndarray) -> None:
    """Write MNIST files: big-endian magic number and sizes, then bytes."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    head = np.array([2051, *pixels.shape], dtype=">i4").tobytes()
    (folder / f"{split}-images-idx3-ubyte").write_bytes(head + pixels.astype(np.uint8).tobytes())
    (folder / f"{split}-labels-idx1-ubyte").write_bytes(
        np.array([2049, len(labels)], dtype=">i4").tobytes() + labels.astype(np.uint8).tobytes()
    )


@pytest.mark.parametrize("in_chans", [1, 3])
def test_torchvision_dataset_is_taken_as_one_array(tmp_path, in_chans):
    random = np.random.RandomState(0)
    pixels = random.randint(0, 256, (14, 28, 28))
    labels = np.arange(14) % 10
    _write_mnist(tmp_path, "train", pixels[:10], labels[:10])
    _write_mnist(tmp_path, "t10k", pixels[10:], labels[10:])
    data = _load(tmp_path, _task("torch/mnist", in_chans=in_chans), img_size=(28, 28))
    assert (data.info.num_classes, data.info.num_train, data.info.num_test) == (10, 10, 4)
    (images, found), *_ = data.test
    assert found.tolist() == [0, 1, 2, 3]
    mean, std = ([0.449], [0.226]) if in_chans == 1 else ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    expected = (pixels[10:, None] / 255 - np.reshape(mean, (1, -1, 1, 1))) / np.reshape(std, (1, -1, 1, 1))
    np.testing.assert_allclose(images.numpy(), expected, atol=1e-5)


def _message(task: TaskSpec, **resources) -> str:
    with pytest.raises(SpecError) as caught:
        describe_dataset(task, Resources(**resources))
    (problem,) = caught.value.problems
    return f"{problem.path}: {problem.message}\n  {problem.hint}"


def test_without_data_dir():
    assert _message(_task("torch/cifar10")) == (
        "task.dataset: dataset 'torch/cifar10': no data directory is given\n  set resources.data_dir or --data-dir DIR"
    )


def test_missing_download_says_how_to_get_it(tmp_path):
    assert _message(_task("torch/cifar10"), data_dir=str(tmp_path)) == (
        f"task.dataset: dataset 'torch/cifar10': split 'train' cannot be read below {tmp_path}: "
        "Dataset not found or corrupted. You can use download=True to download it\n"
        "  set resources.data_dir to the directory of the data, or download it with --download"
    )
    assert list(tmp_path.iterdir()) == []


def test_missing_folder(tmp_path):
    assert _message(_task("folder/tyo"), data_dir=str(tmp_path)) == (
        f"task.dataset: dataset 'folder/tyo': there is no {tmp_path / 'tyo'}\n"
        "  put the images below train/CLASS/ and validation/CLASS/ there, or change resources.data_dir; "
        "datasets that are not folders start with torch/, hfds/, hfids/, wds/ or tfds/"
    )


def test_misspelt_builtin():
    assert _message(_task("builtin/digts")) == (
        "task.dataset: dataset 'builtin/digts': unknown built-in dataset\n"
        "  known: builtin/digits, builtin/grains, builtin/shapes.  Did you mean 'builtin/digits'?"
    )


def test_misspelt_torchvision_name(tmp_path):
    message = _message(_task("torch/cifar-10"), data_dir=str(tmp_path))
    assert message.startswith(
        "task.dataset: dataset 'torch/cifar-10': unknown torchvision dataset\n  known: torch/cifar10,"
    )
    assert message.endswith("Did you mean 'torch/cifar10'?")


def test_streaming_from_the_hub_must_be_allowed():
    assert _message(_task("hfids/someone/something")) == (
        "task.dataset: dataset 'hfids/someone/something': streams from the Hugging Face Hub\n"
        "  allow it with --download, or put the files below resources.data_dir"
    )


def test_reading_over_the_network_must_be_allowed():
    assert _message(_task("wds/toy", train_split="pipe:curl https://example.org/a.tar"), data_dir="/data") == (
        "task.dataset: dataset 'wds/toy': would be read over the network\n  allow it with --download"
    )


def test_folder_without_splits_would_train_on_the_test_images(png_folder):
    (png_folder / "toy" / "validation").rename(png_folder / "elsewhere")
    shutil.move(png_folder / "toy" / "train" / "cat", png_folder / "toy" / "cat")
    shutil.rmtree(png_folder / "toy" / "train")
    assert _message(_task(), data_dir=str(png_folder)) == (
        f"task.dataset: dataset 'folder/toy': {png_folder / 'toy'} has no folders for the splits 'train' and "
        "'validation': training and testing on the same images\n"
        "  put the images below train/CLASS/ and validation/CLASS/, name the folders with train_split and test_split, "
        "or draw a test split with test_fraction or folds"
    )


def test_equal_split_names_would_train_on_the_test_images(png_folder):
    assert _message(_task(test_split="train"), data_dir=str(png_folder)) == (
        "task.dataset: dataset 'folder/toy': train_split and test_split are both 'train': "
        "training and testing on the same images\n"
        "  name two different splits"
    )


def test_splits_with_different_classes(png_folder):
    (png_folder / "toy/validation/dog").rename(png_folder / "toy/validation/dogs")
    assert _message(_task(), data_dir=str(png_folder)) == (
        "task.dataset: dataset 'folder/toy': the splits have different classes (2 in 'train', 2 in 'validation'); "
        "only in one of them: dog, dogs\n"
        "  both splits need the same class folders"
    )


def test_validation_split_that_would_be_empty(png_folder):
    assert _message(_task(val_fraction=0.01), data_dir=str(png_folder)) == (
        "task.val_fraction: 0.01 of 12 training images holds out 0, which leaves a split empty\n"
        "  write 0 for no validation split, or a share that leaves images in both"
    )
