"""Fine-tuning from files and from timm's releases, by the command line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from modelzoo import build_model
from results.store.ledger import read_ledger
from results.store.run_layout import RunDir
from runners.cli.app import app
from search_space.parsing.errors import SpecError
from search_space.schema.trial import ArchSpec

SWEEP = """
name: tuned
baseline:
  arch: {model: vit, depth: 2, embed_dim: 16, num_heads: 2, patch_size: 4, weights: vit.safetensors}
  task: {name: classification, dataset: {name: builtin/grains, img_size: 16, num_train: 20, num_test: 10}}
  train: {epochs: 1, batch_size: 20}
seeds: 1
design: one_factor
space: {arch.attention: [{name: reattention}]}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sweep(folder: Path, text: str = SWEEP) -> str:
    (folder / "sweep.yaml").write_text(text)
    return str(folder / "sweep.yaml")


def weights(folder: Path, img_size: int = 32, **changes) -> None:
    """A checkpoint as a user has one: of other images and other classes, saved by a compiled model."""
    arch = ArchSpec.model_validate({"depth": 2, "embed_dim": 16, "num_heads": 2, "patch_size": 4, **changes})
    state = build_model(arch, img_size=img_size, in_chans=3, num_classes=7, seed=5).state_dict()
    save_file({f"_orig_mod.{name}": tensor for name, tensor in state.items()}, folder / "vit.safetensors")


def call(*args: str):
    return CliRunner().invoke(app, [*args])


def refusal(path: str) -> str:
    """What is wrong with a sweep, on one line."""
    done = run(path)
    assert isinstance(done.exception, SpecError), done.output
    return " ".join(str(done.exception).split())


def run(path: str, *options: str):
    return call("run", path, "--engine", "in-process", "-q", "--no-cache", *options)


def test_a_checkpoint_of_ones_own_is_tuned_and_said_in_plan_record_and_table(folder):
    weights(folder)
    planned = call("plan", sweep(folder))
    assert planned.exit_code == 0, planned.output
    assert "first weights: vit.safetensors (sha256 " in planned.output
    assert "weights of the mechanism initialised afresh" in planned.output
    done = run(sweep(folder))
    assert done.exit_code == 0, done.output
    baseline, other = read_ledger(RunDir(folder / "runs" / "tuned").ledger).records
    first, fresh, resized = baseline.notes
    assert first.startswith("first weights: vit.safetensors (sha256 ")
    assert fresh == "weights initialised afresh: head.weight, head.bias"
    assert resized == "weights resized: pos_embed"
    assert any(note.startswith("weights of the mechanism initialised afresh: ") for note in other.notes)
    table = " ".join(call("table", str(folder / "runs" / "tuned"), "--format", "md").output.split())
    assert "first weights: vit.safetensors" in table


def test_what_cannot_be_begun_with_is_an_error_of_the_plan(folder):
    assert "baseline.arch.weights: there is no file" in refusal(sweep(folder))
    weights(folder, depth=1)
    assert "has no blocks.1.norm1.weight" in refusal(sweep(folder))
    assert not (folder / "runs").exists()


def test_the_folder_of_the_data_is_said_to_the_plan_as_to_the_run(folder):
    weights(folder)
    (folder / "data").mkdir()
    (folder / "vit.safetensors").rename(folder / "data" / "vit.safetensors")
    assert "there is no file" in " ".join(str(call("plan", sweep(folder)).exception).split())
    assert "first weights: vit.safetensors" in call("plan", sweep(folder), "--data-dir", "data").output
    refused = call("plan", sweep(folder), "--data-dir", "data", "--device", "cuda", "--gpus-per-trial", "0")
    assert "`device: cuda` needs GPUs" in " ".join(str(refused.exception).split())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timm:r160_in1k", "timm releases no weights of 'vit', whose sizes are free: name the model that the tag"),
        ("study:first", "'study:first' names no variant"),
        (
            "https://example.org/vit.pth",
            "weights are read from this machine only, but got 'https://example.org/vit.pth'",
        ),
    ],
)
def test_what_a_message_quotes_is_not_quoted_again(folder, text, message):
    found = refusal(sweep(folder, SWEEP.replace("vit.safetensors", f'"{text}"')))
    assert message in found
    assert found.count("but got") == message.count("but got")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html>sign in</html>", "vit.safetensors is a web page, not a checkpoint"),
        (b"\x08\x00\x00\x00\x00\x00\x00\x00{", "is not a complete safetensors file (9 bytes)"),
        (None, "is no file, but a pipe"),
    ],
)
def test_files_that_are_no_weights_are_errors_of_the_plan(folder, content, message):
    if content is None:
        os.mkfifo(folder / "vit.safetensors")
    else:
        (folder / "vit.safetensors").write_bytes(content)
    assert message in refusal(sweep(folder)).replace("- ", "-")


