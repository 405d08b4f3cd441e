"""Normalisation of a training: the dataset's, the model's as timm states it, or as written; the same in evaluation."""

from __future__ import annotations

import pytest
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from runners.data import describe_dataset, load_data
from runners.data.augmentation.normalisation import normalised
from runners.training import check_train_options
from runners.training.trial import run_trial
from search_space.parsing.errors import SpecError
from search_space.schema.resources import Resources
from search_space.schema.trial import ArchSpec, ClassificationSpec, Setting, ShapesSpec, TrainSpec, TrialSpec

TASK = ClassificationSpec(dataset=ShapesSpec(img_size=16, num_train=8, num_test=4))


def _info(model="vit", task=TASK, **train):
    setting = Setting(arch=ArchSpec(model=model), task=task, train=TrainSpec(**train))
    return normalised(describe_dataset(task, Resources()), setting)


def test_by_default_it_is_the_datasets():
    assert _info() == describe_dataset(TASK, Resources())


def test_the_models_is_that_of_its_published_weights():
    """The ViT of augreg was trained with 0.5, DeiT with ImageNet's statistics."""
    assert _info("vit_tiny_patch16_224", mean="model", std="model").mean == (0.5, 0.5, 0.5)
    found = _info("deit_tiny_patch16_224", mean="model", std="model")
    assert (found.mean, found.std) == (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)


def test_all_batches_have_it():
    found = _info(mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0))
    options = {"img_size": (16, 16), "seed": 0}
    train = TrainSpec(batch_size=4)
    plain = load_data(TASK, train, Resources(), torch.device("cpu"), **options)
    other = load_data(TASK, train, Resources(), torch.device("cpu"), info=found, **options)
    std, mean = torch.tensor([0.5, 1.0, 2.0]).view(3, 1, 1), torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
    pairs = [(plain.test, other.test), (plain.train.epoch(1), other.train.epoch(1))]
    for one, another in [*pairs, (plain.calibration, other.calibration)]:
        for (before, _), (after, _) in zip(one, another, strict=True):
            torch.testing.assert_close(after * std + mean, before * 0.25 + 0.5)


def test_a_trial_is_trained_with_it():
    def loss(**train):
        spec = TrialSpec(
            arch=ArchSpec(depth=1, embed_dim=8, num_heads=2, patch_size=8),
            task=TASK,
            train=TrainSpec(epochs=1, batch_size=4, recalibrate_bn=0, **train),
        )
        return run_trial(spec, report=lambda point: False, resources=Resources(), device="cpu").metrics["loss"]

    assert loss() == loss(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    assert loss() != loss(mean=(0.2, 0.5, 0.5))


def test_three_numbers_for_grey_images_are_refused():
    grey = ClassificationSpec(dataset=ShapesSpec(img_size=16, num_train=8, num_test=4, in_chans=1))
    with pytest.raises(SpecError, match="images of 'builtin/shapes' have 1 channels, but mean has 3 numbers"):
        check_train_options(grey, TrainSpec(mean=(0.5, 0.5, 0.5)), Resources())
