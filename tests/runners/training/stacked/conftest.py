"""Groups of trials: tiny ones with everything that draws, averages, clips, keeps and measures."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from safetensors.torch import load_file

from results.plan.stored import Origin
from runners.training.stacked.group import run_group
from runners.training.stacked.member import GroupOptions
from search_space import Resources, trial_id
from search_space.schema.sweep import Checkpoints
from search_space.schema.trial import ArchSpec, ClassificationSpec, ShapesSpec, TrainSpec, TrialSpec

ARCH = {
    "depth": 1, "embed_dim": 20, "num_heads": 2, "patch_size": 4, "mlp_ratio": 2.0, "class_token": False,
    "drop_path_rate": 0.2, "proj_drop_rate": 0.1,
}  # fmt: skip
SHAPES = ShapesSpec(img_size=8, num_train=64, num_test=32, in_chans=1)
NOISY = {"mixup": 0.5, "hflip": 0.5, "crop_padding": 1, "ema_decay": 0.9, "clip_grad": 1.0, "smoothing": 0.1}
OFTEN = Checkpoints(min_seconds=0, keep="best")


def specs_of(*seeds, attention="softmax", **train):
    return [
        TrialSpec(
            arch=ArchSpec(**ARCH, attention=attention),
            task=ClassificationSpec(dataset=SHAPES, val_fraction=0.25),
            train=TrainSpec(**{"epochs": 3, "batch_size": 16, "lr": 1e-3, "warmup_epochs": 1, **NOISY, **train}),
            seed=seed,
        )
        for seed in seeds
    ]


def train(specs, folder=None, **options):
    """How every trial ended, by its seed."""
    ended = train_members(specs, folder, **options)
    return {spec.seed: ended[trial_id(spec)] for spec in specs}


def train_members(specs, folder=None, *, report=lambda points: ((), ()), checkpoints=OFTEN, **options):
    """How every trial ended, by its id."""
    ended = {}
    given = GroupOptions(Resources(), checkpoints, "top1", keep_predictions=True, keep_samples=0, origin=Origin())
    run_group(
        specs,
        options=given,
        report=report,
        ended=ended.__setitem__,
        folder_of=lambda key: folder / "trials" / key if folder else None,
        **options,
    )
    return ended


def what(outcome):
    """All of an outcome but its times."""
    return dataclasses.replace(outcome, train_seconds=0.0, total_seconds=0.0)


def weights(folder, spec):
    return load_file(folder / "trials" / trial_id(spec) / "weights.safetensors")


def dies_in_epoch(number):
    def report(points):
        if any(point["epoch"] == number for point in points.values()):
            raise KeyboardInterrupt  # in the place of a kill signal; no code of archsweep catches it here
        return (), ()

    return report


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Several threads divide sums by their length, and so a member's by who is beside it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Four members with everything that draws, averages, clips, keeps and measures."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, train(specs_of(0, 1, 2, 3), folder)
