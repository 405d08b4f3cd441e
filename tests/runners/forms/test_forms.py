"""The form of trainings is decided in the plan: which variants train their seeds together, and why others do not."""

from __future__ import annotations

import dataclasses
import json

import pytest

from results import write_plan
from results.store.run_layout import RunDir
from runners.forms.decision import decide_forms, with_forms
from runners.forms.timing import StepTimes, time_steps
from runners.planning.forecast import make_forecast
from runners.planning.history import History
from runners.planning.make_plan import make_plan
from runners.planning.shard import Shard
from runners.trials.form import ALONE, stack_of
from search_space import load_sweep

SWEEP = """
    name: forms
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
      task: {name: classification, dataset: builtin/digits}
      train: {epochs: 10, batch_size: 32, lr: 0.003}
    space:
      arch.attention: [softmax, refiner]
    design: one_factor
    seeds: 4
    metric: top1
"""
FASTER = StepTimes(single=3e-3, fused=2e-3)


@pytest.fixture
def forms(write_sweep):
    def forms_(*overrides, times=FASTER, stored=None, collects=False, text=SWEEP):
        asked = []

        def timing(setting, info, size):
            asked.append(size)
            return times

        plan = make_plan(load_sweep(write_sweep(text), overrides=overrides))
        found = decide_forms(plan, stored=stored, collects=collects, timing=timing)
        return plan, [found[stack_of(each.setting)] for each in plan.variants], asked

    return forms_


def test_seeds_train_together_where_that_is_faster(forms):
    _, found, asked = forms()
    assert [(each.numerics, each.gain) for each in found] == [("fused", 1.5), ("fused", 1.5)]
    assert asked == [4, 4]


def test_a_group_needs_the_memory_of_all_its_trials(forms):
    plan, found, _ = forms()
    together = {stack_of(each.setting): form for each, form in zip(plan.variants, found, strict=True)}
    alone = make_forecast(plan, History(), concurrency=1).peak_mib
    assert alone is not None
    assert make_forecast(dataclasses.replace(plan, forms=together), History(), concurrency=1).peak_mib == 4 * alone


@pytest.mark.parametrize(
    ("times", "why"),
    [
        (StepTimes(2e-3, 2.1e-3), "steps of 4 trials together are no faster here"),
        (
            StepTimes(3e-3, None, is_exact=False),
            "on this processor its numbers would depend on which trials train together",
        ),
        (StepTimes(0.4, None), "its steps are long, so that there is little beside their arithmetic to save"),
    ],
)
def test_the_slower_form_is_never_chosen(forms, times, why):
    _, found, _ = forms(times=times)
    assert {(each.numerics, each.why) for each in found} == {("single", why)}


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("train.numerics=single", "train.numerics is single"),
        ("train.amp=bfloat16", "train.amp is bfloat16"),
        ("seeds=1", "there is only one seed, and no other variant of its shape"),
        ("train.epochs=1", "176 updates in all are too few to gain by it"),
        ("resources.cpus=2", "a trial has 2 threads"),
        ("train.freeze=[embed]", "parts of it are not trained"),
        ("train.recompute_maps=true", "train.recompute_maps saves memory, and a stack keeps all maps"),
        ("train.cosine_regulariser={pairs: 2, weight: 0.1}", "train.cosine_regulariser records the maps of every step"),
        ("train.batch_size=24", "batch_size=24 is no multiple of 16"),
    ],
)  # fmt: skip
def test_why_trials_train_alone(forms, override, why):
    """Nothing is measured for them."""
    more = ["arch.depth=3"] if "cosine" in override else []
    _, found, asked = forms(override, *more)
    assert {(each.numerics, each.why) for each in found} == {("single", why)}
    assert asked == []


