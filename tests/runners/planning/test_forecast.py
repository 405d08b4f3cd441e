"""Forecast of a plan: power compared with published tables, memory with a second measurement; time, budget, history."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from typer.testing import CliRunner

from modelzoo import build_model
from results import LedgerWriter
from results.plan.stored import Origin
from results.store.run import write_plan
from runners.cli.app import app
from runners.cli.plan.as_text import plan_sentences
from runners.driver.orchestrator import Orchestrator
from runners.planning.budget import fit_budget, parse_budget
from runners.planning.detection.power import detectable_effect, power_of
from runners.planning.forecast import local_slots, make_forecast
from runners.planning.history import History, duration_key, read_history
from runners.planning.make_plan import make_plan
from runners.planning.profiling import Probe, activation_mib, probe_trial, training_mib
from runners.trials.outcome import Outcome
from search_space import Resources, SpecError, load_sweep
from search_space.schema.trial import ArchSpec, Setting, TrainSpec

pytestmark = pytest.mark.thorough

DOCS = Path(__file__).parents[3] / "docs"
R_ORACLE = Path(__file__).parents[2] / "golden" / "statistics" / "oracle_open.json"
TWO_CPUS = "resources: {cpus: 1, max_concurrent: 2}"


# -- power ---------------------------------------------------------------------


@pytest.mark.parametrize(("num_seeds", "expected"), [(3, 3.26), (5, 1.68), (10, 1.00), (20, 0.66), (34, 0.50)])
def test_detectable_effects_are_those_of_power_tables(num_seeds, expected):
    """Two-sided paired t-test, alpha 0.05, power 0.8; 34 pairs for an effect of 0.5: Cohen's and G*Power's example."""
    assert detectable_effect(num_seeds) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("num_seeds", "num_tests"), [(3, 1), (5, 1), (5, 10), (8, 4)])
def test_power_agrees_with_simulation(num_seeds, num_tests):
    """20,000 paired t-tests by scipy; four standard errors of a proportion of 0.8 are 0.011."""
    effect = detectable_effect(num_seeds, num_tests=num_tests)
    assert effect is not None
    draws = np.random.default_rng(1).normal(effect, 1, size=(20_000, num_seeds))
    found = (stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05 / num_tests).mean()
    assert found == pytest.approx(0.8, abs=0.0115)


@pytest.mark.parametrize("case", json.loads(R_ORACLE.read_text())["detectable"], ids=lambda case: str(case["n"]))
def test_detectable_effects_and_power_are_those_of_r(case):
    """For many arms the effect was too small: 6.84 instead of 10.36 standard deviations for 10 arms with 3 seeds."""
    num_seeds, num_tests, alpha = case["n"], case["k"], case["alpha"]
    found = detectable_effect(num_seeds, alpha=alpha, num_tests=num_tests)
    assert found == pytest.approx(case["mde"], rel=1e-9)
    assert power_of(2, num_seeds, alpha=alpha / num_tests) == pytest.approx(case["power_at_2"], rel=1e-7)


def test_power_for_no_effect_is_alpha():
    assert power_of(0.0, 5, alpha=0.03) == pytest.approx(0.03)


def test_power_is_a_number_that_grows_with_the_effect():
    """6 seeds, 5 arms, 3 standard deviations was NaN, as were 14 of 144 ordinary cells."""
    for num_seeds in (3, 4, 6, 20):
        for num_tests in (1, 5, 20, 1000):
            found = [power_of(effect / 2, num_seeds, num_tests=num_tests) for effect in range(41)]
            assert all(0 <= value <= 1 for value in found)
            assert found == sorted(found)


def test_dunnett_s_test_detects_more_than_holm_of_few_seeds():
    """20,000 studies of 4 arms and 3 seeds, one arm with an effect. The critical value of 4 arms and 8 degrees of
    freedom in tables of Dunnett's two-sided test at 5 % is 3.02."""
    effect = detectable_effect(3, num_tests=4, correction="dunnett")
    assert effect is not None
    assert effect < 0.5 * (detectable_effect(3, num_tests=4) or 0)
    noise = np.random.default_rng(2).normal(0, 1, size=(20_000, 5, 3))
    noise[:, 1] += effect * np.sqrt(2)  # a paired difference has a standard deviation of sqrt(2)
    left = noise - noise.mean(axis=1, keepdims=True) - noise.mean(axis=2, keepdims=True)
    left += noise.mean(axis=(1, 2), keepdims=True)
    std = np.sqrt((left**2).sum(axis=(1, 2)) / 8)
    t = (noise[:, 1] - noise[:, 0]).mean(axis=1) / (std * np.sqrt(2 / 3))
    assert (np.abs(t) > 3.02).mean() == pytest.approx(0.8, abs=0.0125)


