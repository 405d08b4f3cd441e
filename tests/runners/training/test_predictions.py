"""Kept predictions are those of the reported model, image by image, and change nothing else of a trial."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_digits

from modelzoo import build_model
from results.predictions.correct_images import decode_correct
from runners.data import load_data
from runners.data.holdout import stratified_holdout
from runners.training.trial import run_trial
from search_space.schema.resources import Resources
from search_space.schema.sweep import Checkpoints
from search_space.schema.trial import (
    ArchSpec,
    ClassificationSpec,
    DigitsSpec,
    ShapesSpec,
    TimmDatasetSpec,
    TrainSpec,
    TrialSpec,
)

pytestmark = pytest.mark.thorough

TINY = {"depth": 1, "embed_dim": 16, "num_heads": 2, "patch_size": 4, "mlp_ratio": 2.0}
SHAPES = ShapesSpec(img_size=8, num_train=64, num_test=50, in_chans=1)
OFTEN = Checkpoints(min_seconds=0, keep="last")


def spec_of(dataset=SHAPES, val_fraction=0.0, **train):
    return TrialSpec(
        arch=ArchSpec(**TINY),
        task=ClassificationSpec(dataset=dataset, val_fraction=val_fraction),
        train=TrainSpec(**{"epochs": 3, "batch_size": 16, "lr": 3e-3, **train}),
    )


def run(spec, directory=None, *, keeps=True, report=lambda entry: False, resources=None, **options):
    return run_trial(
        spec,
        report=report,
        resources=resources or Resources(),
        device="cpu",
        directory=directory,
        checkpoints=OFTEN,
        keep_predictions=keeps,
        **options,
    )


def bits(outcome):
    images = decode_correct(outcome.correct)
    return np.unpackbits(np.frombuffer(images.packed, np.uint8), count=images.num)


@pytest.mark.default_run("0.9-0.2", "None-0.0")
@pytest.mark.parametrize("val_fraction", [0.0, 0.2])
@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_bits_are_those_of_the_kept_weights_image_by_image(tmp_path: Path, val_fraction, ema_decay):
    """scikit-learn's images, normalised and classified one at a time by the model of the last epoch."""
    spec = spec_of(DigitsSpec(), val_fraction, ema_decay=ema_decay, batch_size=128)
    outcome = run(spec, tmp_path)
    digits = load_digits()
    train, test = stratified_holdout(digits.target, 0.2, seed=0)
    mean, std = digits.images[train].mean() / 16, digits.images[train].std() / 16
    model = build_model(spec.arch, img_size=(8, 8), in_chans=1, num_classes=10, seed=0)
    model.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    model.eval()
    expected = []
    with torch.inference_mode():
        for index in test:
            image = torch.tensor((digits.images[index] / 16 - mean) / std, dtype=torch.float32)
            expected.append(int(model(image[None, None]).argmax()) == digits.target[index])
    assert bits(outcome).tolist() == expected
    assert 0 < sum(expected) < len(expected)
    assert outcome.metrics["top1"] == 100 * sum(expected) / len(expected)


@pytest.mark.parametrize("val_fraction", [0.0, 0.25])
def test_metrics_are_the_same_with_and_without(tmp_path: Path, val_fraction):
    with_them, without = (
        run(spec_of(val_fraction=val_fraction), tmp_path / str(keeps), keeps=keeps) for keeps in (1, 0)
    )
    varies = ("correct", "train_seconds", "total_seconds")
    one, other = ({**dataclasses.asdict(found), **dict.fromkeys(varies)} for found in (with_them, without))
    assert one == other
    assert without.correct == ""
    ours, theirs = (load_file(tmp_path / name / "weights.safetensors") for name in ("1", "0"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_trial_that_is_pruned_keeps_none():
    assert run(spec_of(), report=lambda entry: entry["epoch"] == 2).correct == ""


class Killed(BaseException):
    """Exception in place of a kill signal."""


@pytest.fixture
def dies_at_the_end(monkeypatch):
    """Between the checkpoint of the last epoch and the outcome, once."""

    def die(spec, directory, **options):
        from runners.training.checkpoint import TrialCheckpoint

        def save_and_die(self, state):
            save(self, state)
            if state.epoch == spec.train.epochs:
                raise Killed

        with monkeypatch.context() as patch:
            save = TrialCheckpoint.save_if_due
            patch.setattr(TrialCheckpoint, "save_if_due", save_and_die)
            with pytest.raises(Killed):
                run(spec, directory, **options)

    return die


@pytest.mark.parametrize("val_fraction", [0.0, 0.25])
def test_a_trial_resumed_after_its_last_epoch_has_them_too(tmp_path: Path, val_fraction, dies_at_the_end):
    spec, resumed = spec_of(val_fraction=val_fraction), []
    whole = run(spec, tmp_path / "whole")
    dies_at_the_end(spec, tmp_path / "parts")
    ended = run(spec, tmp_path / "parts", on_resume=resumed.append)
    assert resumed == [whole.curve]
    assert (ended.metrics, ended.correct) == (whole.metrics, whole.correct)
    assert any(name.startswith("accuracy/") for name in ended.metrics)


def test_a_checkpoint_without_them_is_not_continued_after_its_last_epoch(tmp_path: Path, capsys, dies_at_the_end):
    """What was not asked for then is not there now; and a stranger's bits do not pass for those of the trial."""
    spec, resumed = spec_of(), []
    whole = run(spec, tmp_path / "whole")
    dies_at_the_end(spec, tmp_path / "none", keeps=False)
    assert run(spec, tmp_path / "none", on_resume=resumed.append).correct == whole.correct
    assert "which test images were right, which `keep_predictions` needs" in capsys.readouterr().out
    dies_at_the_end(spec, tmp_path / "other")
    path = tmp_path / "other" / "checkpoint.pt"
    stored = torch.load(path, weights_only=True)
    for stranger in (~stored["state"]["correct"], stored["state"]["correct"].float(), "text"):
        torch.save({**stored, "state": {**stored["state"], "correct": stranger}}, path)
        assert run(spec, tmp_path / "other", on_resume=resumed.append).correct == whole.correct
        assert "ignored, the trial starts from scratch" in capsys.readouterr().out
    assert resumed == []


@pytest.fixture
def folder(tmp_path: Path):
    """Noise in class folders, which a loader reads one by one: no model has all of it right, or none."""
    random = np.random.RandomState(0)
    for split, count in (("train", 8), ("validation", 7)):
        for label in ("cat", "dog"):
            place = tmp_path / "toy" / split / label
            place.mkdir(parents=True)
            for index in range(count):
                pixels = random.randint(0, 256, (8, 8, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{index}.png")
    return tmp_path


@pytest.mark.thorough
def test_the_order_does_not_depend_on_the_workers_of_a_loader(folder, monkeypatch):
    """The same training with 0 and 2 loader processes, below a memory limit of zero."""
    spec = spec_of(TimmDatasetSpec(name="toy"), batch_size=4)
    monkeypatch.setattr("runners.training.trial_parts.setup.load_data", functools.partial(load_data, in_memory_bytes=0))
    found = {num: run(spec, resources=Resources(data_dir=str(folder), num_workers=num)) for num in (0, 2)}
    assert found[0].correct == found[2].correct
    assert 0 < bits(found[0]).sum() < 14
