"""What a plan says of trials that others provide (an earlier sweep, another study), against what a run takes over."""

from __future__ import annotations

import json

import pytest

from results import LedgerWriter, TrialRecord
from runners.cache.origin import Origins
from runners.cache.reuse import reuse_records, reuse_sources
from runners.cache.trial_cache import TrialCache
from runners.planning.forecast import make_forecast
from runners.planning.history import History, duration_key
from runners.planning.make_plan import make_plan
from runners.planning.profiling import Probe
from runners.run_sweep import run_sweep
from search_space import Resources, load_studies, load_sweep, trial_id

TWO_SEEDS = """
    name: {name}
    baseline:
      arch: {{model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}}
      train: {{epochs: 1, batch_size: 512, lr: 0.003}}
    space: {{arch.attention: [{mechanisms}]}}
    design: one_factor
    seeds: 2
    metric: top1
"""


@pytest.fixture
def planned(archsweep, tmp_path):
    def planned_(path, *arguments):
        done = archsweep("plan", path, *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return planned_


@pytest.fixture
def filled(write_sweep, tmp_path):
    """A cache that a real run of softmax and re-attention filled, and the file of another sweep."""
    earlier = write_sweep(TWO_SEEDS.format(name="earlier", mechanisms="softmax, reattention"), name="earlier.yaml")
    cache = TrialCache(tmp_path / "cache", "cpu", Origins(Resources()))
    assert (
        run_sweep(make_plan(load_sweep(earlier)), tmp_path / "earlier", engine="in-process", cache=cache).started == 4
    )
    return cache, write_sweep(TWO_SEEDS.format(name="later", mechanisms="softmax, reattention, groupmix"))


@pytest.mark.thorough
def test_plan_counts_what_the_run_then_takes_over(filled, planned, archsweep, tmp_path):
    cache, path = filled
    said = f"4 of 6 trials are in the cache ({cache.directory}) and would be taken over\n"
    assert said in planned(path, "--cache", cache.directory)
    assert "taken over" not in planned(path, "--no-cache")
    (plan,) = json.loads(planned(path, "--cache", cache.directory, "--json"))["plans"]
    assert plan["cache_dir"] == str(cache.directory)
    assert (plan["trials"]["left"], plan["trials"]["from_cache"], plan["trials"]["from_studies"]) == (6, 4, 0)
    assert [row["num_provided"] for row in plan["variants"]] == [2, 2, 0]

    ran = archsweep("run", path, "--engine", "in-process", "--cache", cache.directory, "--limit", 1, "-q", cwd=tmp_path)
    assert "4 trials were not trained but taken over" in ran.stderr
    after = planned(path, "--cache", cache.directory)
    assert "5 trials are done in runs/later, 1 are left\n" in after
    assert "taken over" not in after


@pytest.mark.thorough
def test_the_default_cache_is_that_of_a_run(filled, planned, monkeypatch):
    cache, path = filled
    monkeypatch.setenv("ARCHSWEEP_CACHE", str(cache.directory))
    assert f"4 of 6 trials are in the cache ({cache.directory})" in planned(path)
    monkeypatch.setenv("ARCHSWEEP_CACHE", "off")
    assert "cache" not in planned(path)


@pytest.mark.thorough
def test_what_is_taken_over_takes_no_time(filled):
    """Six trials of an hour, four of them in the cache: two hours, also for the fewer seeds of a trimmed plan."""
    cache, path = filled
    plan = make_plan(load_sweep(path))
    probes = {
        duration_key(variant.setting.model_dump(mode="json")): Probe(3600.0, 1.0, None, "cpu")
        for variant in plan.variants
    }
    provided = reuse_sources(plan, (), {"cache": cache.get})
    whole = make_forecast(plan, History(), probes=probes, concurrency=1, provided=provided)
    assert (whole.num_left, whole.num_to_train, whole.trial_hours) == (6, 2, 2.0)
    trimmed = make_forecast(plan, History(), probes=probes, concurrency=1, provided=provided, seeds=(0,))
    assert (trimmed.num_left, trimmed.provided, trimmed.trial_hours) == (3, {"cache": 2}, 1.0)
    assert whole.seed_hours == 3.0


@pytest.mark.thorough
def test_trials_that_leave_files_behind_are_not_counted(filled, planned):
    cache, path = filled
    keeps = ("--set", "checkpoints.keep=last", "--cache", cache.directory)
    assert "taken over" not in planned(path, *keeps)
    assert json.loads(planned(path, *keeps, "--json"))["plans"][0]["cache_dir"] is None


@pytest.mark.thorough
def test_a_cache_that_is_forbidden_or_not_asked_is_refused(filled, archsweep, tmp_path):
    cache, path = filled
    both = archsweep("plan", path, "--cache", cache.directory, "--no-cache", cwd=tmp_path)
    assert both.returncode == 2
    assert "Invalid value for --cache: cannot be combined with --no-cache" in " ".join(both.stderr.split())
    unasked = archsweep("plan", path, "--cache", cache.directory, "--no-cost", cwd=tmp_path)
    assert unasked.returncode == 2
    assert "--cache and --json need the cost" in " ".join(unasked.stderr.split())


def test_studies_provide_one_another_with_what_they_share(write_sweep, planned, tmp_path, studies):
    """The baseline's seeds 0 and 1; in one plan of both studies the first provides, alone what its ledger has."""
    path = write_sweep(studies)
    said = "2 of 6 trials are in other studies of this file and would be taken over\n"
    assert planned(path).count(said) == 1
    assert "taken over" not in planned(path, "--study", "mechanism")
    depth = load_studies(path)[0]
    result = run_sweep(make_plan(depth), tmp_path / "runs" / "tiny-depth", engine="in-process", limit=1)
    assert result.started == 1
    assert "1 of 6 trials is in other studies of this file and would" in planned(path, "--study", "mechanism")
    documents = json.loads(planned(path, "--json"))["plans"]
    assert [each["trials"]["from_studies"] for each in documents] == [0, 2]


@pytest.mark.thorough
def test_providers_are_asked_in_order_and_not_for_what_the_ledger_has(filled):
    cache, path = filled
    plan = make_plan(load_sweep(path))
    keys = [trial_id(variant.setting.with_seed(seed)) for seed in (0, 1) for variant in plan.variants]
    found = reuse_sources(plan, {keys[0]}, {"first": lambda spec: trial_id(spec) == keys[2], "cache": cache.get})
    assert found == {keys[1]: "cache", keys[2]: "first", keys[3]: "cache", keys[4]: "cache"}


def test_a_record_of_a_search_is_taken_over_under_the_names_of_this_run(filled, tmp_path):
    """What the search called the trial, and how it proposed it, means nothing here."""
    cache, path = filled
    plan = make_plan(load_sweep(path))
    variant = plan.variants[0]
    spec = variant.setting.with_seed(1)

    def lookup(wanted):
        if trial_id(wanted) != trial_id(spec):
            return None
        named = {"variant": "lr=0.003", "changes": {"train.lr": 0.003}, "number": 7, "params": {"train.lr": 0.003}}
        return cache.get(wanted).model_copy(update=named)

    with LedgerWriter(tmp_path / "here") as ledger:
        assert reuse_records(plan, ledger, [lookup]) == 1
    (line,) = (tmp_path / "here" / "ledger.jsonl").read_text().splitlines()
    record = TrialRecord.model_validate_json(line)
    assert (record.variant, record.changes, record.number, record.params) == (variant.name, {}, None, {})
    assert (record.trial_id, record.seed, record.metrics) == (trial_id(spec), 1, cache.get(spec).metrics)
    assert record.cached_from == cache.get(spec).cached_from


def test_studies_that_keep_samples_provide_nothing(write_sweep, planned, studies):
    """A record does not hold the pictures."""
    assert "taken over" not in planned(write_sweep(studies), "--set", "keep_samples=2")
