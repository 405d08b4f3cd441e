"""Data that is decoded once per run and node: the same images, never those of other data; no trial changes them."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from results.plan.stored import Origin
from runners.data import Images, describe_dataset, load_data
from runners.data.fingerprint import DataChanged, fingerprint
from runners.data.shared.decoded import shared_description, shared_splits
from runners.machine.file_digests import user_file_digests
from runners.machine.node_files import VARIABLE, node_files_kept, node_folder
from runners.training.distributed_trial import run_trial_in_processes
from search_space.schema.resources import Resources
from search_space.schema.trial import ArchSpec, ClassificationSpec, TimmDatasetSpec, TrainSpec, TrialSpec

CPU = torch.device("cpu")
TASK = ClassificationSpec(dataset=TimmDatasetSpec(name="folder/toy"), val_fraction=0.25)


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    """A run that keeps the files of this node, in a directory of the test's own."""
    (tmp_path / "node").mkdir()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "node"))
    with node_files_kept():
        yield


def _digest(folder, task=TASK) -> str:
    return fingerprint(task, Resources(data_dir=str(folder)), user_file_digests()).digest


def _load(folder, digest: str, img_size=(12, 10), task=TASK):
    resources = Resources(data_dir=str(folder))
    info = shared_description(task, resources, digest, describe_dataset)
    train = TrainSpec(batch_size=4, hflip=0.5, crop_padding=2)
    return load_data(task, train, resources, CPU, img_size=img_size, seed=3, info=info)


def _images(data) -> torch.Tensor:
    return torch.cat([images for part in (data.train.epoch(1), data.val, data.test) for images, _ in part])


def _files() -> list[str]:
    folder = node_folder()
    assert folder is not None
    return sorted(path.suffix for path in folder.iterdir() if path.suffix in (".json", ".safetensors"))


def test_the_second_trial_reads_no_image_and_has_the_same_batches(png_folder):
    alone = _load(png_folder, "")
    assert _files() == []
    digest = _digest(png_folder)
    first = _load(png_folder, digest)
    assert _files() == [".json", ".safetensors"]
    shutil.rmtree(png_folder / "toy")
    second = _load(png_folder, digest)
    assert torch.equal(_images(first), _images(alone))
    assert torch.equal(_images(second), _images(alone))
    assert second.info == first.info == dataclasses.replace(alone.info, fingerprint=digest)


def test_other_sizes_and_other_splits_are_other_files(png_folder):
    digest = _digest(png_folder)
    for img_size in ((12, 10), (24, 20), (6, 5)):  # the second has more pixels than the images, which keep their size
        assert torch.equal(_images(_load(png_folder, digest, img_size)), _images(_load(png_folder, "", img_size)))
    assert _files() == [".json", ".safetensors", ".safetensors"]
    swapped = TASK.model_copy(
        update={"dataset": TimmDatasetSpec(name="folder/toy", train_split="validation", test_split="train")}
    )
    assert _load(png_folder, _digest(png_folder, swapped), task=swapped).info.num_test == 12
    assert _files() == [".json", ".json", ".safetensors", ".safetensors", ".safetensors"]


def test_changed_data_is_never_read_from_an_old_file(png_folder):
    old = _digest(png_folder)
    before = _images(_load(png_folder, old))
    path = png_folder / "toy" / "train" / "cat" / "0.png"
    Image.fromarray(np.full((12, 10, 3), 255, np.uint8)).save(path)
    new = _digest(png_folder)
    assert new != old
    assert not torch.equal(_images(_load(png_folder, new)), before)
    assert torch.equal(_images(_load(png_folder, new)), _images(_load(png_folder, "")))


def test_data_that_changes_while_it_is_decoded_is_not_shared(png_folder):
    """What the trial before compared is not what was decoded: the file would have the wrong name."""
    digest = _digest(png_folder)
    resources = Resources(data_dir=str(png_folder))
    info = shared_description(TASK, resources, digest, describe_dataset)
    Image.fromarray(np.full((12, 10, 3), 255, np.uint8)).save(png_folder / "toy" / "train" / "cat" / "0.png")
    with pytest.raises(DataChanged, match=digest):
        shared_splits(TASK, resources, info, (12, 10))
    assert _files() == [".json"]


@pytest.fixture
def split(png_folder):
    """Function that gives the training split, mapped again each time."""
    resources = Resources(data_dir=str(png_folder))
    info = shared_description(TASK, resources, _digest(png_folder), describe_dataset)

    def open_() -> Images:
        found, _ = shared_splits(TASK, resources, info, (12, 10))
        assert isinstance(found, Images)
        return found

    return open_


def test_what_a_trial_writes_into_its_images_no_other_sees(split):
    ours, theirs = split(), split()
    expected = theirs.pixels.clone()
    ours.pixels.zero_()
    ours.labels.zero_()
    for other in (theirs, split()):
        assert torch.equal(other.pixels, expected)
        assert other.labels.sum() == 6


def test_images_stay_when_the_file_is_removed(split):
    expected, mapped = split().pixels.clone(), split().pixels
    folder = node_folder()
    assert folder is not None
    (path,) = folder.glob("*.safetensors")
    path.unlink()
    assert torch.equal(mapped, expected)
    assert torch.equal(split().pixels, expected)


def test_a_file_that_was_cut_short_is_decoded_again(png_folder, capsys):
    digest = _digest(png_folder)
    expected = _images(_load(png_folder, digest))
    folder = node_folder()
    assert folder is not None
    (path,) = folder.glob("*.safetensors")
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1])
    assert torch.equal(_images(_load(png_folder, digest)), expected)
    assert f"{path} cannot be read" in capsys.readouterr().err


def test_names_of_classes_need_not_be_text(png_folder, capsys):
    """A folder of bytes that are no UTF-8 cannot be written as JSON: the trial describes its data for itself."""
    (png_folder / "toy" / "train" / "cat").rename(png_folder / "toy" / "train" / "ca\udcff")
    (png_folder / "toy" / "validation" / "cat").rename(png_folder / "toy" / "validation" / "ca\udcff")
    found = _load(png_folder, _digest(png_folder))
    assert found.info.class_names == ("ca\udcff", "dog")
    assert _files() == [".safetensors"]


def test_trials_share_what_they_decode_and_keep_their_numbers(png_folder, monkeypatch):
    arch = ArchSpec(model="vit", depth=1, embed_dim=12, num_heads=2, mlp_ratio=1.0, patch_size=2)
    spec = TrialSpec(arch=arch, task=TASK, train=TrainSpec(epochs=1, batch_size=4, crop_padding=1), seed=0)
    resources = Resources(data_dir=str(png_folder))

    def trained(origin: Origin):
        return run_trial_in_processes(spec, report=lambda point: False, resources=resources, origin=origin).metrics

    alone = trained(Origin())
    assert _files() == []
    origin = Origin(data=_digest(png_folder))
    assert [trained(origin), trained(origin)] == [alone, alone]
    assert _files() == [".json", ".safetensors"]