@pytest.mark.parametrize("num_seeds", [1, 2])
def test_fewer_than_three_seeds_detect_nothing(num_seeds):
    assert detectable_effect(num_seeds) is None


# -- memory --------------------------------------------------------------------

SMALL = {"model": "vit", "embed_dim": 24, "num_heads": 2, "mlp_ratio": 2, "patch_size": 4, "class_token": False}


def info(write_sweep):
    plan = make_plan(load_sweep(write_sweep()))
    return plan.dataset_of(plan.variants[0])


@pytest.mark.parametrize("attention", ["reattention", "groupmix"])
def test_activation_memory_is_that_of_a_real_forward_pass(attention, write_sweep):
    """The reference counts the bytes at distinct addresses on the CPU, where memory is allocated."""
    arch = ArchSpec(depth=2, attention={"name": attention}, **SMALL | {"embed_dim": 40})
    data = info(write_sweep)

    def saved(num_images):
        model = build_model(arch, img_size=data.img_size, in_chans=1, num_classes=10).train()
        kept, bytes_at = [], {}

        def pack(tensor):
            storage = tensor.untyped_storage()
            kept.append(tensor)
            bytes_at[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(torch.zeros(num_images, 1, *data.img_size))
        return sum(bytes_at.values())

    assert activation_mib(Setting(arch=arch), data) * 2**20 == pytest.approx(saved(5) - saved(4), rel=0.02)


@pytest.mark.parametrize("attention", ["reattention", "refiner"])
def test_a_plan_says_what_recomputed_maps_would_take(attention, write_sweep):
    """12 heads in 2 blocks. Re-attention keeps none of three maps (softmax, mixed, the one that weighs V); Refiner 3
    of 22: those that come in, the reduced ones and those that weigh V."""
    arch = SMALL | {"depth": 2, "embed_dim": 24, "num_heads": 12, "attention": attention}
    setting = Setting(arch=ArchSpec.model_validate(arch))
    data = info(write_sweep)
    kept, less = (activation_mib(setting, data, recompute_maps=recompute) for recompute in (False, True))
    one_map = 2 * 12 * (data.img_size[0] // 4 * (data.img_size[1] // 4)) ** 2 * 4 / 2**20
    fewer = {"reattention": 3, "refiner": 19}[attention]
    assert kept - less == pytest.approx(fewer * one_map, rel=0.05)
    own = setting.model_copy(update={"train": TrainSpec(recompute_maps=True)})
    assert activation_mib(own, data) == less


def test_every_block_adds_the_same_activation_memory(write_sweep):
    data = info(write_sweep)
    one, two, three = (activation_mib(Setting(arch=ArchSpec(depth=depth, **SMALL)), data) for depth in (1, 2, 3))
    assert 0 < one < two
    assert three - two == pytest.approx(two - one)


def test_training_memory_by_hand(write_sweep):
    """Weights, gradients and two moments of a million parameters in float32, and 256 images of 0.5 MiB."""
    plan = make_plan(load_sweep(write_sweep()))
    setting = plan.variants[0].setting
    expected = 4 * 4 * 1e6 / 2**20 + 256 * 0.5
    assert training_mib(setting, params_m=1.0, activation=0.5) == pytest.approx(expected)


# -- time ----------------------------------------------------------------------


def test_probe_predicts_the_duration_and_records_nothing(write_sweep, tmp_path):
    setting = make_plan(load_sweep(write_sweep())).variants[0].setting
    before = sorted(tmp_path.rglob("*"))
    found = probe_trial(setting, Resources(), device="cpu", max_seconds=0.2)
    assert 0 < found.step_seconds < found.seconds
    assert (found.peak_mib, found.device) == (None, "cpu")
    assert sorted(tmp_path.rglob("*")) == before


def test_probe_does_all_that_takes_memory_in_a_trial(write_sweep, monkeypatch):
    """What is called beside steps and evaluations, with what: 8 images at once for `task.probes`, and one batch for
    the BatchNorms of attention maps."""
    import runners.planning.profiling as profiling

    seen = []
    real_probe, real_recalibrate = profiling.probe_model, profiling.recalibrate

    def probe_model(model, batches, task, **options):
        found = real_probe(model, batches, task, **options)
        seen.append(("probes", task.probes, task.probe_images, task.probe_arrays, sorted(found)))
        return found

    def recalibrate(model, batchnorms, batches, **options):
        real_recalibrate(model, batchnorms, batches, **options)
        seen.append(("recalibration", [int(each.num_batches_tracked) for each in batchnorms]))

    monkeypatch.setattr(profiling, "probe_model", probe_model)
    monkeypatch.setattr(profiling, "recalibrate", recalibrate)
    path = write_sweep(**{"dataset: builtin/digits}": "dataset: builtin/digits, probes: [attention_entropy], "
                                                      "probe_arrays: true}"})  # fmt: skip
    plan = make_plan(load_sweep(path))
    (variant,) = [each for each in plan.variants if each.name == "attention=reattention"]
    probe_trial(variant.setting, Resources(), device="cpu", max_seconds=0.1)
    assert seen == [
        ("recalibration", [1, 1]),
        ("probes", ("attention_entropy",), 8, False, ["attention_entropy"]),
    ]


def test_probe_leaves_the_trial_as_it_was(write_sweep):
    """Global random number generators are restored, so that a probe does not change a later training."""
    setting = make_plan(load_sweep(write_sweep())).variants[0].setting
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    probe_trial(setting, Resources(), device="cpu", max_seconds=0.1)
    assert torch.equal(torch.rand(2), expected)


def key_of(variant):
    return duration_key(variant.setting.model_dump(mode="json"))


def fill(path, run_dir, values, *, seconds=7200.0):
    """A ledger with the given top1 by (variant, seed)."""
    plan = make_plan(load_sweep(path))
    with LedgerWriter(run_dir) as ledger:
        orchestrator = Orchestrator(plan, ledger)
        while (assignment := orchestrator.ask()) is not None:
            value = values.get((assignment.variant.name, assignment.spec.seed))
            if value is None:
                break
            outcome = Outcome("completed", {"top1": value}, total_seconds=seconds)
            orchestrator.finish(assignment.trial_id, outcome)
    return plan


def test_history_has_seconds_and_spread(write_sweep, tmp_path):
    """Differences of re-attention: 1, 3 (variance 2); of Group-Mix: 0, 4 (variance 8): pooled sqrt(5)."""
    values = {
        ("baseline", 0): 90.0, ("baseline", 1): 92.0,
        ("attention=reattention", 0): 91.0, ("attention=reattention", 1): 95.0,
        ("attention=groupmix", 0): 90.0, ("attention=groupmix", 1): 96.0,
    }  # fmt: skip
    plan = fill(write_sweep(), tmp_path / "run", values)
    history = read_history(tmp_path / "run")
    spread = history.spread(plan.variants[0], plan.variants[1:], "top1")
    assert spread is not None
    assert (spread.std, spread.num_arms, spread.num_pairs) == (pytest.approx(5**0.5), 2, 4)
    assert history.seconds(plan.variants[0].setting) == 7200.0
    slower = plan.variants[0].setting.model_copy(
        update={"train": plan.variants[0].setting.train.model_copy(update={"lr": 0.5})}
    )
    assert history.seconds(slower) == 7200.0
    longer = plan.variants[0].setting.model_copy(
        update={"train": plan.variants[0].setting.train.model_copy(update={"epochs": 99})}
    )
    assert history.seconds(longer) is None


def test_records_that_a_run_left_out_are_no_history(write_sweep, tmp_path):
    """`run --changed retrain` lists their origin in plan.json; `plan` must not take them for done."""
    plan = fill(write_sweep(), tmp_path / "run", {("baseline", 0): 90.0})
    write_plan(tmp_path / "run", plan.as_run_plan())
    assert len(read_history(tmp_path / "run").records) == 1
    write_plan(tmp_path / "run", plan.as_run_plan(superseded=[Origin()]))
    history = read_history(tmp_path / "run")
    assert history.records == ()
    assert history.typical_seconds is None


def test_forecast_counts_remaining_trials(write_sweep, tmp_path):
    """Four of six trials are done; two are left, of 2 h each, two at a time; each takes half a GPU."""
    path = write_sweep(**{"seeds: 2": "seeds: 2\nresources: {cpus: 1, gpus: 0.5}"})
    values = {(name, 0): 90.0 for name in ("baseline", "attention=reattention", "attention=groupmix")}
    plan = fill(path, tmp_path / "run", values | {("baseline", 1): 91.0})
    found = make_forecast(plan, read_history(tmp_path / "run"), concurrency=2)
    assert (found.num_trials, found.num_left) == (6, 2)
    assert (found.trial_hours, found.hours, found.cpu_hours, found.gpu_hours) == (4.0, 2.0, 4.0, 2.0)
    assert found.seed_hours == 6.0
    assert [variant.source for variant in found.variants] == ["history"] * 3


@pytest.mark.parametrize(
    ("gpu_memory", "gpu_gib", "gpu_hours", "is_bound"),
    [
        ("10", 80, 1.2, False),  # (10 * 1.15 + 0.75) / 80 = 0.153, in steps of a twentieth: 0.2 of six hours
        ("10", None, 6.0, True),  # without a GPU here the share is unknown
        ("auto", 80, 6.0, True),  # measured when the run starts
    ],
)
def test_gpu_hours_of_trials_that_share_by_memory(write_sweep, gpu_memory, gpu_gib, gpu_hours, is_bound):
    plan = make_plan(load_sweep(write_sweep(**{"seeds: 2": f"seeds: 2\nresources: {{gpu_memory: {gpu_memory}}}"})))
    probes = {key: Probe(3600.0, 1.0, None, "cpu") for key in map(key_of, plan.variants)}
    found = make_forecast(plan, History(), probes=probes, concurrency=1, gpu_gib=gpu_gib)
    assert (found.gpu_hours, found.is_gpu_bound) == (pytest.approx(gpu_hours), is_bound)
    (time,) = [line for line in plan_sentences(found, run_dir="r") if line.startswith("time: ")]
    assert (
        time
        == "time: 6.0 h with 1 at a time; 6.0 h of CPUs, "
        + {
            ("10", 80): "1.2 h of GPUs (0.2 of a GPU per trial)",
            ("10", None): "at most 6.0 h of GPUs, if each trial took a whole one: GPU memory unknown here",
            ("auto", 80): "at most 6.0 h of GPUs, if each trial took a whole one: the share is measured later",
        }[gpu_memory, gpu_gib]
        + " (from probe on cpu)"
    )
    expected = "may need up to 6 GPU hours" if is_bound else "needs 1.2 GPU hours"
    assert refusal(parse_budget("1gpuh"), lambda seeds: found, (0, 1), trim=True).startswith(
        f"--budget 1gpuh: the plan {expected}, more than the 1 of the budget\n"
    )


def test_hours_of_trials_that_take_different_resources(write_sweep):
    """Three variants, two seeds, an hour a trial; Group-Mix takes 4 CPUs and 2 GPUs, the others half a GPU."""
    rules = "{gpus: 0.5, per_variant: [{where: arch.attention.name == 'groupmix', cpus: 4, gpus: 2}]}"
    plan = make_plan(load_sweep(write_sweep(**{"seeds: 2": f"seeds: 2\nresources: {rules}"})))
    probes = {key: Probe(3600.0, 1.0, None, "cpu") for key in map(key_of, plan.variants)}
    found = make_forecast(plan, History(), probes=probes, concurrency=1)
    assert (found.trial_hours, found.cpu_hours, found.gpu_hours) == (6.0, 2 + 2 + 8, 1 + 1 + 4)
    assert [line for line in plan_sentences(found, run_dir="r") if "takes" in line] == [
        "resources: a trial of attention=groupmix takes 4 CPUs, 2 GPUs",
        "  every other takes 1 CPUs, 0.5 GPUs",
    ]


def test_variant_without_history_gets_the_mean_of_the_others_as_its_source_states(write_sweep, tmp_path):
    plan = fill(write_sweep(), tmp_path / "run", {("baseline", 0): 90.0})
    found = make_forecast(plan, read_history(tmp_path / "run"), concurrency=1)
    assert [(variant.seconds, variant.source) for variant in found.variants] == [
        (7200.0, "history"),
        (7200.0, "mean of the other variants"),
        (7200.0, "mean of the other variants"),
    ]


def test_hours_are_unknown_without_probe_and_history(write_sweep):
    found = make_forecast(make_plan(load_sweep(write_sweep())), History(), concurrency=1)
    assert (found.trial_hours, found.hours, found.gpu_hours) == (None, None, None)


def test_detectable_difference_scales_with_the_spread(write_sweep, tmp_path):
    path = write_sweep(**{"seeds: 2": "seeds: 5"})
    found = make_forecast(make_plan(load_sweep(path)), History(), concurrency=1)
    assert found.detectable.single == pytest.approx(0.2 * 1.684, abs=0.001)
    assert found.detectable.worst == pytest.approx(0.2 * (detectable_effect(5, alpha=0.025) or 0))
    assert found.one_more.single == pytest.approx(0.2 * (detectable_effect(6) or 0))
    assert found.detectable.spread is None


def test_slots_are_bounded_by_max_concurrent():
    assert local_slots(Resources(cpus=0.001, max_concurrent=3)) == 3
    assert local_slots(Resources(cpus=10_000)) == 1


# -- budget --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "amount", "unit"), [("40gpuh", 40, "gpuh"), ("1.5 cpuh", 1.5, "cpuh"), (".5h", 0.5, "h")]
)
def test_budgets_are_parsed(text, amount, unit):
    assert (parse_budget(text).amount, parse_budget(text).unit) == (amount, unit)


@pytest.mark.parametrize("text", ["40", "gpuh", "-1h", "0h", "40 days", "1e3h"])
def test_malformed_budgets_are_refused(text):
    with pytest.raises(SpecError, match="is no budget"):
        parse_budget(text)


@pytest.fixture
def an_hour_each(write_sweep):
    """Five seeds of three variants, an hour each on one CPU."""
    plan = make_plan(load_sweep(write_sweep(**{"seeds: 2": "seeds: 5"})))
    probes = {key: Probe(3600.0, 1.0, None, "cpu") for key in map(key_of, plan.variants)}
    return lambda seeds: make_forecast(plan, History(), probes=probes, seeds=seeds, concurrency=3)


def test_plan_within_the_budget_is_left_alone(an_hour_each):
    assert len(fit_budget(parse_budget("15cpuh"), an_hour_each, range(5), trim=True).seeds) == 5
    assert len(fit_budget(parse_budget("5h"), an_hour_each, range(5), trim=False).seeds) == 5


def refusal(*arguments, **options):
    with pytest.raises(SpecError) as caught:
        fit_budget(*arguments, **options)
    return str(caught.value)


def test_plan_beyond_the_budget_is_refused_with_what_would_fit(an_hour_each):
    assert refusal(parse_budget("13cpuh"), an_hour_each, range(5), trim=False) == (
        "--budget 13cpuh: the plan needs 15 CPU hours, more than the 13 of the budget\n"
        "  with 4 seeds it needs 12; add --trim to plan these"
    )


def test_trimming_removes_seeds_but_keeps_three(an_hour_each):
    assert fit_budget(parse_budget("9cpuh"), an_hour_each, range(5), trim=True).seeds == (0, 1, 2)
    assert refusal(parse_budget("8cpuh"), an_hour_each, range(5), trim=True) == (
        "--budget 8cpuh: the plan needs 15 CPU hours, more than the 8 of the budget\n"
        "  even with 3 seeds it needs 9, and fewer are not tested\n"
        "  fewer variants, epochs or pixels would help; so would pruning"
    )


def test_budget_of_gpus_for_trials_without_one_is_refused(an_hour_each):
    assert refusal(parse_budget("1gpuh"), an_hour_each, range(5), trim=True) == (
        "--budget 1gpuh: the trials use no GPU\n  set resources.gpus, or give the budget in cpuh or h"
    )


def test_budget_without_any_duration_is_refused(write_sweep):
    plan = make_plan(load_sweep(write_sweep()))
    message = refusal(parse_budget("1h"), lambda seeds: make_forecast(plan, History()), (0, 1), trim=True)
    assert message.startswith("--budget 1h: no trial duration known\n  add --probe")


# -- the command ---------------------------------------------------------------


@pytest.fixture
def archsweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        done = CliRunner().invoke(app, ["plan", *map(str, arguments)])
        if isinstance(done.exception, SpecError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.stdout

    return call


def keys_of(node):
    if isinstance(node, dict):
        return set(node) | {key for value in node.values() for key in keys_of(value)}
    return {key for item in node for key in keys_of(item)} if isinstance(node, list) else set()


def test_json_has_the_documented_keys(write_sweep, archsweep):
    path = write_sweep(**{"seeds: 2": "seeds: 3"})
    document = json.loads(archsweep(path, "--json"))
    (plan,) = document["plans"]
    assert document["version"] == 1
    assert [(row["name"], row["changes"], row["num_left"]) for row in plan["variants"]] == [
        ("baseline", {}, 3),
        ("attention=reattention", {"arch.attention": "reattention"}, 3),
        ("attention=groupmix", {"arch.attention": "groupmix"}, 3),
    ]
    assert plan["trials"] == {
        "total": 9, "left": 9, "trainings_total": 9, "trainings_left": 9, "from_studies": 0, "from_cache": 0,
        "retune_total": 0, "retune_left": 0,
    }  # fmt: skip
    page = (DOCS / "plan.md").read_text(encoding="utf-8")
    described = set(re.findall(r"`(\w+)`", page))
    undescribed = keys_of(document) - described - set(plan["variants"][1]["changes"])
    assert undescribed == set()


def test_plan_names_what_a_mechanism_takes_the_place_of(write_sweep, archsweep):
    path = write_sweep(
        """
        name: s
        baseline:
          arch: {depth: 2, embed_dim: 20, num_heads: 2, patch_size: 4, options: {qk_norm: true}}
          task: {dataset: builtin/digits}
        space: {arch.attention: [softmax, reattention, groupmix]}
        design: one_factor
        seeds: 3
        """
    )
    note = "groupmix takes the place of the norm of queries and keys (q_norm, k_norm) in all blocks"
    shown = archsweep(path).split("\n")
    assert [line for line in shown if line.startswith("note: ")] == [f"note: attention=groupmix: {note}"]
    (plan,) = json.loads(archsweep(path, "--json"))["plans"]
    assert [row["notes"] for row in plan["variants"]] == [[], [], [note]]


def test_search_describes_its_parameters_and_warns_of_selecting_on_the_test_split(write_sweep, archsweep):
    path = write_sweep(
        """
        name: s
        baseline: {arch: {depth: 1, embed_dim: 20, num_heads: 2, patch_size: 4}}
        space:
          arch.depth: {min: 1, max: 3}
          arch.attention: [softmax, {value: refiner, with: {expansion: [1, 2]}}]
          train.lr: {min: 1e-4, max: 1e-2, log: true}
        design: search
        search: {num_trials: 5}
        """
    )
    shown = archsweep(path)
    assert "  arch.depth: 1 .. 3\n" in shown
    assert "  arch.attention: softmax | refiner (expansion: 1 | 2)\n" in shown
    assert "  train.lr: 0.0001 .. 0.01 log\n" in shown
    assert "warning: val_fraction is 0: the search selects on the test split" in shown
    assert "warning" not in archsweep(path, "--set", "task.val_fraction=0.1")


MANY_ARMS = """
    name: many
    baseline: {arch: {depth: 1, embed_dim: 8, num_heads: 2, patch_size: 4, mlp_ratio: 1}}
    space:
      arch.depth: [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    design: one_factor
    seeds: 3
    """


@pytest.mark.slow
def test_difference_after_holm_is_that_of_r(write_sweep, archsweep):
    """10 arms with 3 seeds: 10.355 standard deviations of 0.2 % each; 1.37 % was printed."""
    path = write_sweep(MANY_ARMS)
    (case,) = (case for case in json.loads(R_ORACLE.read_text())["detectable"] if (case["n"], case["k"]) == (3, 10))
    assert "; after Holm for 10 variants, 2.07 % in the worst case" in archsweep(path)
    (plan,) = json.loads(archsweep(path, "--json"))["plans"]
    assert plan["detectable"]["difference_holm"] == pytest.approx(0.2 * case["mde"], rel=1e-6)
    assert plan["detectable"]["difference_corrected"] == plan["detectable"]["difference_holm"]


def test_detectable_difference_follows_the_analysis(write_sweep, archsweep):
    path = write_sweep(**{"seeds: 2": "seeds: 5"})
    chosen = ("--set", "analysis={alpha: 0.01, correction: none}")
    shown = archsweep(path, *chosen)
    single = 0.2 * (detectable_effect(5, alpha=0.01) or 0)
    assert f"a true difference of {single:.3g} % is found with 80 % power (paired t, alpha 0.01: " in shown
    assert "in the worst case" not in shown
    (plan,) = json.loads(archsweep(path, *chosen, "--json"))["plans"]
    found = plan["detectable"]
    assert (found["alpha"], found["correction"]) == (0.01, "none")
    assert found["difference"] == found["difference_corrected"] == pytest.approx(single)
    assert found["difference_holm"] == pytest.approx(0.2 * (detectable_effect(5, alpha=0.01, num_tests=2) or 0))
    assert "; by Dunnett's test of 2 variants, " in archsweep(path, "--set", "analysis.correction=dunnett")
    assert "; after Benjamini-Hochberg for 2 variants, " in archsweep(path, "--set", "analysis.correction=bh")


def test_run_plan_knows_the_size_of_the_test_set(write_sweep):
    plan = make_plan(load_sweep(write_sweep()))
    assert plan.as_run_plan().num_test_images == plan.dataset_of(plan.variants[0]).num_test == 359


def test_fraction_states_its_aliases(write_sweep, archsweep):
    path = write_sweep(
        """
        name: f
        baseline: {arch: {depth: 1, embed_dim: 20, num_heads: 2, patch_size: 4}}
        space:
          arch.qkv_bias: [true, false]
          arch.mlp_ratio: [4, 2]
          train.mixup: [0, 0.2]
        design: {name: fractional, resolution: 3}
        seeds: 3
        """
    )
    shown = archsweep(path)
    assert "fraction: 3 factors in 4 runs, resolution III: main effects are aliased with two-factor" in shown
    assert "  qkv_bias = qkv_bias + (mlp_ratio x mixup)\n" in shown
    warned = archsweep(path, "--set", 'require=["train.mixup == 0.2 or arch.mlp_ratio == 4"]')
    assert "warning: rows of the fraction are dropped: main effects are no longer clear of each other" in warned


_COMPONENTS = """
        name: s
        baseline: {arch: {depth: 1, embed_dim: 20, num_heads: 2, patch_size: 4}}
        space:
          arch.qkv_bias: [true, false]
          arch.mlp_ratio: [4, 2]
          train.mixup: [0, 0.2]
"""


def test_plan_of_exact_shapley_values(write_sweep, archsweep):
    """3 components: 8 coalitions; weights 1/3, 1/6, 1/6, 1/3, whose squares add up to 5/18 = 0.53 ** 2."""
    path = write_sweep(_COMPONENTS + "        design: shapley\n        seeds: 3\n")
    assert (
        "Shapley values: exact, from all 8 coalitions of 3 components; 8 x 3 seeds take 24 trainings\n"
        "  the noise of the seeds in a value is 0.53 times that of one difference, if each training errs by itself\n"
    ) in archsweep(path)
    warned = archsweep(path, "--set", 'require=["train.mixup == 0.2 or arch.mlp_ratio == 4"]')
    assert (
        "warning: 2 coalitions are dropped: the Shapley values of qkv_bias, mlp_ratio, mixup are not computable"
        in warned
    )


@pytest.mark.slow
def test_plan_of_sampled_shapley_values(write_sweep, archsweep):
    """Of each pair of orders the inner prefixes of one are the complements of those of the other: 2 x 3 x 2 + 2."""
    more = "          train.smoothing: [0, 0.1]\n          train.weight_decay: [0, 0.1]\n"
    path = write_sweep(_COMPONENTS + more + "        design: {name: shapley, orders: 4}\n        seeds: 2\n")
    planned = make_plan(load_sweep(path)).as_run_plan()
    assert planned.orders[1::2] == [order[::-1] for order in planned.orders[::2]]
    passed = {frozenset(order[:size]) for order in planned.orders for size in range(6)}
    assert (
        f"Shapley values: estimates from 4 sampled orders (2 and their reverses, order_seed 0), which pass "
        f"{len(passed)} of 32 coalitions of 5 components; {len(passed)} x 2 seeds take {2 * len(passed)} trainings\n"
    ) in archsweep(path)


@pytest.mark.slow
def test_plan_with_probe_and_budget(write_sweep, archsweep, tmp_path):
    path = write_sweep()
    shown = archsweep(path, "--probe", "--budget", "1cpuh", "--concurrent", 2)
    assert "with 2 at a time; " in shown
    assert "(from probe on " in shown
    assert not (tmp_path / "runs").exists()
    with pytest.raises(SpecError, match="the plan needs"):
        archsweep(path, "--probe", "--budget", "0.000001cpuh", "--trim")


@pytest.mark.parametrize(
    ("num_test", "difference", "spread"),
    [
        # Steps of 1.85 points. The difference of two roundings has an SD of a step / sqrt(6).
        (54, "2.47 %", "0.756 %: assumed, there is no history; one test image is 1.85 %"),
        (10_000, "0.653 %", "0.2 %: assumed, there is no history; one test image is 0.01 %"),
    ],
)
def test_plan_promises_nothing_below_what_the_test_set_can_show(write_sweep, archsweep, num_test, difference, spread):
    dataset = f"{{name: builtin/shapes, img_size: 8, num_train: 64, num_test: {num_test}}}"
    shown = archsweep(write_sweep(**{"seeds: 2": "seeds: 3", "builtin/digits": dataset}))
    assert f"a true difference of {difference} is found" in shown
    assert f"the differences of equal seeds have a standard deviation of {spread}" in shown


def test_a_difference_below_one_image_is_rounded_up_to_one(write_sweep, archsweep):
    """30 seeds would find 0.1 % by the assumed spread, and digits have 359 test images of 0.279 % each."""
    shown = archsweep(write_sweep(**{"seeds: 2": "seeds: 30"}))
    assert "detectable: with 30 seeds a true difference of 0.279 % is found with 80 % power" in shown


def test_plan_states_cost_and_gain_of_one_more_seed(write_sweep, archsweep):
    shown = archsweep(write_sweep(**{"seeds: 2": "seeds: 3"}))
    assert "detectable: with 3 seeds a true difference of 0.653 % is found with 80 % power" in shown
    assert "standard deviation of 0.2 %: assumed, there is no history" in shown
    assert "one more seed: 3 trials more; detects 0.426 %" in shown
    few = archsweep(write_sweep())
    assert "detectable: nothing; fewer than 3 seeds are not tested, and there are 2" in few