def test_a_variant_whose_weights_are_wrong_is_named(folder):
    weights(folder)
    text = SWEEP.replace("space: {", "space: {arch.weights: [null, other.pth], ")
    found = refusal(sweep(folder, text))
    assert "the variant 'weights=other.pth': there is no file" in found


def test_a_file_that_changes_is_not_mixed_with_what_was_trained_before(folder):
    weights(folder)
    assert run(sweep(folder)).exit_code == 0
    weights(folder, img_size=16)
    assert "first weights (vit.safetensors) changed" in run(sweep(folder)).output
    found = refusal(sweep(folder, SWEEP.replace("seeds: 1", "seeds: 2")))
    assert "2 trials were trained with other data" in found


def test_what_timm_released_is_tuned_from_the_hubs_cache(folder, monkeypatch):
    """And is an error of the plan where it is not there."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
    text = SWEEP.replace(
        "model: vit, depth: 2, embed_dim: 16, num_heads: 2, patch_size: 4, weights: vit.safetensors",
        'model: test_vit, img_size: 32, weights: "timm:r160_in1k"',
    )
    assert "they would come from https://huggingface.co/timm/test_vit.r160_in1k" in refusal(sweep(folder, text))
    snapshot = folder / "hub" / "models--timm--test_vit.r160_in1k" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0123")
    save_file(timm.create_model("test_vit").state_dict(), snapshot / "model.safetensors")
    done = run(sweep(folder, text))
    assert done.exit_code == 0, done.output
    records = read_ledger(RunDir(folder / "runs" / "tuned").ledger).records
    assert records[0].notes[0].startswith("first weights: test_vit.r160_in1k (sha256 ")
    assert "weights resized: pos_embed" in records[0].notes


def test_what_is_frozen_is_said_and_what_cannot_be_is_an_error_of_the_plan(folder):
    text = SWEEP.replace(", weights: vit.safetensors", "").replace("{epochs: 1,", "{epochs: 1, freeze: NAME,")
    assert "frozen: backbone; 0.000136 of " in call("plan", sweep(folder, text.replace("NAME", "backbone"))).output
    found = refusal(sweep(folder, text.replace("NAME", '["blocks.9.*"]')))
    assert "baseline.train.freeze: 'blocks.9.*' is the name of no parameter" in found


SHORT = SWEEP.replace(", weights: vit.safetensors", "").replace("seeds: 1", "seeds: 2\ncheckpoints: {keep: last}")
LONGER = SHORT.replace("patch_size: 4}", 'patch_size: 4, weights: "run:runs/tuned/*"}').replace(
    "epochs: 1", "epochs: 3"
)


def test_finished_trials_are_continued_by_longer_ones_and_the_caption_says_so(folder):
    """Each from the weights of its own variant and seed, also with another learning rate."""
    assert run(sweep(folder, SHORT)).exit_code == 0
    first = RunDir(folder / "runs" / "tuned")
    kept = {
        (record.variant, record.seed): load_file(first.trial(record.trial_id).weights)
        for record in read_ledger(first.ledger).records
    }
    # A learning rate at which float32 weights stay as they were shows what a trial began with.
    text = LONGER.replace("batch_size: 20", "batch_size: 20, lr: 1e-30, min_lr: 0")
    done = run(sweep(folder, text), "--out", "longer")
    assert done.exit_code == 0, done.output
    records = read_ledger(RunDir(folder / "longer").ledger).records
    assert len(records) == len(kept) == 4
    for record in records:
        assert record.notes == ["continued from the weights of runs/tuned after epoch 1, with a new schedule"]
        state = load_file(RunDir(folder / "longer").trial(record.trial_id).weights)
        begun = kept[record.variant, record.seed]
        moving = ("running_mean", "running_var", "num_batches_tracked")
        # Biases of keys, whose gradients are rounding, may be as small as the learning rate.
        same = {name: torch.allclose(state[name], begun[name], rtol=0, atol=1e-12) for name in begun}
        assert [name for name in begun if not (same[name] or name.endswith(moving))] == []
    table = " ".join(call("table", "longer", "--format", "md").output.split())
    assert "Continued from the weights of runs/tuned after epoch 1, with a new schedule." in table
    assert "Noted" not in table
    # Nothing is trained again.
    assert "of other data" not in run(sweep(folder, text), "--out", "longer").output


def test_weights_of_another_run_are_said_and_may_be_missing_only_where_they_may_still_come(folder):
    """A run that was not started may be the next to train; a variant that it never had is an error of the plan."""
    begun = SHORT.replace("patch_size: 4}", 'patch_size: 4, weights: "run:runs/first/NAME"}')
    first = begun.replace("NAME", "baseline")
    planned = " ".join(call("plan", sweep(folder, first)).output.split())
    assert (
        f"first weights are not there yet: {folder}/runs/first has no completed trial of 'baseline': run it first"
        in planned
    )
    assert run(sweep(folder, SHORT), "--out", "runs/first").exit_code == 0
    planned = " ".join(call("plan", sweep(folder, first)).output.split())
    assert "first weights: run:runs/first/baseline, after epoch 1" in planned
    assert "not there yet" not in planned
    found = refusal(sweep(folder, begun.replace("NAME", "basline")))
    assert f"baseline.arch.weights: {folder}/runs/first has no completed trial of 'basline'" in found
    assert "Did you mean 'baseline'?" in found
    found = refusal(sweep(folder, begun.replace("/NAME", "")))
    assert "baseline.arch.weights: 'run:runs/first' names no variant" in found
    assert "write run:runs/first/VARIANT, of which are completed: attention=reattention, baseline" in found


@pytest.mark.slow
def test_a_run_may_continue_itself(folder):
    """The short trials stay in its ledger, and are not mistaken for the longer ones at the next start."""
    assert run(sweep(folder, SHORT)).exit_code == 0
    assert run(sweep(folder, LONGER)).exit_code == 0
    before = len(read_ledger(RunDir(folder / "runs" / "tuned").ledger).records)
    assert before == 8
    again = run(sweep(folder, LONGER))
    assert again.exit_code == 0
    assert "other data" not in again.output
    assert len(read_ledger(RunDir(folder / "runs" / "tuned").ledger).records) == before


def test_a_continuation_may_have_any_schedule_and_no_other_training(folder):
    """What is not there in a finished run will not come: an error of the plan, for any seed."""
    assert run(sweep(folder, SHORT)).exit_code == 0
    schedule = "cooldown_epochs: 1, lr_noise: [0.4, 0.9], lr_cycle_limit: 2, sched_on_updates: false"
    done = run(sweep(folder, LONGER.replace("epochs: 3", f"epochs: 3, {schedule}")), "--out", "longer")
    assert done.exit_code == 0, done.output
    found = refusal(sweep(folder, LONGER.replace("batch_size: 20", "batch_size: 10")))
    assert "no completed trial with seed 0 that differs from this one in its length alone" in found
    assert "; the closest is 'baseline', where train.batch_size=20" in found
    found = refusal(sweep(folder, LONGER.replace("space: {", "space: {arch.depth: [1], ")))
    assert "the variant 'depth=1': " in found
    assert "the closest is 'baseline', where arch.depth=2" in found
    found = refusal(sweep(folder, LONGER.replace("seeds: 2", "seeds: 4")))
    assert "has no trials with the seeds 2, 3: each takes those of its own" in found
    found = refusal(sweep(folder, LONGER.replace("/*", "/baseline@7")))
    assert "no completed trial of 'baseline' with seed 7" in found


SPLITS = """
name: tuned
baseline:
  arch: {depth: 1, embed_dim: 16, num_heads: 2, patch_size: 4, WEIGHTS}
  task: {dataset: builtin/digits}
  train: {epochs: 1, batch_size: 256}
