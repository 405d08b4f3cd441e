"""A whole trial: reproducibility, evaluated splits, pruning, readable failures."""

from __future__ import annotations

import math
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from runners.training.trial import NonFiniteLoss, run_trial
from search_space.parsing.errors import SpecError
from search_space.schema.resources import Resources
from search_space.schema.trial import (
    ArchSpec,
    ClassificationSpec,
    ShapesSpec,
    TaskSpec,
    TimmDatasetSpec,
    TrainSpec,
    TrialSpec,
)

pytestmark = pytest.mark.thorough

TINY = {"depth": 2, "embed_dim": 16, "num_heads": 2, "patch_size": 4, "mlp_ratio": 2.0}
SHAPES = ShapesSpec(img_size=8, num_train=64, num_test=32, in_chans=1)


def _spec(seed: int = 0, task: TaskSpec | None = None, arch: dict | None = None, **train) -> TrialSpec:
    return TrialSpec(
        arch=ArchSpec(**{**TINY, **(arch or {})}),
        task=task or ClassificationSpec(dataset=SHAPES),
        train=TrainSpec(**{"epochs": 2, "batch_size": 16, "lr": 1e-3, **train}),
        seed=seed,
    )


MEASURED = ("top1", "top5", "loss", "balanced_accuracy", "macro_f1", "auroc", "ece")


def _of_classes(outcome) -> set[str]:
    return {name for name in outcome.metrics if name.startswith("accuracy/")}


def _run(spec: TrialSpec, report=lambda entry: False, **resources):
    return run_trial(spec, report=report, resources=Resources(**resources), device="cpu")


def test_outcome_of_a_completed_trial():
    reported = []
    outcome = _run(_spec(epochs=3), lambda entry: bool(reported.append(entry)))
    assert (outcome.status, outcome.epochs, outcome.device) == ("completed", 3, "cpu")
    assert outcome.curve == reported
    assert [entry["epoch"] for entry in reported] == [1, 2, 3]
    assert set(reported[0]) == {"epoch", "train_loss", *MEASURED}
    assert _of_classes(outcome) == {f"accuracy/{name}" for name in range(10)} & {*outcome.metrics}
    assert {name: outcome.metrics[name] for name in MEASURED} == {name: reported[-1][name] for name in MEASURED}
    recalls = [outcome.metrics[name] for name in _of_classes(outcome)]
    assert sum(recalls) / len(recalls) == pytest.approx(outcome.metrics["balanced_accuracy"])
    assert 0 < outcome.train_seconds < outcome.total_seconds
    # 32 test images: accuracies are multiples of 100 / 32.
    assert (outcome.metrics["top1"] * 32 / 100).is_integer()


@pytest.mark.default_run("dropout")
@pytest.mark.thorough
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"arch": {"attention": "reattention", "drop_path_rate": 0.2, "proj_drop_rate": 0.1}},
        {"mixup": 0.5, "cutmix": 1.0, "smoothing": 0.1, "hflip": 0.5, "crop_padding": 1, "reprob": 0.3},
        {"ema_decay": 0.9, "clip_grad": 1.0, "opt": "lion", "layer_decay": 0.8, "warmup_epochs": 1},
    ],
    ids=["plain", "dropout", "augmented", "averaged"],
)
def test_same_spec_gives_bit_equal_results_whatever_ran_before(options):
    first = _run(_spec(**options))
    _run(_spec(seed=5, arch={"attention": "groupmix", "embed_dim": 20}, reprob=0.5))
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    second = _run(_spec(**options))
    assert first.curve == second.curve
    assert first.metrics == second.metrics


def test_a_trial_leaves_the_global_generators_alone():
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    _run(_spec(epochs=1))
    assert torch.equal(torch.rand(2), expected)


def test_seeds_give_different_results():
    assert _run(_spec(seed=0)).curve != _run(_spec(seed=1)).curve


def _seen_images(arch: dict) -> list[torch.Tensor]:
    """Inputs of the model's first convolution in training mode."""
    seen = []

    def hook(module, args):
        if isinstance(module, torch.nn.Conv2d) and module.training and args[0].shape[1:] == (1, 8, 8):
            seen.append(args[0].detach().clone())

    handle = torch.nn.modules.module.register_module_forward_pre_hook(hook)
    try:
        _run(_spec(arch=arch, hflip=0.5, crop_padding=1, reprob=0.5, mixup=0.5))
    finally:
        handle.remove()
    return seen


def test_all_architectures_see_the_same_images_in_the_same_order():
    plain = _seen_images({})
    other = _seen_images({"attention": "refiner", "depth": 3, "embed_dim": 24, "drop_path_rate": 0.3})
    assert len(plain) == 8  # 2 epochs of 4 batches
    assert all(torch.equal(a, b) for a, b in zip(plain, other, strict=True))


