"""A sweep trained in shares by several drivers, and collected into one run directory."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from results import LedgerWriter, Run
from results.store.run_layout import RunDir
from runners.planning.make_plan import make_plan
from runners.planning.shard import Shard
from runners.planning.trainings import trials_of
from runners.run_sweep import run_sweep
from search_space import load_sweep, trial_id

pytestmark = pytest.mark.thorough

SMALL = {"depth: 2": "depth: 1", "epochs: 2": "epochs: 1"}
SWEEP = """
name: tiny
baseline:
  arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
  task: {name: classification, dataset: builtin/digits}
  train: {epochs: 1, batch_size: 256, lr: 0.003}
space:
  arch.attention: [softmax, reattention, groupmix]
design: one_factor
seeds: 2
metric: top1
"""


COMMAND = ("--engine", "in-process", "--no-cache", "-q")


@pytest.fixture
def run(archsweep, write_sweep, tmp_path):
    """`archsweep run` of a sweep of 3 variants and 2 seeds, in this process and without the cache."""

    def run_(*options, **replacements):
        return archsweep("run", write_sweep(**{**SMALL, **replacements}), *COMMAND, *options, cwd=tmp_path)

    return run_


@pytest.fixture(scope="module")
def trained(archsweep, tmp_path_factory):
    """The folder in which both shards of the sweep were trained, once for all tests."""
    folder = tmp_path_factory.mktemp("shards")
    (folder / "sweep.yaml").write_text(SWEEP)
    for number in (1, 2):
        assert archsweep("run", "sweep.yaml", *COMMAND, "--shard", f"{number}/2", cwd=folder).returncode == 0
    return folder / "runs" / "tiny-shards"


@pytest.fixture
def shards(trained, tmp_path):
    """A copy of both shards."""
    return shutil.copytree(trained, tmp_path / "runs" / "tiny-shards")


def opened(path):
    return Run.open(path)


def own_lines(run_dir):
    return [json.loads(line) for line in RunDir.of(run_dir).ledger.read_text().splitlines()]


@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_every_trial_belongs_to_one_shard(count, write_sweep):
    plan = make_plan(load_sweep(write_sweep()))
    every = sorted(trial_id(spec) for spec, _ in trials_of(plan))
    shares = []
    for number in range(1, count + 1):
        plan.shard = Shard(number, count)
        shares.append([trial_id(spec) for spec, _ in trials_of(plan)])
    assert sorted(key for share in shares for key in share) == every
    assert len(every) == 6
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_the_collected_run_equals_a_single_one(run, shards, tmp_path):
    """Bit by bit, but for what a clock measured; and every record is as its shard wrote it."""
    assert run("--out", "single").returncode == 0
    collected = run("--collect", shards, "--limit", "0", "--out", "collected")
    assert collected.returncode == 0
    assert "archsweep: 6 records collected from 2 run directories\n" in collected.stderr

    def numbers(run_dir):
        return {
            record.trial_id: (record.variant, record.seed, record.spec, record.metrics, record.curve, record.status)
            for record in opened(tmp_path / run_dir).records
        }

    assert numbers("collected") == numbers("single")
    lines = sorted(own_lines(tmp_path / "collected"), key=lambda line: line["trial_id"])
    theirs = [line for number in (1, 2) for line in own_lines(shards / f"{number}-of-2")]
    assert lines == sorted(theirs, key=lambda line: line["trial_id"])
    assert len(theirs) == 6
    sessions = {line["session"] for line in lines}
    provenance = [json.loads(line) for line in RunDir.of(tmp_path / "collected").provenance.read_text().splitlines()]
    assert sessions < {each["session"] for each in provenance}


def test_a_collected_run_is_continued_and_collected_again(run, shards, tmp_path):
    run("--collect", shards / "1-of-2", "--limit", "0", "--out", "collected")
    again = run("--collect", shards, "--limit", "0", "--out", "collected")
    assert "archsweep: 3 records collected from 2 run directories\n" in again.stderr
    edited = run("--out", "collected", **{"seeds: 2": "seeds: 3"})
    assert edited.returncode == 0
    lines = own_lines(tmp_path / "collected")
    assert len(lines) == 9
    assert [line["seed"] for line in lines[6:]] == [2, 2, 2]


def test_without_a_limit_what_the_shards_lack_is_trained(run, tmp_path):
    run("--shard", "2/2")
    assert run("--collect", "runs/tiny-shards", "--out", "collected").returncode == 0
    sessions = [line["session"] for line in own_lines(tmp_path / "collected")]
    assert len(sessions) == 6
    assert len(set(sessions)) == 2


def test_an_edited_sweep_is_divided_again_and_nothing_is_trained_twice(run, shards):
    """Three shards instead of two: each takes what another one trained of its share, and trains what is new."""
    for number in (1, 2, 3):
        assert run("--shard", f"{number}/3", "--collect", shards, **{"seeds: 2": "seeds: 3"}).returncode == 0
    lines = [line for path in shards.iterdir() for line in own_lines(path)]
    by_trial = {}
    for line in lines:
        by_trial.setdefault(line["trial_id"], set()).add(line["session"])
    assert len(by_trial) == 9
    assert all(len(sessions) == 1 for sessions in by_trial.values())


def test_failures_are_collected_and_a_later_success_takes_their_place(run, shards, tmp_path):
    first = RunDir(shards / "1-of-2")
    record = opened(first).records[0]
    failed = {"status": "failed", "metrics": {}, "failure": {"type": "Killed", "message": "by the kernel"}}
    lines = first.ledger.read_text().splitlines(keepends=True)
    first.ledger.write_text("".join([json.dumps({**json.loads(lines[0]), **failed}) + "\n", *lines[1:]]))
    assert run("--collect", shards, "--limit", "0", "--out", "collected").returncode == 3
    with LedgerWriter(first) as ledger:
        ledger.append(record.model_copy(update={"attempt": 2, "session": "later"}))
    assert run("--collect", shards, "--limit", "0", "--out", "collected").returncode == 0
    (found,) = [each for each in opened(tmp_path / "collected").deciding.values() if each.trial_id == record.trial_id]
    assert (found.status, found.attempt, found.session, found.metrics) == ("completed", 2, "later", record.metrics)


@pytest.mark.parametrize(("changed", "count"), [((), 5), (("--changed", "keep"), 6)])
def test_records_of_other_software_are_left_out_unless_kept(changed, count, run, shards, tmp_path):
    ledger = RunDir(shards / "1-of-2").ledger
    ledger.write_text(re.sub('"software":"[^"]*"', '"software":"torch 0.1"', ledger.read_text(), count=1))
    said = run("--collect", shards, "--limit", "0", "--out", "collected", *changed).stderr
    assert len(own_lines(tmp_path / "collected")) == count
    assert ("1 trial of other data, code or software left out" in said) is (count == 5)


def test_files_of_a_trial_come_along_and_links_do_not(run, shards, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("mine")
    record = opened(shards / "1-of-2").records[0]
    folder = RunDir(shards / "1-of-2").trial(record.trial_id).path
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights.safetensors").write_bytes(b"weights")
    (folder / "train.log").symlink_to(secret)
    run("--collect", shards, "--limit", "0", "--out", "collected")
    copied = RunDir(tmp_path / "collected").trial(record.trial_id)
    assert copied.weights.read_bytes() == b"weights"
    assert not copied.log.exists()


def test_what_was_decided_after_results_of_the_shards_is_known_after_collecting(run, shards, tmp_path):
    """A variant that was added once its shard had results is marked, as in a single run."""
    added = {"[softmax, reattention, groupmix]": "[softmax, reattention, groupmix, refiner]"}
    for number in (1, 2):
        run("--shard", f"{number}/2", "--collect", shards, **added)
    run("--collect", shards, "--limit", "0", "--out", "collected", **added)
    later = {each.name: each.added_after for each in opened(tmp_path / "collected").plan.variants}
    assert {name: count > 0 for name, count in later.items()} == {
        "baseline": False,
        "attention=reattention": False,
        "attention=groupmix": False,
        "attention=refiner": True,
    }


def test_trials_measured_in_the_training_of_another_stay_with_it(write_sweep, tmp_path):
    """They are of one training, so they are of one shard, and their records say so after collecting, too."""
    axis = {"arch.attention: [softmax, reattention, groupmix]": "task.crop_pct: [1.0, 0.75]"}
    plan = make_plan(load_sweep(write_sweep(**{**SMALL, **axis})))
    for number in (1, 2):
        plan.shard = Shard(number, 2)
        run_sweep(plan, tmp_path / "shards" / f"{number}", engine="in-process")
        trained_by = [line.get("trained_by", "") for line in own_lines(tmp_path / "shards" / f"{number}")]
        assert sorted(map(bool, trained_by)) == [False, True]
    plan.shard = None
    result = run_sweep(plan, tmp_path / "all", engine="in-process", collect=[tmp_path / "shards"], limit=0)
    assert (result.started, result.remaining) == (0, 0)
    lines = own_lines(tmp_path / "all")
    assert {line.get("trained_by", "") for line in lines} - {""} == {
        line["trial_id"] for line in lines if not line.get("trained_by")
    }


def test_a_shard_without_a_trial_ends_well(run, tmp_path):
    ended = run("--shard", "7/7")
    assert ended.returncode == 0
    assert "shard 7/7 has no trial: the sweep has fewer trainings than shards" in ended.stderr


def test_shards_do_not_track_and_say_so(run, tmp_path):
    ended = run("--shard", "1/2", **{"metric: top1": "metric: top1\ntrack: tensorboard"})
    assert ended.stderr.startswith("archsweep: trackers receive the trials of shards once they are collected\n")
    assert not RunDir(tmp_path / "runs" / "tiny-shards" / "1-of-2").tensorboard.exists()


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", "1/2/3", "", "1 / 2"])
def test_what_is_no_shard_is_refused(text, run):
    ended = run(f"--shard={text}")
    assert ended.returncode == 2
    assert (
        f"--shard: not a shard: {text!r}\n  NUMBER/COUNT with NUMBER from 1 to COUNT, e.g. --shard 2/8" in ended.stderr
    )


@pytest.mark.parametrize("option", [("--shard", "1/2"), ("--collect", ".")])
def test_designs_that_decide_by_results_are_refused(option, run):
    prune = {"metric: top1": "metric: top1\nprune: {pruner: median}"}
    ended = run(*option, **prune)
    assert ended.returncode == 2
    assert (
        "sweep.yaml:12:8: prune: cannot be divided into shards: a pruner compares a trial with all others\n"
    ) in ended.stderr
    assert "run the whole sweep on one Ray cluster (`archsweep launch slurm`), or drop `prune`\n" in ended.stderr


def test_a_folder_that_is_missing_is_refused_and_an_empty_one_is_not(run, tmp_path):
    ended = run("--collect", "nowhere", "--collect", "neither", "--limit", "0")
    assert ended.returncode == 2
    for name in ("nowhere", "neither"):
        assert f"--collect: no such folder: '{name}'" in ended.stderr
    (tmp_path / "empty").mkdir()
    assert "0 records collected from 0 run directories" in run("--collect", "empty", "--limit", "0").stderr
