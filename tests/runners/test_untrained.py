"""Weights that are measured without training (`train.epochs: 0`), by the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.data import create_transform
from torch import nn
from typer.testing import CliRunner

from modelzoo import build_model
from results import Run
from runners.cli.app import app
from runners.training.trial import run_trial
from search_space import load_sweep
from search_space.parsing.errors import SpecError
from search_space.schema.resources import Resources
from search_space.schema.trial import ArchSpec

SWEEP = """
name: released
baseline:
  arch: {model: test_resnet, img_size: 32, weights: resnet.pth}
  task: {name: classification, dataset: {name: folder/toy}}
  train: {epochs: 0, batch_size: 4, mean: [0.5, 0.4, 0.3], std: [0.2, 0.3, 0.4]}
space: {task.tta: [none, hflip]}
design: one_factor
seeds: 1
"""
MAPS = """
name: maps
baseline:
  arch: {model: vit, depth: 2, embed_dim: 16, num_heads: 2, patch_size: 4, attention: {name: reattention}, weights: vit.safetensors}
  task: {name: classification, dataset: {name: builtin/grains, img_size: 16, num_train: 20, num_test: 10}}
  train: {epochs: 0, batch_size: 20}
space: {train.amp: [auto, bfloat16]}
design: one_factor
seeds: 1
checkpoints: {keep: last}
"""  # noqa: E501
SIZES = [(40, 32), (32, 36), (48, 48)]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    drawn = np.random.default_rng(0)
    for split, number in (("train", 3), ("validation", 7)):
        for label in ("a", "b", "c"):
            place = tmp_path / "toy" / split / label
            place.mkdir(parents=True)
            for index in range(number):
                size = SIZES[index % len(SIZES)]
                pixels = drawn.integers(0, 256, (*size, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{index}.png")
    return tmp_path


def resnet(num_classes: int = 3) -> nn.Module:
    """A network whose BatchNorms have other statistics than fresh ones, and whose answers differ between images."""
    torch.manual_seed(3)
    model: Any = timm.create_model("test_resnet", num_classes=num_classes)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.1, 2.0)
    nn.init.normal_(model.get_classifier().weight, std=2.0)
    return model.eval()


def call(*args: str):
    return CliRunner().invoke(app, [*args])


def run(folder: Path, text: str = SWEEP, *options: str):
    (folder / "sweep.yaml").write_text(text)
    done = call("run", "sweep.yaml", "--engine", "in-process", "-q", "--no-cache", "--data-dir", str(folder), *options)
    if isinstance(done.exception, SpecError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done


def records(folder: Path, name: str = "released") -> dict:
    return {record.variant: record for record in Run.open(folder / "runs" / name).deciding.values()}


@torch.no_grad()
def measured(model: nn.Module, folder: Path, flips: tuple[bool, ...] = (False,)) -> tuple[float, float]:
    """top1 in % and cross-entropy, by timm's transform and a few lines, one image at a time."""
    numbers = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4), "interpolation": "bilinear", "crop_pct": 1.0}
    transform: Any = create_transform(input_size=(3, 32, 32), is_training=False, **numbers)
    losses, right = [], []
    for label, name in enumerate("abc"):
        for path in sorted((folder / "toy" / "validation" / name).iterdir()):
            image = transform(Image.open(path))
            answers = [model((image.flip(-1) if flip else image)[None])[0].double() for flip in flips]
            logits = torch.stack(answers).mean(dim=0)
            losses.append(-logits.log_softmax(0)[label].item())
            right.append(logits.argmax().item() == label)
    return 100 * float(np.mean(right)), float(np.mean(losses))


