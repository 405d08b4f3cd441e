"""Contract of the order of every kind of dataset: it follows from seed and epoch, and from nothing else."""

from __future__ import annotations

import dataclasses
import io
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from runners.data import Data, load_data
from runners.data.readers.labelled_images import UnreadableImage
from runners.data.streams.sample_stream import UnreadableStream, WrongCount
from runners.training.process_group import ProcessGroup, in_order
from runners.training.trial import run_trial
from search_space import Checkpoints, Resources, SpecError
from search_space.schema.trial import ArchSpec, ClassificationSpec, TimmDatasetSpec, TrainSpec, TrialSpec

from .conftest import KINDS, Kind, noise, png, splits

CPU = torch.device("cpu")
NUM_TRAIN, NUM_TEST, BATCH = 26, 9, 4
NOISE = {"hflip": 0.5, "reprob": 0.4, "color_jitter": 0.3}
Load = Callable[..., Data]


def load_from(kind: Kind, root: Any, *, num_workers: int = 0, seed: int = 0, share: Any = None, **options: Any) -> Data:
    """`options`: of the training; read by a loader, so that workers take part."""
    dataset = TimmDatasetSpec.model_validate({"name": kind.name, **kind.options})
    resources = Resources(data_dir=str(root), num_workers=num_workers, download=kind.is_remote)
    train = TrainSpec(batch_size=BATCH, recalibrate_bn=2, **options)
    shape = {"img_size": (8, 8), "seed": seed, "share": share, "in_memory_bytes": 0}
    return load_data(ClassificationSpec(dataset=dataset), train, resources, CPU, **shape)


@pytest.fixture
def load(kind, tmp_path) -> Load:
    kind.write(tmp_path / "data", ("ant", "bee"), *splits(NUM_TRAIN, NUM_TEST))
    return lambda **options: load_from(kind, tmp_path / "data", **options)


def pixels(batches: Any) -> torch.Tensor:
    return torch.cat([images for images, _ in batches])


@pytest.fixture
def marked(kind, tmp_path) -> Load:
    """Image i has the colour 9 i, whatever is cut out of it; test images have 9 i + 4."""
    if not kind.has_files and not kind.is_stream:
        pytest.skip("its images have a frame")
    train = [(index % 2, plain(9 * index)) for index in range(NUM_TRAIN)]
    kind.write(
        tmp_path / "data", ("ant", "bee"), train, [(index % 2, plain(9 * index + 4)) for index in range(NUM_TEST)]
    )
    return lambda **options: load_from(kind, tmp_path / "data", **options)


def plain(value: int) -> bytes:
    return png(np.full((16, 16, 3), value, np.uint8))


def marks(batches: Any) -> list[int]:
    """Which images these are."""
    return ((pixels(batches)[:, 0, 0, 0] * 0.229 + 0.485) * 255).round().int().tolist()


def test_an_epoch_reads_every_image_once_and_leaves_out_what_fills_no_batch(marked):
    data = marked()
    trained = marks(data.train.epoch(1))
    assert len(data.train) == NUM_TRAIN // BATCH
    assert (len(trained), len(set(trained))) == (24, 24)
    assert set(trained) <= {9 * index for index in range(NUM_TRAIN)}


def test_epochs_and_seeds_have_orders_of_their_own(marked):
    data, other = marked(), marked(seed=1)
    orders = [marks(data.train.epoch(1)), marks(data.train.epoch(2)), marks(other.train.epoch(1))]
    assert len(set(map(tuple, [*orders, sorted(orders[0])]))) == 4


def test_every_image_is_augmented_in_its_own_way_and_in_another_one_every_epoch(kind, tmp_path):
    """All images are one, so that only their augmentation differs."""
    images = [(index % 2, png(noise(0))) for index in range(NUM_TRAIN)]
    kind.write(tmp_path / "data", ("ant", "bee"), images, images[:NUM_TEST])
    data = load_from(kind, tmp_path / "data", **NOISE)
    seen = {image.numpy().tobytes() for number in (1, 2) for image in pixels(data.train.epoch(number))}
    assert len(seen) == 2 * 24


def test_an_epoch_alone_is_that_epoch_after_others(load):
    """An interrupted trial begins with the epoch that it had not finished."""
    data = load(**NOISE)
    first = pixels(data.train.epoch(1))
    list(data.test), list(data.calibration)
    second = pixels(data.train.epoch(2))
    assert torch.equal(second, pixels(load(**NOISE).train.epoch(2)))
    assert torch.equal(first, pixels(data.train.epoch(1)))


