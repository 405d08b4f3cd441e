"""Checkpoints: an interrupted trial resumes bit for bit, and an untrusted file has no effect."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from modelzoo import build_model
from runners.data import describe_dataset, load_data
from runners.training.checkpoint import TrialCheckpoint
from runners.training.trial import run_trial
from search_space.schema.resources import Resources
from search_space.schema.sweep import Checkpoints
from search_space.schema.trial import ArchSpec, ClassificationSpec, ShapesSpec, TrainSpec, TrialSpec

TINY = {"depth": 2, "embed_dim": 16, "num_heads": 2, "patch_size": 4, "mlp_ratio": 2.0}
SHAPES = ShapesSpec(img_size=8, num_train=64, num_test=32, in_chans=1)
OFTEN = Checkpoints(min_seconds=0, keep="last")
NOISY = {
    "mixup": 0.5, "cutmix": 1.0, "smoothing": 0.1, "hflip": 0.5, "crop_padding": 1, "reprob": 0.3,
    "ema_decay": 0.9, "clip_grad": 1.0, "warmup_epochs": 1,
}  # fmt: skip
AUGMENTED = {
    "aa": "rand-m9-mstd0.5-inc1", "scale": (0.3, 1.0), "color_jitter_prob": None, "reprob": 0.5, "remode": "pixel",
    "recount": 2, "vflip": 0.3, "aug_repeats": 2, "mixup": 0.4,
    "grad_accum_steps": 2, "bce_loss": True, "lr_noise": (0.2,), "mixup_mode": "elem", "mixup_off_epoch": 2,
    "ema_decay": 0.9, "model_ema_warmup": True,
}  # fmt: skip
DROPPING = {"drop_path_rate": 0.3, "proj_drop_rate": 0.1, "attn_drop_rate": 0.1}


def spec_of(seed=0, arch=None, val_fraction=0.25, **train):
    return TrialSpec(
        arch=ArchSpec(**{**TINY, **(arch or {})}),
        task=ClassificationSpec(dataset=SHAPES, val_fraction=val_fraction),
        train=TrainSpec(**{"epochs": 4, "batch_size": 8, "lr": 1e-3, **train}),
        seed=seed,
    )


def run(spec, directory, checkpoints=OFTEN, *, report=lambda entry: False, **options):
    return run_trial(
        spec,
        report=report,
        resources=Resources(),
        device="cpu",
        directory=directory,
        checkpoints=checkpoints,
        **options,
    )


class Killed(BaseException):
    """Exception in place of a kill signal; no code of archsweep catches it."""


def dies_in_epoch(number):
    def report(entry):
        if entry["epoch"] == number:
            raise Killed
        return False

    return report


def after_updates(number):
    """Preemption before update `number` + 1 of this start."""
    calls = iter(range(10**6))
    return lambda: next(calls) >= number


def assert_same_weights(one, other):
    """Compare tensors bit for bit; the order of safetensors' metadata is undefined."""
    a, b = (load_file(directory / "weights.safetensors") for directory in (one, other))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.default_run("augmented")
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("arch", "train"),
    [
        ({"attention": "softmax", **DROPPING}, NOISY),
        pytest.param({"attention": "reattention", **DROPPING}, NOISY, marks=pytest.mark.slow),
        ({"attention": {"name": "refiner", "expansion": 2}}, {"opt": "lookahead_lamb", "sched": "step"}),
        ({"attention": "softmax", **DROPPING}, AUGMENTED),
        pytest.param(
            {"attention": "groupmix", "embed_dim": 20},
            {"opt": "sgd", "layer_decay": 0.8, "amp": "bfloat16"},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["softmax", "reattention", "refiner", "augmented", "groupmix"],
)
def test_interrupted_trial_continues_bit_for_bit(tmp_path: Path, arch, train):
    """Killed in epoch 2 (the checkpoint is of epoch 1), preempted in the middle of epoch 3, then completed."""
    spec = spec_of(arch=arch, **train)
    whole = run(spec, tmp_path / "whole")
    with pytest.raises(Killed):
        run(spec, tmp_path / "parts", report=dies_in_epoch(2))
    resumed_with = []
    # 48 training images are 6 updates an epoch: epoch 2 and half of epoch 3.
    left = run(
        spec,
        tmp_path / "parts",
        is_preempted=after_updates(9 // spec.train.grad_accum_steps),
        on_resume=resumed_with.append,
    )
    assert (left.status, left.epochs, left.metrics) == ("preempted", 2, {})
    ended = run(spec, tmp_path / "parts", on_resume=resumed_with.append)
    assert resumed_with == [whole.curve[:1], whole.curve[:2]]
    assert ended.curve == whole.curve
    assert ended.metrics == whole.metrics
    assert_same_weights(tmp_path / "parts", tmp_path / "whole")
    assert ended.total_seconds > left.total_seconds


@pytest.mark.default_run("validation")
@pytest.mark.thorough
@pytest.mark.parametrize("val_fraction", [0.0, 0.25], ids=["test", "validation"])
def test_best_weights_are_those_of_the_best_epoch(tmp_path: Path, val_fraction, learn_then_diverge):
    """Best weights survive an interruption and, loaded as documented, reproduce the metric of their epoch."""
    spec = spec_of(
        arch={"attention": "reattention"}, val_fraction=val_fraction, ema_decay=0.5, seed=1, **learn_then_diverge
    )
    best = Checkpoints(min_seconds=0, keep="best")
    whole = run(spec, tmp_path / "whole", best, metric="loss")
    watched = "val_loss" if val_fraction else "loss"
    epoch = min(whole.curve, key=lambda point: point[watched])["epoch"]
    assert epoch == 3, "another epoch is the best: the schedule is not what this test needs"
    with pytest.raises(Killed):
        run(spec, tmp_path / "parts", best, metric="loss", report=dies_in_epoch(5))
    run(spec, tmp_path / "parts", best, metric="loss")
    path = tmp_path / "parts" / "weights.safetensors"
    assert_same_weights(tmp_path / "parts", tmp_path / "whole")
    with safe_open(path, "pt") as stored:
        metadata = stored.metadata()
    assert metadata["epoch"] == str(epoch)
    assert metadata["chosen_by"] == ("val_loss" if val_fraction else "loss of the test split")

    info = describe_dataset(spec.task, Resources())
    model = build_model(spec.arch, img_size=info.img_size, in_chans=info.in_chans, num_classes=info.num_classes, seed=0)
    model.load_state_dict(load_file(path))
    data = load_data(spec.task, spec.train, Resources(), torch.device("cpu"), img_size=(8, 8), seed=0)
    model.eval()
    with torch.inference_mode():
        losses = [torch.nn.functional.cross_entropy(model(x), y, reduction="sum") for x, y in data.test]
    expected = whole.metrics["loss@best_val"] if val_fraction else whole.curve[epoch - 1]["loss"]
    assert float(sum(losses)) / 32 == pytest.approx(expected, rel=1e-5)


def saved(directory, spec):
    """Path of a valid checkpoint of epoch 1."""
    with pytest.raises(Killed):
        run(spec, directory, report=dies_in_epoch(2))
    return directory / "checkpoint.pt"


def change(path, **entries):
    torch.save({**torch.load(path, weights_only=True), **entries}, path)


class Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_stranger_s_checkpoint_executes_nothing(tmp_path: Path, capsys):
    spec = spec_of(epochs=2)
    path = saved(tmp_path / "trial", spec)
    change(path, state=Bomb(tmp_path / "executed"))
    torch.load(path, weights_only=False)  # the payload works ...
    (tmp_path / "executed").rmdir()
    outcome = run(spec, tmp_path / "trial")
    assert not (tmp_path / "executed").exists()
    assert outcome.curve == run(spec, tmp_path / "fresh").curve
    expected = (
        "checkpoint.pt ignored, the trial starts from scratch: it holds more than tensors and plain values, or is "
        "damaged; none of it was executed\n"
    )
    assert expected in capsys.readouterr().out


class _WithoutRoom:
    """A training whose device has no room for what a checkpoint holds."""

    def load_state_dict(self, state):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def test_lack_of_memory_is_no_fault_of_the_checkpoint(tmp_path, capsys):
    """A trial that resumes beside others fails, to continue alone, instead of dropping the epochs it has."""
    spec = spec_of(epochs=2)
    saved(tmp_path / "trial", spec)
    checkpoint = TrialCheckpoint(spec, tmp_path / "trial", OFTEN)
    with pytest.raises(torch.OutOfMemoryError):
        checkpoint.resume(_WithoutRoom())
    assert "ignored" not in capsys.readouterr().out


def tear(path):
    path.write_bytes(path.read_bytes()[:-1000])


def spoil_half(path):
    """Make the checkpoint invalid at the optimizer: all that was loaded before it must be restored."""
    state = torch.load(path, weights_only=True)["state"]
    change(path, state={**state, "optimizer": {"state": {}, "param_groups": []}})


@pytest.mark.default_run("torn", "origin", "half")
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (tear, "RuntimeError: PytorchStreamReader failed reading zip archive: failed finding central directory"),
        (lambda path: path.write_bytes(b""), "EOFError: "),
        (
            lambda path: change(path, origin="other images"),
            "it is of other data, code or software: 'other images', this is ''",
        ),
        (lambda path: change(path, format=1), "it has format 1, this archsweep writes 2"),
        (lambda path: change(path, trial_id="0123456789ab"), "it is of trial '0123456789ab', this is '{trial_id}'"),
        (lambda path: change(path, versions={"torch": "1.0"}), "it was written with archsweep None, this is "),
        (lambda path: torch.save([1], path), "it is no checkpoint of a trial"),
        (spoil_half, "ValueError: loaded state dict has a different number of parameter groups"),
    ],
    ids=["torn", "empty", "origin", "format", "foreign", "versions", "list", "half"],
)
def test_unusable_checkpoint_is_ignored_with_a_message(tmp_path: Path, capsys, spoil, reason):
    spec = spec_of(epochs=2, arch=DROPPING, **{**NOISY, "warmup_epochs": 0})
    path = saved(tmp_path / "trial", spec)
    trial_id = torch.load(path, weights_only=True)["trial_id"]
    spoil(path)
    capsys.readouterr()
    outcome = run(spec, tmp_path / "trial")
    expected = f"checkpoint.pt ignored, the trial starts from scratch: {reason.format(trial_id=trial_id)}"
    assert capsys.readouterr().out.startswith(expected)
    whole = run(spec, tmp_path / "fresh")
    assert (outcome.curve, outcome.metrics) == (whole.curve, whole.metrics)