def test_a_record_has_the_numbers_of_the_weights_themselves(folder):
    model = resnet()
    torch.save(model.state_dict(), folder / "resnet.pth")
    run(folder)
    found = records(folder)
    expected = {"baseline": measured(model, folder), "tta=hflip": measured(model, folder, flips=(False, True))}
    for variant, (top1, loss) in expected.items():
        record = found[variant]
        assert (record.status, record.epochs, record.curve, record.train_seconds) == ("completed", 0, [], 0.0)
        assert record.metrics["top1"] == pytest.approx(top1, abs=1e-9)
        assert record.metrics["loss"] == pytest.approx(loss, rel=1e-5)  # float32, in batches of 4 here
        assert record.notes[0].startswith("measured without training, the same at every seed: resnet.pth (sha256 ")
    # Images and weights make these two different measurements, so that the equalities above say something.
    assert abs(expected["baseline"][1] - expected["tta=hflip"][1]) > 0.1
    assert 0 < expected["baseline"][0] < 100


def test_rows_that_are_measured_otherwise_load_the_weights_once(folder):
    torch.save(resnet().state_dict(), folder / "resnet.pth")
    run(folder)
    assert sorted(bool(record.trained_by) for record in records(folder).values()) == [False, True]
    planned = call("plan", "sweep.yaml", "--data-dir", str(folder)).output
    assert "nothing is trained: the trials measure weights as they are, which are loaded once" in planned
    assert "peak learning rate" not in planned
    assert "one more seed" not in planned


def test_the_table_says_that_nothing_was_trained(folder):
    torch.save(resnet().state_dict(), folder / "resnet.pth")
    run(folder)
    table = " ".join(call("table", "runs/released", "--format", "md").output.split())
    assert "of weights as they are, without training" in table
    assert "Compute: nothing was trained (2 trials measured weights), on cpu." in table
    assert "last epoch" not in table
    status = call("status", "runs/released").output
    assert "2 of 2 trials done" in status
    lines = (folder / "runs" / "released" / "trials.csv").read_text().splitlines()
    header, first = lines[0].split(","), lines[1].split(",")
    assert first[header.index("epochs")] == "0"
    assert call("report", "runs/released").exit_code == 0


def test_a_run_that_is_started_again_measures_nothing_twice(folder):
    torch.save(resnet().state_dict(), folder / "resnet.pth")
    run(folder)
    ledger = folder / "runs" / "released" / "ledger.jsonl"
    before = ledger.read_text()
    run(folder)
    assert ledger.read_text() == before


def test_with_a_validation_split_both_splits_are_measured(folder):
    model = resnet()
    torch.save(model.state_dict(), folder / "resnet.pth")
    run(folder, SWEEP.replace("folder/toy}}", "folder/toy}, val_fraction: 0.34}"))
    metrics = records(folder)["baseline"].metrics
    top1, _ = measured(model, folder)
    # There is one state of the weights, which is also the best one.
    assert metrics["top1"] == metrics["top1@best_val"] == pytest.approx(top1)
    assert "val_top1" in metrics


def test_weights_and_statistics_stay_as_they_are(folder):
    """A short training recalibrates the BatchNorms inside attention maps; without one they are those of the file."""
    arch = ArchSpec.model_validate(
        {"depth": 2, "embed_dim": 16, "num_heads": 2, "patch_size": 4, "attention": {"name": "reattention"}}
    )
    state = build_model(arch, img_size=16, in_chans=3, num_classes=8, seed=5).state_dict()
    names = [name for name in state if name.endswith("running_mean")]
    assert names
    for name in names:
        state[name] = torch.full_like(state[name], 0.25)
    save_file(state, folder / "vit.safetensors")
    run(folder, MAPS)
    kept = list((folder / "runs" / "maps" / "trials").glob("*/weights.safetensors"))
    assert len(kept) == 2
    for path in kept:
        found = load_file(path)
        assert found.keys() == state.keys()
        assert all(torch.equal(found[name], state[name]) for name in state)


def test_what_would_stay_fresh_is_refused(folder):
    torch.save(resnet(num_classes=5).state_dict(), folder / "resnet.pth")
    with pytest.raises(SpecError) as caught:
        run(folder)
    first = caught.value.problems[0]
    path = folder / "resnet.pth"
    assert f"{path} has fc.weight of shape [5, " in first.message
    assert "untrained, it would be measured as noise" in first.message
    assert first.hint == "take weights of a model with these classes and this mechanism, or train it: epochs >= 1"