def every_kind_with_workers() -> list[Any]:
    """Two workers of one folder, one stream and one pipe; all others are slow."""
    quick = {("folder/toy", 2), ("wds/pipe", 2), ("wds/toy", 2)}
    rows = [(kind, num_workers) for kind in KINDS for num_workers in (1, 2, 4)]
    return [pytest.param(*row, marks=pytest.mark.thorough if row in quick else pytest.mark.slow) for row in rows]


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # on fewer cores than workers
@pytest.mark.parametrize(("kind", "num_workers"), every_kind_with_workers(), indirect=["kind"])
def test_the_number_of_workers_changes_no_bit(load, num_workers):
    alone = load(**NOISE)
    expected = [pixels(batches) for batches in (alone.train.epoch(3), alone.test, alone.calibration)]
    data = load(num_workers=num_workers, **NOISE)
    found = [pixels(batches) for batches in (data.train.epoch(3), data.test, data.calibration)]
    assert all(map(torch.equal, found, expected))


@pytest.mark.thorough
def test_every_test_image_is_measured_once_by_two_workers(marked):
    """Shards were read by each of them."""
    assert sorted(marks(marked(num_workers=2).test)) == [9 * index + 4 for index in range(NUM_TEST)]


def test_images_of_calibration_are_the_same_for_all_seeds(load):
    first, second = load().calibration, load(seed=7).calibration
    assert len(first) == 2
    assert torch.equal(pixels(first), pixels(second))
    assert torch.equal(pixels(first), pixels(first))


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_shares_of_two_processes_are_together_the_batches_of_one(load, num_workers):
    whole = load(**NOISE)
    group = [ProcessGroup(rank, 2) for rank in range(2)]
    parts = [load(share=one.shard_of, num_workers=num_workers, **NOISE) for one in group]
    shares = [list(part.train.epoch(1)) for part in parts]
    for number, (images, labels) in enumerate(whole.train.epoch(1)):
        for one, share in zip(group, shares, strict=True):
            index = one.shard_of(BATCH)
            assert torch.equal(share[number][0], images[index])
            assert torch.equal(share[number][1], labels[index])
    measured = [pixels(part.test) for part in parts]
    assert torch.equal(in_order(measured, batch_size=BATCH), pixels(whole.test))


STREAMS = sorted(name for name, kind in KINDS.items() if kind.is_stream and kind.has_files)


@pytest.fixture(params=STREAMS)
def stream(request, tmp_path, monkeypatch) -> Kind:
    """Every kind of stream whose files are written as they are given."""
    kind = KINDS[request.param]
    pytest.importorskip(kind.package)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    return kind


def names_a_file(err: Exception, kind: Kind, index: int) -> bool:
    name = {"hfids/toy": f"train/ant/{index}.png", "hfids/parts": "0.png: ", "wds/pipe": f"train-0.tar/{index:05}: "}
    return name[str(kind_key(kind))] in str(err)


def kind_key(kind: Kind) -> str:
    return next(key for key, each in KINDS.items() if each is kind)


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_broken_image_of_a_stream_is_an_error_that_names_it(stream, tmp_path, num_workers):
    train, test = splits(NUM_TRAIN, NUM_TEST)
    train[2] = (0, train[2][1][:200])
    stream.write(tmp_path / "data", ("ant", "bee"), train, test)
    with pytest.raises(UnreadableImage) as caught:
        list(load_from(stream, tmp_path / "data", num_workers=num_workers).train.epoch(1))
    assert names_a_file(caught.value, stream, 2)


def test_sixteen_bits_of_a_stream_are_scaled_and_not_clipped(stream, tmp_path):
    """32,896 of 65,535 is 128 of 255 (257 * 128); timm's readers clipped it to white."""
    file = io.BytesIO()
    Image.fromarray(np.full((16, 16), 257 * 128, np.uint16)).save(file, "PNG")
    train, test = splits(8, 4)
    stream.write(tmp_path / "data", ("ant", "bee"), train, [(label, file.getvalue()) for label, _ in test])
    found = pixels(load_from(stream, tmp_path / "data").test)
    np.testing.assert_allclose(((found[:, 0] * 0.229 + 0.485) * 255).numpy(), 128, atol=0.1)


def test_the_size_of_a_stream_is_the_median_of_its_training_images(stream, tmp_path):
    """It was that of the first test image."""
    train, test = splits(8, 4)
    small = png(np.zeros((3, 5, 3), np.uint8))
    stream.write(tmp_path / "data", ("ant", "bee"), [(0, small), *train], [(0, small), *test])
    assert load_from(stream, tmp_path / "data").info.img_size == (16, 16)


