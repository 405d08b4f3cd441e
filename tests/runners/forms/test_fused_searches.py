"""Searches and `retune` with trials that train together: what they propose, hand out, and find."""

from __future__ import annotations

import pytest

from results import LedgerWriter, Run
from results.store.run import read_plan
from results.store.run_layout import RunDir
from runners.driver.orchestrator import Orchestrator
from runners.forms.decision import decide_forms, with_forms
from runners.forms.timing import StepTimes
from runners.planning.make_plan import make_plan
from runners.run_sweep import run_sweep
from runners.trials.form import Form, stack_of
from runners.trials.outcome import Outcome
from search_space import load_sweep

SEARCH = """
    name: rates
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
      task: {name: classification, dataset: builtin/digits, val_fraction: 0.2}
      train: {epochs: 2, batch_size: 256, lr: 0.003}
    space:
      train.lr: {min: 0.0005, max: 0.01, log: true}
      train.weight_decay: {min: 0.01, max: 0.2}
    design: search
    search: {sampler: random, num_trials: 6, seed: 1}
    seeds: 1
    metric: top1
"""
TPE = "search={sampler: tpe, num_trials: 14, seed: 3, n_startup_trials: 6}"
FUSED = Form("fused", "as the test says", size=8)


def fused(plan):
    return {stack_of(plan.sweep.baseline): FUSED}


@pytest.fixture
def planned(write_sweep):
    def planned_(*overrides, text=SEARCH, is_fused=True):
        plan = make_plan(load_sweep(write_sweep(text), overrides=overrides))
        plan.forms = fused(plan) if is_fused else {}
        return plan

    return planned_


def play(plan, run_dir, *, workers=1, kill_after=None):
    """Groups of the parameters that are handed out, with made-up results that depend on them alone."""
    handed = []
    with LedgerWriter(run_dir) as ledger:
        orchestrator = Orchestrator(plan, ledger)
        while group := orchestrator.ask_group(workers):
            handed.append([(each.spec.train.lr, each.spec.train.weight_decay, each.spec.seed) for each in group])
            for each in group:
                if kill_after is not None and sum(map(len, handed)) > kill_after:
                    return handed
                value = 90 - 1e4 * abs(each.spec.train.lr - 0.004) ** 1.5 + each.spec.seed
                assert not orchestrator.report(each.trial_id, {"epoch": 1, "train_loss": 1.0, "val_top1": value})
                orchestrator.finish(each.trial_id, Outcome("completed", {"top1": value, "val_top1": value}))
    return handed


def flat(groups):
    return [each for group in groups for each in group]


@pytest.mark.parametrize(
    ("overrides", "sizes"),
    [
        (["search.num_trials=20"], [8, 8, 4]),  # a random search depends on no result
        (["search.num_trials=20", "seeds=3"], [8] * 7 + [4]),
        (
            [TPE, "seeds=2"],
            [8, 4] + [2] * 8,
        ),  # six proposals before it learns, then the seeds of one after the other
        ([TPE, "search.warm_start=[]", "seeds=2", "search.num_trials=3"], [6]),
        (["search={sampler: cmaes, num_trials: 3}", "seeds=2"], [2, 2, 2]),
    ],
)
def test_proposals_that_depend_on_no_result_train_together(planned, tmp_path, overrides, sizes):
    together = play(planned(*overrides), tmp_path / "together")
    assert [len(group) for group in together] == sizes
    alone = play(planned(*overrides, is_fused=False), tmp_path / "alone")
    assert {len(group) for group in alone} == {1}
    assert flat(together) == flat(alone)


def test_workers_share_proposals(planned, tmp_path):
    groups = play(planned("search.num_trials=9"), tmp_path / "run", workers=3)
    assert [len(group) for group in groups] == [3, 2, 2, 2]


def test_a_killed_search_goes_on_with_what_it_had_proposed(planned, tmp_path):
    whole = flat(play(planned(TPE, "seeds=2"), tmp_path / "whole"))
    before = play(planned(TPE, "seeds=2"), tmp_path / "killed", kill_after=9)
    after = play(planned(TPE, "seeds=2"), tmp_path / "killed")
    assert flat(before)[:8] + flat(after) == whole  # the second group was lost