def test_weights_before_and_after_a_training_stand_in_one_table(folder):
    """Options of the training belong to the rows that have one; the others are the weights that these began with."""
    torch.save(resnet().state_dict(), folder / "resnet.pth")
    text = SWEEP.replace("epochs: 0", "epochs: 1, warmup_lr: 1e-5, ema_decay: 0.9, mixup: 0.2")
    run(folder, text.replace("task.tta: [none, hflip]", "train.epochs: [1, 0]"))
    found = records(folder)
    top1, loss = measured(resnet(), folder)
    assert found["epochs=0"].metrics["top1"] == pytest.approx(top1)
    assert found["epochs=0"].metrics["top1@ema"] == pytest.approx(top1)
    assert found["baseline"].metrics["loss"] != pytest.approx(loss, rel=1e-3)
    assert found["baseline"].train_seconds > 0


def test_rows_that_differ_in_what_only_a_training_uses_are_one_experiment(folder):
    torch.save(resnet().state_dict(), folder / "resnet.pth")
    text = SWEEP.replace("epochs: 0", "epochs: 1")
    space = "{train.epochs: [1, 0], train.lr: [0.001, 0.01]}"
    (folder / "sweep.yaml").write_text(
        text.replace("{task.tta: [none, hflip]}", space).replace("design: one_factor", "design: factorial")
    )
    planned = " ".join(call("plan", "sweep.yaml", "--data-dir", str(folder)).output.split())
    assert "builds the same model as 'epochs=0' and trains it the same way" in planned


def test_features_are_measured_by_their_neighbours(folder):
    """Heads of a self-distillation are not in the weights, so nothing is said of their outputs."""
    arch = ArchSpec.model_validate({"depth": 1, "embed_dim": 16, "num_heads": 2, "patch_size": 4})
    state = build_model(arch, img_size=16, in_chans=3, num_classes=0, seed=5).state_dict()
    save_file(state, folder / "vit.safetensors")
    run(
        folder,
        """
name: features
baseline:
  arch: {model: vit, depth: 1, embed_dim: 16, num_heads: 2, patch_size: 4, weights: vit.safetensors}
  task: {name: self_supervised, dataset: {name: builtin/grains, img_size: 16, num_train: 20, num_test: 10}, evaluate: [knn], knn_k: 3, local_crops: 0}
  train: {epochs: 0, batch_size: 20}
space: {task.knn_k: [3, 1]}
design: one_factor
metric: knn_top1
seeds: 1
""",  # noqa: E501
    )
    assert set(records(folder, "features")["baseline"].metrics) == {"knn_top1", "knn_top1_pixels"}


def test_an_interrupted_evaluation_begins_again(folder):
    torch.save(resnet().state_dict(), folder / "resnet.pth")
    (folder / "sweep.yaml").write_text(SWEEP)
    spec = load_sweep(folder / "sweep.yaml").sweep.baseline.with_seed(0)
    answers = iter([True, False])
    options = {"report": lambda point: False, "resources": Resources(data_dir=str(folder)), "device": "cpu"}
    options |= {"directory": folder / "run" / "trials" / "one", "is_preempted": lambda: next(answers)}
    first, second = run_trial(spec, **options), run_trial(spec, **options)
    assert (first.status, first.metrics) == ("preempted", {})
    assert second.status == "completed"
    assert second.metrics["top1"] == pytest.approx(measured(resnet(), folder)[0])


def test_a_probe_times_the_evaluation_alone(folder):
    torch.save(resnet().state_dict(), folder / "resnet.pth")
    (folder / "sweep.yaml").write_text(SWEEP)
    done = call("plan", "sweep.yaml", "--data-dir", str(folder), "--probe")
    assert done.exit_code == 0, done.output
