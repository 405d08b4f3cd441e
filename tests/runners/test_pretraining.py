"""Pre-training and fine-tuning as two studies of one file, by the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from results.store.ledger import read_ledger
from results.store.run_layout import RunDir
from runners.cli.app import app
from search_space.loading.load import load_studies
from search_space.parsing.errors import SpecError

SWEEP = """
name: transfer
baseline:
  arch: {model: vit, depth: 2, embed_dim: 16, num_heads: 2, patch_size: 4}
  task: {dataset: &data {name: builtin/grains, img_size: 16, num_train: 40, num_test: 20}}
  train: {epochs: 2, batch_size: 20}
seeds: 2
design: one_factor
studies:
  pretrain:
    checkpoints: {keep: last}
    baseline:
      task: {name: self_supervised, dataset: {name: builtin/grains, img_size: 16, num_train: 40, num_test: 20},
        prototypes: 8, head_hidden_dim: 16, head_dim: 4, local_crops: 0, linear_epochs: 2, freeze_last_layer: 0}
    space: {task.momentum: [[0.9, 1.0]]}
  finetune:
    space: {arch.weights: [null, "study:pretrain/baseline"]}
""".replace("&data ", "")


def written(folder: Path, text: str = SWEEP) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(text)
    return path


def command(path: Path) -> list[str]:
    return ["run", str(path), "--engine", "in-process", "-q"]


def run(path: Path, *options: str):
    return CliRunner().invoke(app, [*command(path), "--no-cache", *options])


@pytest.mark.slow
def test_a_study_begins_with_the_weights_of_another(tmp_path, monkeypatch):
    """Each trial with those of its own seed; the teacher's backbone is what was kept."""
    monkeypatch.chdir(tmp_path)
    done = run(written(tmp_path))
    assert done.exit_code == 0, done.output
    first, then = (RunDir(tmp_path / "runs" / f"transfer-{study}") for study in ("pretrain", "finetune"))
    kept = {
        record.seed: first.trial(record.trial_id).weights
        for record in read_ledger(first.ledger).records
        if record.variant == "baseline"
    }
    assert sorted(kept) == [0, 1]
    assert "blocks.0.attn.qkv.weight" in load_file(kept[0])
    assert not torch.equal(*(load_file(kept[seed])["norm.weight"] for seed in (0, 1)))
    records = read_ledger(then.ledger).records
    begun = [record for record in records if record.variant != "baseline"]
    assert sorted(record.seed for record in begun) == [0, 1]
    assert len({record.data for record in records}) == 3
    said = [
        "first weights: study:pretrain/baseline, after epoch 2",
        "weights initialised afresh: head.weight, head.bias",
    ]
    assert all(record.notes == said for record in begun)
    table = CliRunner().invoke(app, ["table", str(then.path), "--format", "md"]).output
    assert "weights initialised afresh" in table

    # The plan knows the weights, too: where the records are gone, it finds those of the trial cache.
    cache = ("--cache", str(tmp_path / "cache"))
    shutil.rmtree(then.path)
    assert CliRunner().invoke(app, [*command(written(tmp_path)), *cache, "--study", "finetune"]).exit_code == 0
    shutil.rmtree(then.path)
    planned = CliRunner().invoke(app, ["plan", str(written(tmp_path)), *cache, "--study", "finetune", "--json"])
    (document,) = json.loads(planned.stdout)["plans"]
    assert (document["trials"]["from_cache"], document["trials"]["trainings_left"]) == (4, 0)


@pytest.mark.thorough
def test_without_the_pre_training_a_trial_is_a_record_that_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(written(tmp_path), "--study", "finetune")
    assert done.exit_code == 3
    records = read_ledger(RunDir(tmp_path / "runs" / "transfer-finetune").ledger).records
    failed = [record for record in records if record.status == "failed"]
    assert len(failed) == 2
    assert all("run the study 'pretrain' first" in record.failure.message for record in failed)
    assert sum(record.status == "completed" for record in records) == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("study:pretrain/baseline", "study:pretraining/baseline", "unknown study 'pretraining'"),
        ("study:pretrain/baseline", "study:pretrain/basline", "has no variant 'basline'"),
        ("study:pretrain/baseline", "study:finetune/baseline", "is not trained before"),
        ("study:pretrain/baseline", "study:pretrain/baseline@7", "has no seed 7"),
        ("checkpoints: {keep: last}", "seeds: 2", "keeps no weights"),
        ("checkpoints: {keep: last}", "checkpoints: {keep: last}\n    seeds: 1", "has no seed 1"),
    ],
)
def test_what_cannot_be_begun_with_is_said_before_anything_is_trained(tmp_path, old, new, message):
    with pytest.raises(SpecError, match=message) as raised:
        load_studies(written(tmp_path, SWEEP.replace(old, new)))
    assert all(problem.where.startswith(str(tmp_path)) for problem in raised.value.problems)


def test_a_study_may_name_one_seed_for_all(tmp_path):
    text = SWEEP.replace("study:pretrain/baseline", "study:pretrain/baseline@0")
    text = text.replace("checkpoints: {keep: last}", "checkpoints: {keep: last}\n    seeds: 1")
    assert [file.study for file in load_studies(written(tmp_path, text))] == ["pretrain", "finetune"]


def test_a_study_that_is_wrong_is_not_called_unknown(tmp_path):
    with pytest.raises(SpecError) as raised:
        load_studies(written(tmp_path, SWEEP.replace("prototypes: 8", "prototypes: 0")))
    assert [problem.message for problem in raised.value.problems] == ["must be at least 2, but got 0"]
