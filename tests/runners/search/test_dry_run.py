"""Dry run of sampler and pruner: what Optuna would raise hours later is a message of `check`, and at work a message."""

from __future__ import annotations

import sys
import time

import pytest

from results.store.run_layout import RunDir
from runners.search.dry_run import dry_run_problems
from runners.search.pruning import EpochPruning, SeedPruning
from runners.search.study import Study
from runners.trials.assignment import Assignment
from runners.trials.proposal import ProposalResult
from search_space import SpecError, Variant, load_sweep_text, trial_id

pytestmark = pytest.mark.thorough

BASELINE = """name: t
baseline:
  arch: {model: vit, depth: 1, embed_dim: 8, num_heads: 2, patch_size: 4, mlp_ratio: 1}
  task: {dataset: builtin/digits, val_fraction: 0.2}
  train: {epochs: 10, batch_size: 256}
"""
RANGES = "space: {train.lr: {min: 1e-4, max: 1e-2, log: true}, train.weight_decay: {min: 0.0, max: 0.1}}\n"
STEPS = "space: {train.recalibrate_bn: {min: 0, max: 9}, train.lr: {min: 0.001, max: 0.009, step: 0.001}}\n"
CHOICES = "space: {arch.depth: [1, 2], arch.mlp_ratio: [1, 2]}\n"


def search(options: str, space: str = RANGES, num_trials: int = 200):
    text = f"{BASELINE}{space}design: search\nsearch: {{num_trials: {num_trials}, {options}}}\n"
    return load_sweep_text(text).sweep


def pruned(options: str, rest: str = ""):
    return load_sweep_text(f"{BASELINE}{CHOICES}design: factorial\nprune: {{{options}}}\n{rest}").sweep


def messages(sweep) -> list[str]:
    return [f"{problem.path}: {problem.message}" for problem in dry_run_problems(sweep)]


@pytest.mark.parametrize("space", [RANGES, STEPS])
@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "cmaes", "nsgaii", "nsgaiii", "TPESampler"])
def test_samplers_with_their_own_options_work(sampler: str, space: str) -> None:
    assert messages(search(f"sampler: {sampler}", space)) == []


def test_what_works_keeps_working() -> None:
    assert messages(search("sampler: brute_force", STEPS)) == []
    assert messages(search("sampler: brute_force", CHOICES)) == []
    assert messages(search("sampler: tpe, multivariate: true, group: true, n_startup_trials: 0")) == []
    assert messages(search("sampler: cmaes, independent_sampler: tpe, with_margin: true")) == []
    assert messages(search("sampler: nsgaii, population_size: 4, objectives: [top1, params_m]")) == []
    assert messages(search("sampler: nsgaiii, objectives: [top1, params_m], reference_points: [[1.0, 0.0]]")) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("sampler: tpe, gamma: 0.1", "'tpe' with gamma=0.1 fails in this sweep: TypeError: "),
        ("sampler: tpe, n_ei_candidates: 0", "'tpe' with n_ei_candidates=0 fails in this sweep: ValueError: "),
        ("sampler: tpe, weights: 3", "'tpe' with weights=3 fails in this sweep: TypeError: "),
        ("sampler: tpe, prior_weight: -1", "'tpe' with prior_weight=-1 fails in this sweep: ValueError: "),
        ("sampler: tpe, constraints_func: 3", "'tpe' with constraints_func=3 fails in this sweep: TypeError: "),
        ("sampler: cmaes, popsize: 1", "'cmaes' with popsize=1 fails in this sweep: AssertionError: "),
        ("sampler: cmaes, x0: {lr: 1}", "'cmaes' with x0={'lr': 1} fails in this sweep: AssertionError: "),
        ("sampler: nsgaii, population_size: 2.5", "'nsgaii' with population_size=2.5 fails in this sweep: TypeError: "),
        ("sampler: nsgaii, after_trial_strategy: 3", "'nsgaii' with after_trial_strategy=3 fails in this sweep: "),
        ("sampler: nsgaiii, reference_points: 3", "'nsgaiii' with reference_points=3 fails in this sweep: "),
        ("sampler: nsgaiii, dividing_parameter: 0", "'nsgaiii' with dividing_parameter=0 fails in this sweep: "),
        ("sampler: brute_force", "'brute_force' fails in this sweep: ValueError: FloatDistribution.step must be given"),
    ],
)  # fmt: skip
def test_samplers_that_fail_at_work(options: str, message: str) -> None:
    (found,) = messages(search(options))
    assert found.startswith(f"search: the sampler {message}")


@pytest.mark.parametrize("over", ["epochs", "seeds"])
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("pruner: hyperband, reduction_factor: 1", "ZeroDivisionError: float division by zero"),
        ("pruner: hyperband, reduction_factor: 2.5", "TypeError: list indices must be integers or slices, not float"),
        ("pruner: hyperband, min_resource: 0", "ZeroDivisionError: division by zero"),
        ("pruner: hyperband, max_resource: 0", "ValueError: math domain error"),
        ("pruner: successive_halving, reduction_factor: 2.5", "TypeError: list indices must be integers or slices"),
        ("pruner: patient, wrapped_pruner: median, patience: 1.5", "TypeError: slice indices must be integers"),
    ],
)
def test_pruners_that_fail_at_work(options: str, error: str, over: str) -> None:
    (found,) = messages(pruned(f"{options}, over: {over}", "seeds: 4\n"))
    name = options.split(", ")[0].removeprefix("pruner: ")
    assert found.startswith(f"prune: the pruner {name!r} with ")
    assert f" fails in this sweep: {error}" in found


