"""What chooses a setting never judges it: `retune` and `search` see neither seeds nor splits that a table reports."""

from __future__ import annotations

import itertools
import math

import pytest

from results import LedgerWriter, Run, ablation_table, read_ledger
from runners.driver.ablate_best import ablate_best
from runners.driver.orchestrator import Orchestrator
from runners.driver.retune import plan_so_far, stages
from runners.planning.make_plan import make_plan
from runners.run_sweep import run_sweep
from runners.trials.outcome import Outcome
from search_space import load_sweep, load_sweep_text, variants

BEST_OF_VALIDATION, BEST_OF_TEST = 1e-3, 1e-2


def metrics_of(spec):
    """The validation split prefers another learning rate than the test split, and every seed has its own luck there."""
    val, test = (90 - 10 * abs(math.log10(spec.train.lr / best)) for best in (BEST_OF_VALIDATION, BEST_OF_TEST))
    return {"top1": test + spec.seed % 3, "val_top1": val}


def tuned_plan(plan, run_dir, metrics=metrics_of, before=None):
    """The plan after its tuning trials with made-up metrics; `before`: those of reported trials that came first."""
    with LedgerWriter(run_dir) as ledger:
        if before is not None:
            orchestrator = Orchestrator(plan, ledger, role="")
            while (assignment := orchestrator.ask()) is not None:
                orchestrator.finish(assignment.trial_id, Outcome("completed", before(assignment.spec)))
        for stage in stages(plan, ledger):
            if not stage.role:
                return stage.plan
            orchestrator = Orchestrator(stage.plan, ledger, role=stage.role)
            while (assignment := orchestrator.ask()) is not None:
                orchestrator.finish(assignment.trial_id, Outcome("completed", metrics(assignment.spec)))
    raise AssertionError("no comparison came")


def rates(plan):
    return [variant.setting.train.lr for variant in plan.variants]


def test_retune_chooses_by_the_validation_split(write_sweep, tmp_path, retuned):
    plan = tuned_plan(make_plan(load_sweep(write_sweep(retuned))), tmp_path / "run")
    records = [each for each in read_ledger(tmp_path / "run" / "ledger.jsonl").records if each.role == "retune"]
    for name in ("softmax", "reattention"):
        mine = [r.spec["train"]["lr"] for r in records if r.spec["arch"]["attention"]["name"] == name]
        (chosen,) = {v.setting.train.lr for v in plan.variants if v.setting.arch.attention.name == name}
        best_of_val, best_of_test = (
            min(mine, key=lambda lr: abs(math.log10(lr / best))) for best in (BEST_OF_VALIDATION, BEST_OF_TEST)
        )
        assert chosen == best_of_val != best_of_test


def test_no_metric_of_the_test_split_changes_what_retune_tries_or_chooses(write_sweep, tmp_path, retuned):
    plan = make_plan(load_sweep(write_sweep(retuned)))

    def other_test_split(spec):
        return {"top1": 100 - metrics_of(spec)["top1"], "val_top1": metrics_of(spec)["val_top1"]}

    one = tuned_plan(plan, tmp_path / "one")
    other = tuned_plan(plan, tmp_path / "other", other_test_split)
    assert rates(one) == rates(other)
    specs = [
        [record.spec for record in read_ledger(tmp_path / name / "ledger.jsonl").records] for name in ("one", "other")
    ]
    assert specs[0] == specs[1]


def test_no_trial_of_a_reported_seed_changes_what_retune_tries_or_chooses(write_sweep, tmp_path, retuned):
    """Reported trials of the untuned settings are in the ledger already, of opposite merits."""
    plan = make_plan(load_sweep(write_sweep(retuned)))

    def opposite(spec):
        return {name: 100 - value for name, value in metrics_of(spec).items()}

    assert rates(tuned_plan(plan, tmp_path / "one")) == rates(tuned_plan(plan, tmp_path / "two", before=opposite))


def test_the_table_reports_no_trial_that_chose(write_sweep, tmp_path, retuned):
    plan = make_plan(load_sweep(write_sweep(retuned)))
    run_dir = tmp_path / "run"
    comparison = tuned_plan(plan, run_dir)
    with LedgerWriter(run_dir) as ledger:
        orchestrator = Orchestrator(comparison, ledger, role="")
        while (assignment := orchestrator.ask()) is not None:
            orchestrator.finish(assignment.trial_id, Outcome("completed", metrics_of(assignment.spec)))
    records = read_ledger(run_dir / "ledger.jsonl").records
    chose = {record.trial_id for record in records if record.role == "retune"}
    table = ablation_table(plan_so_far(plan, records).as_run_plan(), records)
    reported = {record.trial_id for row in table.rows for record in row.records}
    assert (len(chose), len(reported), chose & reported) == (10, 4, set())
    for row, lr in zip(table.rows, rates(comparison), strict=True):  # seeds 0 and 1 have luck 0 and 1
        best = 90 - 10 * abs(math.log10(lr / BEST_OF_TEST))
        assert row.metrics["top1"].mean == pytest.approx(best + 0.5)
        own = 90 - 10 * abs(math.log10(0.003 / BEST_OF_TEST))  # the tuning seed's luck is in both, so it cancels
        assert row.tuned.is_own or row.tuned.gap.mean == pytest.approx(best - own)


SEARCH = """
    name: search
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
      task: {dataset: builtin/digits, val_fraction: 0.2}
      train: {epochs: 1, batch_size: 512, lr: 0.003}
    space: {train.lr: [0.0001, 0.001, 0.01, 0.1]}
    design: search
    search: {sampler: random, num_trials: 8}
    seeds: [7]
    metric: top1
"""


@pytest.mark.thorough
def test_what_a_search_found_is_judged_by_fresh_seeds(write_sweep, tmp_path):
    """Rows are ordered, and the best is taken, by the validation split; its ablation has none of the search's seeds."""
    run_dir = tmp_path / "run"
    run_sweep(make_plan(load_sweep(write_sweep(SEARCH))), run_dir, engine="in-process")
    run = Run.open(run_dir)
    table = ablation_table(run.plan, run.deciding.values())
    assert table.ordered_by == "val_top1"
    values = [row.metrics["val_top1"].mean for row in table.rows if row.num_completed]
    assert values == sorted(values, reverse=True)
    assert not table.has_tests  # the best of several is no comparison that was planned
    follow_up = load_sweep_text(ablate_best(run_dir, "best")).sweep
    assert not {*follow_up.seeds} & {*run.plan.seeds}
    (found,) = {variant.setting.train.lr for variant in itertools.islice(variants(follow_up), 1)}
    assert found == table.rows[0].records[0].spec["train"]["lr"]