def test_a_limit_counts_the_members_of_a_search(planned, tmp_path):
    with LedgerWriter(tmp_path / "run") as ledger:
        orchestrator = Orchestrator(planned(), ledger, limit=4)
        assert [len(orchestrator.ask_group()) for _ in range(2)] == [4, 0]


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("space={arch.depth: [1, 2], train.lr: [0.01, 0.02]}", "settings with another arch.depth have another shape"),
        (
            "space={train.weight_decay: {min: 0.0, max: 0.1}}",
            "settings with another train.weight_decay have another shape",
        ),
        (TPE, "the sampler tpe takes the next setting from the results of those before"),
        (
            "search={sampler: gp, num_trials: 11}",
            "the sampler gp takes the next setting from the results of those before",
        ),
    ],
)
def test_why_a_search_trains_alone(write_sweep, override, why):
    plan = make_plan(load_sweep(write_sweep(SEARCH), overrides=[override, "train.epochs=200"]))
    found = decide_forms(plan, timing=lambda *_: pytest.fail("nothing is measured"))
    assert [(each.numerics, each.why) for each in found.values()] == [("single", why)]


@pytest.mark.parametrize(
    ("overrides", "size"),
    [([], 6), (["search.num_trials=30"], 8), ([TPE, "seeds=3"], 3), ([TPE, "search.num_trials=6"], 6)],
)
def test_steps_are_measured_for_the_groups_of_a_search(write_sweep, overrides, size):
    asked = []

    def timing(setting, info, size):
        asked.append(size)
        return StepTimes(3e-3, 2e-3)

    plan = make_plan(load_sweep(write_sweep(SEARCH), overrides=["train.epochs=200", *overrides]))
    (found,) = decide_forms(plan, timing=timing).values()
    assert (found.numerics, found.size, asked) == ("fused", size, [size])


def test_a_search_keeps_the_form_of_its_first_start(planned, tmp_path):
    plan, files = planned(), RunDir(tmp_path / "run")
    run_sweep(plan, files.path, engine="in-process", limit=1)
    assert read_plan(files).forms == {stack_of(plan.sweep.baseline): "single"}  # 60 updates are too few to measure
    files.plan.write_text(files.plan.read_text().replace('"single"', '"fused"'))
    assert [each.numerics for each in with_forms(plan, files).forms.values()] == ["fused"]


def finished(plan, run_dir, monkeypatch, forms, engine="in-process"):
    """Records of a run, by trial id, whose plan decides these forms."""
    monkeypatch.setattr("runners.forms.decision.decide_forms", lambda plan, **_: forms(plan))
    run_sweep(plan, run_dir, engine=engine)
    return {record.trial_id: record for record in Run.open(run_dir).records}


def test_a_fused_search_finds_what_a_search_finds(planned, tmp_path, monkeypatch):
    """Really trained, with a pruner over epochs: the same settings, each with the numbers of its training by itself
    but for rounding."""
    prune = "prune={pruner: median, n_startup_trials: 2, n_warmup_steps: 1}"
    settings = [prune, "train.epochs=4", "train.lr=0.003"]
    together = finished(planned(*settings), tmp_path / "together", monkeypatch, fused)
    alone = finished(planned(*settings), tmp_path / "alone", monkeypatch, lambda plan: {})
    assert {record.numerics for record in together.values()} == {"fused"}
    assert together.keys() == alone.keys()
    for key, record in together.items():
        for here, there in zip(record.curve, alone[key].curve, strict=False):
            assert here["train_loss"] == pytest.approx(there["train_loss"], rel=1e-4)
    assert [record.number for record in together.values()] == list(range(6))


@pytest.mark.slow
def test_variants_are_tuned_and_compared_fused(planned, tmp_path, monkeypatch, retuned):
    plan = planned(text=retuned.replace("num_trials: 5", "num_trials: 3"))

    def both(plan):
        return {stack_of(each.setting): FUSED for each in plan.variants}

    together = finished(plan, tmp_path / "together", monkeypatch, both)
    alone = finished(plan, tmp_path / "alone", monkeypatch, lambda plan: {})
    assert {record.numerics for record in together.values()} == {"fused"}
    assert together.keys() == alone.keys()
    assert sum(record.role == "retune" for record in together.values()) == 6
    stored = read_plan(RunDir(tmp_path / "together"))
    assert {each.numerics for each in stored.variants} == {"fused"}


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("retune.num_trials=11", "the sampler tpe takes the next setting from the results of those before"),
        (
            "retune.parameters={train.batch_size: [256, 512]}",
            "settings with another train.batch_size have another shape",
        ),
    ],
)
def test_why_tuned_variants_train_alone(write_sweep, override, why, retuned):
    plan = make_plan(load_sweep(write_sweep(retuned), overrides=["retune.num_trials=3", override, "train.epochs=200"]))
    found = decide_forms(plan, timing=lambda *_: pytest.fail("nothing is measured"))
    assert {(each.numerics, each.why) for each in found.values()} == {("single", why)}