seeds: {values: 2, vary: [VARY]}
design: factorial
checkpoints: {keep: last}
"""


def test_weights_that_have_seen_the_test_images_of_a_seed_are_refused(folder):
    """Every seed has a test split of its own, so it takes weights that were trained with the same one."""
    first = SPLITS.replace(", WEIGHTS", "")
    assert run(sweep(folder, first.replace("VARY", "init, split")), "--out", "first").exit_code == 0
    tuned = SPLITS.replace("WEIGHTS", 'weights: "run:first/baseline"')
    assert run(sweep(folder, tuned.replace("VARY", "init, split"))).exit_code == 0
    fixed = refusal(sweep(folder, tuned.replace("VARY", "order, split")))
    assert (
        "baseline.arch.weights: the weights of run:first/baseline with seed 0 were trained on test images of" in fixed
    )
    assert "seed 1" in fixed
    usual = refusal(sweep(folder, tuned.replace("{values: 2, vary: [VARY]}", "2")))
    assert "were trained on test images of seed 0" in usual


@pytest.mark.parametrize(
    "other",
    ["  task: {dataset: {name: builtin/digits, split_seed: 1}}\n", "blocks: {task.dataset.split_seed: [0, 1]}\n"],
)
def test_weights_that_have_seen_images_of_another_draw_are_refused(folder, other):
    """As a setting, and as a block of a sweep whose first block has the draw of the kept weights."""
    first = SPLITS.replace(", WEIGHTS", "").replace("{values: 2, vary: [VARY]}", "2")
    assert run(sweep(folder, first), "--out", "first").exit_code == 0
    tuned = SPLITS.replace("WEIGHTS", 'weights: "run:first/baseline"').replace("{values: 2, vary: [VARY]}", "2")
    assert run(sweep(folder, tuned)).exit_code == 0
    usual = "  task: {dataset: builtin/digits}\n"
    changed = tuned.replace(usual, other) if "task:" in other else tuned + other
    found = refusal(sweep(folder, changed))
    assert "were trained on test images of seed 0, whose test split is another one" in found
    assert "take weights of a run with the same test split of task.dataset" in found