@pytest.mark.parametrize("pruner", ["median", "hyperband", "successive_halving", "percentile, percentile: 25", "nop"])
@pytest.mark.parametrize("over", ["epochs", "seeds"])
def test_pruners_that_work(pruner: str, over: str) -> None:
    assert messages(pruned(f"pruner: {pruner}, over: {over}", "seeds: 4\n")) == []


def test_a_pruner_that_shares_the_study_of_a_search_is_reported_once() -> None:
    text = (
        f"{BASELINE}{RANGES}design: search\nsearch: {{num_trials: 30}}\nprune: {{pruner: hyperband, min_resource: 0}}\n"
    )
    (found,) = messages(load_sweep_text(text).sweep)
    assert found.startswith("prune: the pruner 'hyperband' with min_resource=0 fails")


def test_retune_drives_its_own_sampler() -> None:
    retune = "retune: {parameters: {train.lr: {min: 1e-4, max: 1e-2}}, num_trials: 20, seeds: [9], gamma: 0.1}\n"
    (found,) = messages(load_sweep_text(f"{BASELINE}{CHOICES}design: factorial\n{retune}").sweep)
    assert found.startswith("retune: the sampler 'tpe' with gamma=0.1 fails in this sweep: TypeError")


def test_cma_es_over_choices_is_refused() -> None:
    """It would give exactly the trials of `random`."""
    assert messages(search("sampler: cmaes", CHOICES)) == [
        "search.sampler: CmaEsSampler learns from ranges only, and no parameter is one: it would draw at random"
    ]
    conditional = "space: {arch.attention: [softmax, {value: refiner, with: {expansion: {min: 1, max: 4}}}]}\n"
    assert messages(search("sampler: cmaes", conditional)) != []
    assert messages(search("sampler: qmc", CHOICES)) == []  # has a coordinate for a choice


def test_a_sampler_that_never_gets_beyond_its_first_proposals_is_not_driven_there() -> None:
    assert messages(search("sampler: tpe, gamma: 0.1", num_trials=5)) == []


def test_a_dry_run_is_quick_silent_and_the_same_each_time(capfd: pytest.CaptureFixture[str]) -> None:
    start = time.perf_counter()
    assert messages(search("sampler: tpe")) == messages(search("sampler: tpe")) == []
    assert time.perf_counter() - start < 2
    messages(search("sampler: tpe, prior_weight: 0.5"))  # an option that Optuna warns of
    assert capfd.readouterr() == ("", "")


def drive_sampler(run_dir) -> None:
    study = Study(search("sampler: tpe, gamma: 0.1"), RunDir(run_dir))
    for number in range(20):
        study.tell(study.propose(), ProposalResult("completed", [number]))


def drive_pruner_over_epochs() -> None:
    sweep = pruned("pruner: hyperband, reduction_factor: 1, max_resource: 9")
    pruning = EpochPruning(sweep)
    for seed in (0, 1):
        spec = sweep.baseline.with_seed(seed)
        assignment = Assignment(trial_id(spec), spec, Variant("a", {}, sweep.baseline))
        pruning.start(assignment)
        for epoch in range(1, 11):
            pruning.report(assignment.trial_id, epoch, 0.5)


def drive_pruner_over_seeds() -> None:
    pruning = SeedPruning(pruned("pruner: hyperband, reduction_factor: 1, over: seeds", "seeds: 3\n"))
    for variant in "ab":
        for seed in range(3):
            pruning.add_seed(variant, seed, 0.5)


def test_an_exception_during_a_run_is_a_message(tmp_path) -> None:
    """Also without a check before."""
    with pytest.raises(SpecError, match=r"the sampler 'tpe' with gamma=0\.1 fails in this sweep: TypeError"):
        drive_sampler(tmp_path)
    with pytest.raises(SpecError, match="the pruner 'hyperband' with reduction_factor=1, max_resource=9 fails"):
        drive_pruner_over_epochs()
    with pytest.raises(SpecError, match="the pruner 'hyperband' with reduction_factor=1 fails"):
        drive_pruner_over_seeds()


def test_check_finds_it_at_its_place_without_torch(write_sweep, archsweep, tmp_path) -> None:
    text = f"{BASELINE}{RANGES}design: search\nsearch: {{num_trials: 200, sampler: tpe, gamma: 0.1}}\n"
    path = write_sweep(text)
    done = archsweep("check", path.name, cwd=tmp_path)
    assert done.returncode == 2
    assert "sweep.yaml:8:9: search: the sampler 'tpe' with gamma=0.1 fails in this sweep" in done.stderr


def test_a_dry_run_imports_no_torch() -> None:
    import subprocess

    code = "import sys, runners.search.dry_run; print('torch' in sys.modules, 'ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