@pytest.mark.parametrize(
    ("space", "depth", "of_variants"),
    [
        ("train.lr: [0.003, 0.001]", [], [8, 8]),
        ("train.smoothing: [0.0, 0.1]", [], [8, 8]),
        ("train.weight_decay: [0.05, 0.1]", [], [8, 8]),
        ("train.weight_decay: [0.05, 0.0]", [], [4, 4]),  # which divides the parameters otherwise
        # Without drop path there is no such layer.
        ("arch.drop_path_rate: [0.0, 0.1, 0.2]", ["arch.depth=2"], [4, 8, 8]),
        ("arch.depth: [1, 2]", [], [4, 4]),
        ("train.epochs: [10, 11]", [], [4, 4]),
        ("task.val_fraction: [0.0, 0.2]", [], [4, 4]),
    ],
)
def test_variants_that_differ_in_numbers_of_a_member_are_one_group(forms, space, depth, of_variants):
    """Sizes of the groups; steps are measured once for each."""
    text = SWEEP.replace("arch.attention: [softmax, refiner]", space)
    _, found, asked = forms(*depth, text=text)
    assert [each.size for each in found] == of_variants
    assert asked == ([8] if of_variants == [8, 8] else of_variants[:2])


def test_one_seed_of_several_variants_is_a_group(forms):
    text = SWEEP.replace("arch.attention: [softmax, refiner]", "train.lr: [0.003, 0.001, 0.01]")
    _, found, asked = forms("seeds=1", text=text)
    assert ([each.numerics for each in found], asked) == (["fused"] * 3, [3])


def test_a_run_keeps_the_forms_of_its_first_start(forms):
    """Also where the measurement would decide otherwise, or there are too few updates to measure."""
    plan, _, _ = forms()
    plan.forms = decide_forms(plan, timing=lambda *_: FASTER)
    plan.forms[stack_of(plan.variants[1].setting)] = ALONE
    stored = plan.as_run_plan()
    assert [each.numerics for each in stored.variants] == ["fused", "single"]
    for earlier in (stored, stored.model_copy(update={"forms": {}})):  # an earlier plan says it of variants only
        _, found, asked = forms("seeds=1", stored=earlier)
        assert [each.numerics for each in found] == ["fused", "single"]
        assert asked == []


def test_shards_and_what_collects_them_train_alone(forms):
    plan, _, _ = forms()
    plan.shard = Shard(1, 2)
    assert {each.numerics for each in decide_forms(plan, timing=lambda *_: FASTER).values()} == {"single"}
    _, found, _ = forms(collects=True)
    assert {each.numerics for each in found} == {"single"}


def test_variants_that_are_measured_together_are_not_trained_with_other_seeds(forms):
    _, found, _ = forms(text=SWEEP.replace("arch.attention: [softmax, refiner]", "task.tta: [none, hflip]"))
    assert {each.why for each in found} == {"other variants are measured in its trainings"}


def test_steps_are_measured_once_for_each_shape(write_sweep, tmp_path, monkeypatch):
    monkeypatch.setenv("ARCHSWEEP_CACHE", str(tmp_path / "cache"))
    plan = make_plan(load_sweep(write_sweep(SWEEP), overrides=["train.batch_size=16"]))
    variant = plan.variants[0]
    times = time_steps(variant.setting, plan.dataset_of(variant), 2)
    assert times.single > 0
    assert times.is_exact == (times.fused is not None)
    (path,) = (tmp_path / "cache" / "step_times").glob("*.json")
    assert json.loads(path.read_text()) == dataclasses.asdict(times)
    # A learning rate changes no shape.
    other = make_plan(load_sweep(write_sweep(SWEEP), overrides=["train.batch_size=16", "train.lr=0.001"]))
    assert time_steps(other.variants[0].setting, plan.dataset_of(variant), 2) == times


def test_a_damaged_plan_decides_nothing(write_sweep, tmp_path):
    plan = make_plan(load_sweep(write_sweep(SWEEP), overrides=["seeds=1"]))
    files = RunDir(tmp_path / "run")
    write_plan(files, plan.as_run_plan())
    files.plan.write_text("{")
    assert [each.numerics for each in with_forms(plan, files).forms.values()] == ["single", "single"]