@pytest.mark.default_run("wds/toy", "wds/pipe", "hfids/toy", "tfds/toy")
@pytest.mark.thorough
@pytest.mark.parametrize("name", ["wds/toy", *STREAMS])
def test_a_trial_that_is_stopped_in_an_epoch_continues_with_the_same_bits(name, tmp_path, monkeypatch):
    """The second half of the trial has other workers, too."""
    kind = KINDS[name]
    if kind.package:
        pytest.importorskip(kind.package)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    kind.write(tmp_path / "data", ("ant", "bee"), *splits(NUM_TRAIN, NUM_TEST))
    dataset = TimmDatasetSpec.model_validate({"name": kind.name, **kind.options})
    arch = ArchSpec(depth=1, embed_dim=16, num_heads=2, patch_size=4, mlp_ratio=2.0)
    spec = TrialSpec(
        arch=arch, task=ClassificationSpec(dataset=dataset), train=TrainSpec(epochs=3, batch_size=BATCH, hflip=0.5)
    )

    def run(directory: str, num_workers: int, stop_after: int = 0) -> Any:
        polls = itertools.count(1)
        return run_trial(
            spec,
            report=lambda metrics: False,
            resources=Resources(data_dir=str(tmp_path / "data"), num_workers=num_workers, download=kind.is_remote),
            device="cpu",
            directory=tmp_path / directory,
            checkpoints=Checkpoints(min_seconds=0),
            keep_predictions=True,
            is_preempted=lambda: next(polls) == stop_after,
        )

    whole = run("whole", 0)
    assert run("stopped", 2, stop_after=10).status == "preempted"
    resumed = run("stopped", 0)
    assert (resumed.status, resumed.curve, resumed.metrics) == ("completed", whole.curve, whole.metrics)
    assert resumed.correct == whole.correct != ""


class TestPipe:
    """Shards that are not looked at before the training."""

    @pytest.fixture
    def load(self, tmp_path) -> Load:
        pytest.importorskip("webdataset")

        def load_(train: Any = None, *, says: int = NUM_TRAIN, shards="train-{0..1}.tar", **options: Any) -> Data:
            normal, test = splits(NUM_TRAIN, NUM_TEST)
            root = tmp_path / "data"
            KINDS["wds/pipe"].write(root, (), train or normal, test)
            kind = dataclasses.replace(
                KINDS["wds/pipe"],
                options={
                    "name": "wds/toy",
                    "num_classes": 2,
                    "train_split": f"pipe:cat {root}/toy/{shards}|{says}",
                },
            )
            return load_from(kind, root, **options)

        return load_

    @pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.thorough)])
    @pytest.mark.parametrize(("says", "why"), [(NUM_TRAIN - 4, "more were read"), (NUM_TRAIN + 1, "26 were read")])
    def test_another_number_of_images_than_promised_is_an_error(self, load, says, why, num_workers):
        """An epoch was cut or repeated to the number that was promised."""
        data = load(says=says, num_workers=num_workers)
        assert len(data.train) == says // BATCH
        with pytest.raises(WrongCount, match=rf"wds/toy pipe:.*: {says} images are promised, and {why}"):
            list(data.train.epoch(1))

    @pytest.mark.parametrize(("label", "why"), [("cat", "a label that is no number"), (2, "not below num_classes, 2")])
    def test_a_wrong_label_is_an_error(self, load, label, why):
        train, _ = splits(NUM_TRAIN, NUM_TEST)
        train[3] = (label, train[3][1])
        with pytest.raises(UnreadableImage, match=rf"train-\{{?0.*00003: it.*{why}"):
            list(load(train).train.epoch(1))

    def test_a_shard_that_is_gone_is_an_error(self, load, tmp_path):
        data = load()
        (tmp_path / "data/toy/train-1.tar").unlink()
        with pytest.raises(UnreadableStream, match=r"cat .*/train-1\.tar: "):
            list(data.train.epoch(1))

    def test_one_of_the_first_shards_that_is_not_there_is_said_before_anything_trains(self, load):
        with pytest.raises(SpecError, match=r"cannot be read: pipe:cat .*/train-2\.tar: "):
            load(shards="train-{0..2}.tar")

    def test_a_number_of_images_must_be_promised(self, load):
        with pytest.raises(SpecError, match="the number of samples in its shards is not said"):
            load(says=0)

    def test_a_split_of_files_and_one_over_a_network_are_refused(self, load, tmp_path):
        data_dir = tmp_path / "data"
        KINDS["wds/toy"].write(data_dir, (), *splits())
        options = {"num_classes": 2, "test_split": f"pipe:cat {data_dir}/toy/validation-0.tar|2"}
        kind = Kind("wds/toy", KINDS["wds/toy"].write, options, is_remote=True)
        with pytest.raises(SpecError, match="one of its splits is read over a network and the other one from files"):
            load_from(kind, data_dir)
