"""One training, several trials: each gets the record that its own training would have given, bit for bit."""

from __future__ import annotations

import dataclasses
import math
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from runners.data import describe_dataset
from runners.tasks import TASKS
from runners.training.distributed_trial import run_trial_in_processes
from runners.training.trial import run_trial
from runners.trials.outcome import NonFiniteLoss, Outcome
from search_space import trial_id
from search_space.schema.resources import Resources
from search_space.schema.sweep import Checkpoints
from search_space.schema.trial import ArchSpec, ClassificationSpec, ShapesSpec, TrainSpec, TrialSpec

TINY = {"depth": 2, "embed_dim": 16, "num_heads": 2, "patch_size": 4, "mlp_ratio": 2.0}
SHAPES = ShapesSpec(img_size=16, num_train=48, num_test=30, in_chans=1)
WAYS = ({}, {"crop_pct": 0.7}, {"crop_pct": 1.3}, {"test_img_size": (20, 24)}, {"tta": "hflip", "crop_pct": 0.9})
OFTEN = Checkpoints(min_seconds=0, keep="best")


def spec_of(way=None, *, arch=None, task=None, **train) -> TrialSpec:
    return TrialSpec(
        arch=ArchSpec(**{**TINY, **(arch or {})}),
        task=ClassificationSpec(dataset=SHAPES, **{"val_fraction": 0.25, **(task or {}), **(way or {})}),
        train=TrainSpec(**{"epochs": 3, "batch_size": 8, "lr": 1e-3, "hflip": 0.5, "mixup": 0.2, **train}),
    )


def run(spec, *, also=(), directory=None, report=lambda point: False, **options) -> Outcome:
    options = {"keep_predictions": True, "checkpoints": OFTEN, **options}
    return run_trial(
        spec, also=also, report=report, resources=Resources(), device="cpu", directory=directory, **options
    )


def folder(directory: Path, spec: TrialSpec) -> Path:
    return directory / "run" / "trials" / trial_id(spec)


def measured(outcome: Outcome) -> tuple:
    """Everything that a record states except for times."""
    return outcome.status, outcome.metrics, outcome.curve, outcome.epochs, outcome.correct


