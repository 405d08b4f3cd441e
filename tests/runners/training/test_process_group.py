"""Data-parallel training of one trial is equal to training in one process."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from results.predictions.samples_file import read_samples
from runners.training.distributed_trial import run_trial_in_processes
from runners.training.process_group import ProcessGroup, in_order
from runners.trials.outcome import TrialFailed
from search_space.schema.resources import Resources
from search_space.schema.sweep import Checkpoints
from search_space.schema.trial import ArchSpec, ClassificationSpec, ShapesSpec, TrainSpec, TrialSpec

TINY = {"depth": 2, "embed_dim": 16, "num_heads": 2, "patch_size": 4, "mlp_ratio": 2.0}
KEEP = Checkpoints(min_seconds=0, keep="last")


def spec_of(**train):
    # Two processes shard 10 images into 4 and 6. 31 test images: the last batch has one, for one of the processes.
    task = ClassificationSpec(dataset=ShapesSpec(img_size=8, num_train=64, num_test=31, in_chans=1), val_fraction=0.2)
    return TrialSpec(
        arch=ArchSpec(**TINY), task=task, train=TrainSpec(**{"epochs": 4, "batch_size": 10, "lr": 1e-3, **train})
    )


def run(spec, directory, *, processes=1, report=lambda entry: False, **options):
    resources = Resources(cpus=2, processes=processes)
    return run_trial_in_processes(
        spec, report=report, resources=resources, directory=directory, checkpoints=KEEP, **options
    )


NOISY = {
    "mixup": 0.5, "cutmix": 1.0, "hflip": 0.5, "crop_padding": 1, "reprob": 0.3, "ema_decay": 0.9, "clip_grad": 1.0,
    "cosine_regulariser": {"pairs": 1, "weight": 0.1},
}  # fmt: skip


def assert_close(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a == pytest.approx(b, rel=1e-5, abs=1e-5)


@pytest.mark.slow
@pytest.mark.thorough
def test_two_processes_accumulate_what_one_accumulates(tmp_path: Path):
    """Augmented one by one by timm's transforms, in copies, and two batches an update."""
    options = {"grad_accum_steps": 2, "aug_repeats": 2, "aa": "rand-m9-mstd0.5-inc1", "ema_decay": 0.9}
    spec = spec_of(**options, clip_grad=1.0, mixup=0.5, bce_loss=True, epochs=2)
    alone = run(spec, tmp_path / "alone")
    shared = run(spec, tmp_path / "shared", processes=2)
    assert (shared.status, shared.epochs) == ("completed", 2)
    assert_close(shared.curve, alone.curve)


@pytest.mark.slow
def test_two_processes_have_the_splits_of_their_images(tmp_path: Path):
    """The divergence is one between the splits of an image, all of which one process has."""
    options = {"aug_splits": 2, "jsd_loss": True, "aa": "augmix-m3", "reprob": 0.5, "resplit": True, "epochs": 2}
    alone = run(spec_of(**options), tmp_path / "alone")
    shared = run(spec_of(**options), tmp_path / "shared", processes=2)
    assert_close(shared.curve, alone.curve)


# Slow, because five processes import torch for it. The default run has the test above.
@pytest.mark.slow
def test_two_processes_compute_what_one_computes(tmp_path: Path):
    """Same global batches: sums over processes differ from sums over a batch in their rounding alone. That holds where
    the two are interrupted and continue, and where one process continues what two began."""
    spec, seen = spec_of(**NOISY), []
    alone = run(spec, tmp_path / "alone", keep_predictions=True, keep_samples=3)

    def note(entry):
        seen.append(entry)
        return False

    left = run(spec, tmp_path / "parts", processes=2, report=note, is_preempted=lambda: len(seen) == 2)
    assert left.status == "preempted"
    assert 2 <= left.epochs < 4
    shutil.copytree(tmp_path / "parts", tmp_path / "by_one")
    curves = []
    shared = run(spec, tmp_path / "parts", processes=2, on_resume=curves.append, keep_predictions=True, keep_samples=3)
    assert (shared.status, shared.epochs) == ("completed", 4)
    assert_close(shared.curve, alone.curve)
    assert shared.metrics == pytest.approx(alone.metrics, rel=1e-5)
    # The same images: 4 batches of 10 and 1, whose shards were put in order, without a copy of the single last one.
    assert shared.correct.startswith("31:")
    assert shared.correct == alone.correct
    drawn = [read_samples(tmp_path / name / "samples.npz").samples for name in ("alone", "parts")]
    assert [(each.position, each.truth.label, each.prediction.label) for each in drawn[0]] == [
        (each.position, each.truth.label, each.prediction.label) for each in drawn[1]
    ]
    ours, theirs = (load_file(tmp_path / name / "weights.safetensors") for name in ("alone", "parts"))
    # The gradient of a key's bias is rounding alone, which AdamW enlarges; an update of a weight is about 1e-3.
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-4) for name in ours)
    assert_close(run(spec, tmp_path / "by_one", on_resume=curves.append).curve, alone.curve)
    assert curves == [left.curve, left.curve]