def test_every_epoch_reports_the_validation_split_and_the_last_one_the_test_split():
    outcome = _run(_spec(task=ClassificationSpec(dataset=SHAPES, val_fraction=0.25)))
    watched = {f"val_{name}" for name in MEASURED}
    assert all(set(entry) == {"epoch", "train_loss", *watched} for entry in outcome.curve)
    chosen = {f"{name}@best_val" for name in MEASURED}
    assert set(outcome.metrics) - _of_classes(outcome) == {*MEASURED, *watched, *chosen}
    recalls = [outcome.metrics[name] for name in _of_classes(outcome)]
    assert sum(recalls) / len(recalls) == pytest.approx(outcome.metrics["balanced_accuracy"])
    assert {name: outcome.metrics[name] for name in watched} == {name: outcome.curve[-1][name] for name in watched}
    assert (outcome.metrics["val_top1"] * 16 / 100).is_integer()


def test_a_trial_stopped_by_report_is_pruned_with_its_curve():
    outcome = _run(_spec(epochs=5), lambda entry: entry["epoch"] == 2)
    assert (outcome.status, outcome.epochs, outcome.metrics) == ("pruned", 2, {})
    assert [entry["epoch"] for entry in outcome.curve] == [1, 2]


def test_stopping_a_trial_does_not_change_its_epochs():
    whole = _run(_spec(epochs=3))
    stopped = _run(_spec(epochs=3), lambda entry: True)
    assert stopped.curve == whole.curve[:1]


def test_a_trial_stopped_after_its_last_epoch_is_completed():
    outcome = _run(_spec(epochs=2), lambda entry: entry["epoch"] == 2)
    assert outcome.status == "completed"
    assert outcome.metrics["top1"] == outcome.curve[-1]["top1"]


def test_diverging_training_raises_with_its_epoch():
    with pytest.raises(NonFiniteLoss) as caught:
        _run(_spec(epochs=5, lr=1e30, opt="sgd", sched="constant"))
    assert caught.value.epoch == 1
    assert not math.isfinite(caught.value.value)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.epoch, str(again)) == (1, str(caught.value))


def test_float16_on_a_cpu_is_refused():
    with pytest.raises(SpecError, match="'float16' needs a GPU"):
        _run(_spec(amp="float16"))


def test_bfloat16_is_used_on_a_cpu():
    outcome = _run(_spec(amp="bfloat16"))
    plain = _run(_spec(amp="off"))
    # One loss may be equal by chance.
    assert outcome.curve != plain.curve
    assert outcome.metrics["loss"] == pytest.approx(plain.metrics["loss"], rel=0.05)
    assert _run(_spec(amp="auto")).metrics == plain.metrics


def test_images_are_enlarged_to_the_architectures_size():
    outcome = _run(_spec(arch={"img_size": 16}))
    assert outcome.status == "completed"


def test_averaged_weights_are_evaluated_with_recalibrated_statistics():
    """With a decay near 0 the average equals the model itself, including attention BatchNorms."""
    arch = {"attention": "reattention"}
    averaged = _run(_spec(arch=arch, ema_decay=1e-12))
    plain = _run(_spec(arch=arch))
    assert averaged.metrics["loss"] == pytest.approx(plain.metrics["loss"], rel=1e-4)


def test_recalibration_changes_the_metrics_of_a_short_training():
    arch = {"attention": "reattention", "depth": 4}
    with_it, without = (_run(_spec(arch=arch, recalibrate_bn=number)).metrics["loss"] for number in (16, 0))
    assert with_it != without


def test_a_folder_of_images(tmp_path: Path):
    for split, count in (("train", 8), ("validation", 2)):
        for label, value in (("cat", 40), ("dog", 200)):
            folder = tmp_path / "toy" / split / label
            folder.mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (8, 8), (value + index, value, value)).save(folder / f"{index}.png")
    task = ClassificationSpec(dataset=TimmDatasetSpec(name="folder/toy"))
    outcome = _run(_spec(task=task, epochs=15, batch_size=8, lr=3e-3), data_dir=str(tmp_path))
    assert outcome.metrics["top1"] == 100.0  # dark cats, bright dogs
    assert "top5" not in outcome.metrics


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("attention", "epochs"),
    [
        ("softmax", 8),
        pytest.param("reattention", 6, marks=pytest.mark.slow),
        ("refiner", 3),
        pytest.param("groupmix", 2, marks=pytest.mark.slow),
    ],
)
def test_every_mechanism_learns_handwritten_digits(attention, epochs):
    arch = {"depth": 2, "embed_dim": 40, "num_heads": 4, "patch_size": 2, "attention": attention}
    spec = _spec(
        task=ClassificationSpec(), arch=arch, epochs=epochs, batch_size=32, lr=4e-3, warmup_epochs=1, recalibrate_bn=4
    )
    assert _run(spec).metrics["top1"] > 70.0