def test_training_continues_where_no_checkpoint_can_be_written(tmp_path: Path, capsys):
    """A limit on file sizes acts like a full disk: the write itself fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        outcome = run(spec_of(epochs=2), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert outcome.status == "completed"
    assert list(tmp_path.iterdir()) == []
    lines = capsys.readouterr().out.splitlines()
    # Where in the file the limit is met decides whether Python's or PyTorch's writer notices.
    reasons = ("the file may not grow further", "only a part of it could be written")
    expected = [
        f"{name} not written, the training goes on: " for name in ("checkpoint.pt",) * 2 + ("weights.safetensors",)
    ]
    assert len(lines) == 3
    for line, start in zip(lines, expected, strict=True):
        assert line.startswith(start)
        assert line.removeprefix(start) in reasons


def test_short_trial_writes_no_checkpoint_by_default(tmp_path: Path):
    run(spec_of(epochs=2), tmp_path / "trial", Checkpoints())
    assert not (tmp_path / "trial").exists()


def test_checkpoints_are_every_epochs_apart(tmp_path: Path):
    epochs = []

    def look(entry):
        path = tmp_path / "checkpoint.pt"
        epochs.append(torch.load(path, weights_only=True)["state"]["epoch"] if path.exists() else 0)
        return False

    run(spec_of(epochs=6), tmp_path, Checkpoints(every_epochs=2, min_seconds=0), report=look)
    assert epochs == [0, 0, 2, 2, 4, 4]