def outcomes_of(shared: Outcome, specs) -> list[Outcome]:
    return [shared, *(shared.others[trial_id(each)] for each in specs[1:])]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("arch", "task", "train"),
    [
        pytest.param(
            {}, {"probes": ("attention_entropy",), "probe_images": 4}, {"ema_decay": 0.9}, marks=pytest.mark.slow
        ),
        ({"attention": {"name": "reattention"}}, {"val_fraction": 0.0}, {"recalibrate_bn": 2}),
        pytest.param(
            {"model": "test_resnet", "img_size": 16, **dict.fromkeys(TINY)},
            {"val_fraction": 0.0},
            {"epochs": 2},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["average and probes", "batchnorm in maps", "any size"],
)
def test_a_shared_training_gives_the_records_of_separate_ones(tmp_path, arch, task, train) -> None:
    arch = {key: value for key, value in arch.items() if value is not None or key in TINY}
    specs = [spec_of(way, arch=arch, task=task, **train) for way in WAYS]
    shared = run(specs[0], also=specs[1:], directory=folder(tmp_path / "shared", specs[0]), keep_samples=2)
    for spec, found in zip(specs, outcomes_of(shared, specs), strict=True):
        alone = run(spec, directory=folder(tmp_path / "alone", spec), keep_samples=2)
        assert measured(found) == measured(alone)
        kept = [load_file(folder(tmp_path / name, spec) / "weights.safetensors") for name in ("shared", "alone")]
        assert kept[0].keys() == kept[1].keys()
        assert all(torch.equal(kept[0][name], kept[1][name]) for name in kept[0])
        drawn = [(folder(tmp_path / name, spec) / "samples.npz").read_bytes() for name in ("shared", "alone")]
        assert drawn[0] == drawn[1]
    # The ways are different ways, so that the equalities above say something.
    assert len({str(each.curve) for each in outcomes_of(shared, specs)}) == len(specs)


@pytest.mark.thorough
def test_a_shared_training_resumes_bit_for_bit_with_every_curve(tmp_path) -> None:
    specs = [spec_of(way) for way in WAYS[:3]]
    whole = run(specs[0], also=specs[1:], directory=folder(tmp_path / "whole", specs[0]))
    calls = iter(range(10**6))
    here = folder(tmp_path / "again", specs[0])
    first = run(specs[0], also=specs[1:], directory=here, is_preempted=lambda: next(calls) >= 7)  # 4 or 5 an epoch
    assert [each.status for each in outcomes_of(first, specs)] == ["preempted"] * 3
    points = []
    again = run(
        specs[0],
        also=specs[1:],
        directory=here,
        report_other=lambda key, point: points.append((key, point)),
    )
    assert [measured(each) for each in outcomes_of(again, specs)] == [
        measured(each) for each in outcomes_of(whole, specs)
    ]
    # Every entry of the others is reported once, those from before the interruption included.
    for spec in specs[1:]:
        assert [point for key, point in points if key == trial_id(spec)] == whole.others[trial_id(spec)].curve


def test_a_checkpoint_without_a_further_trial_is_not_continued_for_it(tmp_path, capsys) -> None:
    one, other = (spec_of(way, epochs=2) for way in WAYS[:2])
    calls = iter(range(10**6))
    here = folder(tmp_path, one)
    run(one, directory=here, is_preempted=lambda: next(calls) >= 6)
    shared = run(one, also=[other], directory=here)
    assert f"does not hold what was measured for the trial {trial_id(other)}" in capsys.readouterr().out
    assert measured(shared.others[trial_id(other)]) == measured(run(other))


def test_a_checkpoint_of_several_trials_continues_the_first_one_alone(tmp_path, capsys) -> None:
    """The records of the others may have been written before the driver was killed."""
    one, other = (spec_of(way, epochs=2) for way in WAYS[:2])
    calls = iter(range(10**6))
    here = folder(tmp_path, one)
    run(one, also=[other], directory=here, is_preempted=lambda: next(calls) >= 6)
    again = run(one, directory=here)
    assert "continued from checkpoint.pt: 1 epochs" in capsys.readouterr().out
    assert measured(again) == measured(run(one))


def test_pruning_follows_the_first_trial_and_ends_all(tmp_path) -> None:
    one, other = (spec_of(way) for way in WAYS[:2])
    ended = run(one, also=[other], report=lambda point: point["epoch"] == 2)
    assert [(each.status, each.epochs, each.correct) for each in outcomes_of(ended, [one, other])] == [
        ("pruned", 2, ""),
        ("pruned", 2, ""),
    ]


def test_a_diverged_training_fails_once_for_all() -> None:
    one, other = (spec_of(way, lr=1e30, opt="sgd") for way in WAYS[:2])
    with pytest.raises(NonFiniteLoss):
        run(one, also=[other])


def test_the_time_of_a_trial_that_shares_is_that_of_its_evaluations() -> None:
    one, other = (spec_of(way) for way in WAYS[:2])
    shared = run(one, also=[other])
    rider = shared.others[trial_id(other)]
    assert rider.train_seconds == shared.train_seconds > 0
    assert 0 < rider.total_seconds < shared.total_seconds


def test_outcomes_cross_a_process_boundary_as_plain_values() -> None:
    whole = Outcome("completed", {"top1": 1.0}, others={"b": Outcome("completed", {"top1": 2.0}, correct="1:gA==")})
    assert Outcome.of(dataclasses.asdict(whole)) == whole


def test_flips_average_the_logits_of_an_image_and_its_mirror_image(tmp_path) -> None:
    """Images that are their own mirror images are measured as without flips."""
    spec, flipped = (
        spec_of({}, task={"val_fraction": 0.0}, epochs=1),
        spec_of({"tta": "hflip"}, task={"val_fraction": 0.0}, epochs=1),
    )
    info = describe_dataset(spec.task, Resources())
    kind = TASKS["classification"]
    task = kind(kind.build(spec, info, seed=0), info=info, spec=spec.task, train=spec.train, device=torch.device("cpu"))
    images = torch.rand(12, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(12) % info.num_classes
    ways = [task.measured_as(each.task).metrics for each in (spec, flipped)]
    model = task.model.eval()
    with torch.no_grad():
        logits = np.stack([model(batch).double().numpy() for batch in (images, images.flip(-1))]).mean(axis=0)
    expected = np.mean([math.log(np.exp(row).sum()) - row[label] for row, label in zip(logits, labels, strict=True)])
    plain, mean = (way([(images, labels)], nullcontext())["loss"] for way in ways)
    assert mean == pytest.approx(expected, rel=1e-5)
    assert abs(plain - mean) > 1e-4
    symmetric = torch.cat([images[..., :8], images[..., :8].flip(-1)], dim=-1)
    plain, mean = (way([(symmetric, labels)], nullcontext())["loss"] for way in ways)
    assert plain == pytest.approx(mean, rel=1e-6)


@pytest.mark.slow
def test_several_processes_share_a_training_among_trials_too() -> None:
    """The further trials have the outcomes that training them by two processes gives; rank 0 reports."""
    specs = [spec_of(way) for way in WAYS[:3]]
    resources = Resources(cpus=2, processes=2)
    points = []
    shared = run_trial_in_processes(
        specs[0],
        also=specs[1:],
        report=lambda point: False,
        report_other=lambda key, point: points.append((key, point)),
        resources=resources,
        keep_predictions=True,
    )
    for spec in specs[1:]:
        found = shared.others[trial_id(spec)]
        assert [point for key, point in points if key == trial_id(spec)] == found.curve
    alone = run_trial_in_processes(specs[2], report=lambda point: False, resources=resources, keep_predictions=True)
    assert measured(shared.others[trial_id(specs[2])]) == measured(alone)
