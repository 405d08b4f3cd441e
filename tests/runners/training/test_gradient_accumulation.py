"""Accumulated gradients: two half batches are one batch, the last update of an epoch has the batches that are left."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from runners.data import describe_dataset, load_data
from runners.data.epochs import updates_of_an_epoch
from runners.tasks import TASKS
from runners.training.gpu.cuda_graph import reason_against_graph
from runners.training.optimization.schedule import learning_rates
from runners.training.trial import run_trial
from search_space.schema.resources import Resources
from search_space.schema.sweep import Checkpoints
from search_space.schema.trial import ArchSpec, ClassificationSpec, ShapesSpec, TrainSpec, TrialSpec

CPU = torch.device("cpu")
TINY = ArchSpec(depth=1, embed_dim=16, num_heads=2, patch_size=4, mlp_ratio=2.0)
KEEP = Checkpoints(min_seconds=0, keep="last")


def _spec(num_train=24, **train) -> TrialSpec:
    task = ClassificationSpec(dataset=ShapesSpec(img_size=8, num_train=num_train, num_test=8, in_chans=1))
    options = {"epochs": 2, "opt": "sgd", "lr": 0.1, "sched": "constant", "amp": "off", **train}
    return TrialSpec(arch=TINY, task=task, train=TrainSpec(**options))


def _weights(spec, directory: Path) -> dict[str, torch.Tensor]:
    done = run_trial(
        spec, report=lambda point: False, resources=Resources(), device="cpu", directory=directory, checkpoints=KEEP
    )
    assert done.status == "completed"
    return load_file(directory / "weights.safetensors")


@pytest.mark.parametrize("train", [{}, {"clip_grad": 0.5}, {"opt": "adamw", "lr": 1e-3, "ema_decay": 0.5}])
def test_two_half_batches_are_one_batch(tmp_path, train):
    """Mean of two means of 4 images: that of 8, up to the rounding of sums in float32."""
    whole = _weights(_spec(batch_size=8, **train), tmp_path / "whole")
    halves = _weights(_spec(batch_size=4, grad_accum_steps=2, **train), tmp_path / "halves")
    other = _weights(_spec(batch_size=4, **train), tmp_path / "other")
    assert whole.keys() == halves.keys()
    for name, weight in whole.items():
        torch.testing.assert_close(halves[name], weight, rtol=1e-4, atol=1e-5)
    assert max((other[name] - weight).abs().max().item() for name, weight in whole.items()) > 1e-3


def test_the_last_update_of_an_epoch_has_the_batches_that_are_left(tmp_path):
    """20 images are 5 batches of 4: updates of 3 and of 2 batches, as timm's train.py has them; by hand."""
    spec = _spec(num_train=20, batch_size=4, grad_accum_steps=3, opt="momentum", momentum=0.5, weight_decay=0.0)
    found = _weights(spec, tmp_path)
    info = describe_dataset(spec.task, Resources())
    data = load_data(spec.task, spec.train, Resources(), CPU, img_size=(8, 8), seed=0)
    model = TASKS["classification"].build(spec, info, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    updates = 0
    for epoch in (1, 2):
        batches = list(data.train.epoch(epoch))
        for group in (batches[:3], batches[3:]):
            images = torch.cat([images for images, _ in group])
            labels = torch.cat([labels for _, labels in group])
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
            updates += 1
    assert updates == 2 * updates_of_an_epoch(spec.train, 20)
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(found[name], weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("num_train", "train", "updates"),
    [
        (20, {"batch_size": 4, "grad_accum_steps": 3}, 2),
        (24, {"batch_size": 4, "grad_accum_steps": 3}, 2),
        (20, {"batch_size": 4, "grad_accum_steps": 100}, 1),
        (20, {"batch_size": 4, "grad_accum_steps": 3, "epochs": 2, "steps": 14}, 7),
    ],
)
def test_updates_of_an_epoch_are_those_of_whole_and_left_batches(num_train, train, updates):
    assert updates_of_an_epoch(TrainSpec(**train), num_train) == updates


def test_steps_are_updates():
    """6 updates of 2 batches in 2 epochs: each epoch reads 6 batches."""
    spec = _spec(batch_size=4, grad_accum_steps=2, steps=6)
    data = load_data(spec.task, spec.train, Resources(), CPU, img_size=(8, 8), seed=0)
    assert len(data.train) == 6


def test_the_schedule_counts_updates(tmp_path, monkeypatch):
    """A cosine of 2 x 3 updates of 2 batches: the rates are those of 6 updates, and each is used once."""
    used = []
    step = torch.optim.SGD.step

    def noting(self, *args, **options):
        used.append(self.param_groups[0]["lr"])
        return step(self, *args, **options)

    monkeypatch.setattr(torch.optim.SGD, "step", noting)
    spec = _spec(batch_size=4, grad_accum_steps=2, sched="cosine")
    _weights(spec, tmp_path)
    assert used == pytest.approx(learning_rates(spec.train, range(6), updates_per_epoch=3))


def test_a_cuda_graph_is_refused():
    spec = _spec(grad_accum_steps=2)
    info = describe_dataset(spec.task, Resources())
    found = reason_against_graph(spec, info, Resources(gpus=1, cuda_graph=True))
    assert found.startswith("train.grad_accum_steps adds up gradients")