# Slow, because two processes import torch for it.
@pytest.mark.slow
@pytest.mark.parametrize("operation", ["sinkhorn", "batch_softmax"])
def test_two_processes_have_the_operation_over_their_whole_batch(tmp_path: Path, operation: str):
    """What the teacher does to its outputs sums over the rows of both. Its entropies are measured over the rows of each
    process, because the last batch of an evaluation may be of one process only."""
    task = {
        "name": "self_supervised",
        "dataset": {"name": "builtin/shapes", "img_size": 8, "num_train": 64, "num_test": 31, "in_chans": 1},
        **{"prototypes": 8, "head_hidden_dim": 16, "head_dim": 4, "local_crops": 0, "evaluate": ["knn"]},
        "teacher_operation": operation,
    }
    train = {"epochs": 2, "batch_size": 10, "lr": 1e-3}
    spec = TrialSpec.model_validate({"arch": {**TINY, "img_size": 8}, "task": task, "train": train})
    alone = run(spec, tmp_path / "alone", metric="knn_top1")
    shared = run(spec, tmp_path / "shared", processes=2, metric="knn_top1")
    curves = [[(entry["train_loss"], entry["knn_top1"]) for entry in each.curve] for each in (shared, alone)]
    assert_close(*curves)


# Slow, because six processes import torch for it. test_checkpoint.py holds the same bits for one process.
@pytest.mark.slow
def test_two_interrupted_processes_continue_bit_for_bit(tmp_path: Path):
    spec, seen = spec_of(**NOISY), []
    whole = run(spec, tmp_path / "whole", processes=2)

    def note(entry):
        seen.append(entry)
        return False

    run(spec, tmp_path / "parts", processes=2, report=note, is_preempted=lambda: len(seen) == 2)
    assert run(spec, tmp_path / "parts", processes=2).curve == whole.curve


def children():
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if int(stat[1]) == os.getpid() and b"spawn_main" in command:
                found.append(int(entry.name))
    return sorted(found)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the trial's processes in /proc")
def test_dead_process_fails_the_trial_with_a_message_and_ends_the_others(tmp_path: Path):
    def kill_the_last(entry):
        if entry["epoch"] == 1:
            os.kill(children()[-1], signal.SIGKILL)
        return False

    with pytest.raises(TrialFailed) as caught:
        run(spec_of(epochs=50), tmp_path, processes=2, report=kill_the_last)
    assert caught.value.failure.type == "Killed"
    expected = "process 2 of the 2 that trained the trial was killed, most likely because memory ran out"
    assert caught.value.failure.message == expected
    assert children() == []


@pytest.mark.slow
def test_failure_of_a_distributed_trial_is_that_of_the_training(tmp_path: Path):
    with pytest.raises(TrialFailed) as caught:
        run(spec_of(lr=1e30), tmp_path, processes=2)
    assert caught.value.failure.type == "NonFiniteLoss"


@pytest.mark.parametrize("num", [1, 2, 7, 12])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_shards_are_disjoint_complete_and_made_of_mixup_pairs(num, size):
    shares = [ProcessGroup(rank, size).shard_of(num).tolist() for rank in range(size)]
    assert sorted(index for share in shares for index in share) == list(range(num))
    for share in shares:
        # Mixup pairs the first with the last image of its input.
        assert [num - 1 - index for index in share] == share[::-1]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize(("num", "batch_size"), [(31, 10), (30, 10), (4, 10), (1, 10), (12, 1), (0, 10)])
def test_values_of_shards_are_put_in_the_order_of_the_images(num, batch_size, size):
    """As the loaders take them: each rank its shard of every batch, none where that is empty."""
    images = torch.arange(num)
    ranks = [ProcessGroup(rank, size) for rank in range(size)]
    seen = [[batch[rank.shard_of(len(batch))] for batch in images.split(batch_size) if num] for rank in ranks]
    shares = [torch.cat([images[:0], *batches]) for batches in seen]
    assert in_order(shares, batch_size=batch_size).tolist() == list(range(num))
