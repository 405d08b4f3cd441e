"""Trainings of a plan, and options of an evaluation that are refused before any training."""

from __future__ import annotations

import json

import pytest

from results import LedgerWriter, TrialRecord
from runners.planning.forecast import make_forecast
from runners.planning.history import History, duration_key, read_history
from runners.planning.make_plan import make_plan
from search_space import SpecError, load_sweep, load_sweep_text, trial_id, variant_id

CROPS = """
name: crops
baseline:
  arch: {model: vit, depth: 1, embed_dim: 8, num_heads: 2, patch_size: 4, mlp_ratio: 1}
  task: {dataset: {name: builtin/shapes, img_size: 16, num_train: 64, num_test: 32}}
  train: {epochs: 2, batch_size: 16}
space:
  arch.depth: [1, 2]
  task.crop_pct: [1.0, 0.75, 1.25]
design: factorial
seeds: 2
resources: {cpus: 1}
"""


def one(task: str, arch: str = "") -> str:
    """The sweep with these options of the baseline's task, and one variant."""
    text = CROPS.replace("num_test: 32}", "num_test: 32}, " + task) if task else CROPS
    text = text.replace("mlp_ratio: 1", f"mlp_ratio: 1{arch}")
    return text.replace("  task.crop_pct: [1.0, 0.75, 1.25]\n", "")


def test_a_plan_counts_trainings_and_trials_apart(archsweep, tmp_path) -> None:
    (tmp_path / "sweep.yaml").write_text(CROPS)
    text = archsweep("plan", "sweep.yaml", cwd=tmp_path).stdout
    assert "6 variants x 2 seeds = 12 trials\n12 trials take 4 trainings, each measured 3 ways\n" in text
    (plan,) = json.loads(archsweep("plan", "sweep.yaml", "--json", cwd=tmp_path).stdout)["plans"]
    assert {name: plan["trials"][name] for name in ("total", "left", "trainings_total", "trainings_left")} == {
        "total": 12,
        "left": 12,
        "trainings_total": 4,
        "trainings_left": 4,
    }
    assert [each["num_measured"] for each in plan["variants"]] == [0, 2, 2, 0, 2, 2]


def test_a_plan_without_such_axes_is_as_it_was(archsweep, tmp_path) -> None:
    (tmp_path / "sweep.yaml").write_text(one(""))
    assert "trainings" not in archsweep("plan", "sweep.yaml", cwd=tmp_path).stdout


def record_of(variant, seed: int, seconds: float, trained_by: str = "") -> TrialRecord:
    spec = variant.setting.with_seed(seed)
    return TrialRecord(
        trial_id=trial_id(spec),
        variant_id=variant_id(spec),
        variant=variant.name,
        seed=seed,
        spec=spec.model_dump(mode="json"),
        status="completed",
        metrics={"top1": 1.0},
        total_seconds=seconds,
        trained_by=trained_by,
    )


def test_time_is_that_of_the_trainings_and_the_further_evaluations(tmp_path) -> None:
    """Seed 0 of depth 1 is done: a training takes 100 s, each further way 10 s. Three trainings are left."""
    plan = make_plan(load_sweep_text(CROPS))
    named = {variant.name: variant for variant in plan.variants}
    first = trial_id(named["baseline"].setting.with_seed(0))
    depth_1 = [variant for variant in plan.variants if variant.setting.arch.depth == 1]
    with LedgerWriter(tmp_path / "run") as ledger:
        for variant in depth_1:
            is_first = variant.name == "baseline"
            ledger.append(record_of(variant, 0, 100.0 if is_first else 10.0, "" if is_first else first))
    found = make_forecast(plan, read_history(tmp_path / "run"), concurrency=1)
    assert (found.num_left, found.num_trainings_left, found.num_trained_again) == (9, 3, 0)
    # 100 s for each training (that of depth 2 is assumed), 10 s for each further way of depth 1; others are not known.
    assert found.trial_hours == pytest.approx((3 * 100 + 2 * 10) / 3600)


def test_rows_that_were_added_to_a_finished_training_are_counted_and_said(archsweep, tmp_path) -> None:
    plan = make_plan(load_sweep_text(CROPS))
    with LedgerWriter(tmp_path / "runs" / "crops") as ledger:
        for variant in plan.variants:
            if variant.setting.task.crop_pct != 1.25:
                for seed in (0, 1):
                    ledger.append(record_of(variant, seed, 1.0))
    (tmp_path / "sweep.yaml").write_text(CROPS)
    text = archsweep("plan", "sweep.yaml", cwd=tmp_path).stdout
    assert "8 trials are done in runs/crops, 4 are left\n4 of them are of trainings that have ended, " in text
    found = make_forecast(plan, read_history(tmp_path / "runs" / "crops"))
    assert (found.num_left, found.num_trainings_left, found.num_trained_again) == (4, 4, 4)


def test_a_history_of_older_records_still_gives_durations() -> None:
    """Their specs lack the options of an evaluation."""
    plan = make_plan(load_sweep_text(CROPS))
    found = make_forecast(plan, History())
    assert found.trial_hours is None
    record = record_of(plan.variants[0], 0, 7.0)
    old = record.model_dump(mode="json")
    for name in ("crop_pct", "crop_mode", "test_img_size", "tta"):
        del old["spec"]["task"][name]
    assert duration_key(old["spec"]) == duration_key(record.spec)


@pytest.mark.parametrize(
    ("task", "arch", "path", "message"),
    [
        ("crop_pct: model", "", "crop_pct", "'vit' has sizes of its own and no published weights"),
        ("crop_mode: border", "", "crop_mode", "crop_mode='border' would have no effect"),
        ("test_img_size: 16", ", img_size: 16", "test_img_size", "is trained at 16x16 already"),
        ("test_img_size: 16", "", "test_img_size", "is trained at 16x16 already"),
        ("crop_pct: 0.99", "", "crop_pct", "crop_pct=0.99 of 16x16 pixels is less than one pixel"),
        ("test_img_size: 18", "", "test_img_size", "trained on images of 16x16 and cannot be evaluated at 18x18"),
    ],
)
def test_options_without_effect_and_impossible_sizes_are_refused(tmp_path, task, arch, path, message) -> None:
    (tmp_path / "sweep.yaml").write_text(one(task, arch))
    with pytest.raises(SpecError) as caught:
        make_plan(load_sweep(tmp_path / "sweep.yaml"))
    text = str(caught.value)
    assert f"task.{path}" in text
    assert message in text


def test_a_border_is_an_effect_above_one() -> None:
    """Filled with the mean instead of black."""
    assert len(make_plan(load_sweep_text(one("crop_pct: 1.25, crop_mode: border"))).variants) == 2


def test_a_model_has_its_own_crop_with_its_own_mode() -> None:
    text = CROPS.replace(
        "model: vit, depth: 1, embed_dim: 8, num_heads: 2, patch_size: 4, mlp_ratio: 1", "model: test_vit"
    )
    text = text.replace("  arch.depth: [1, 2]\n", "").replace("1.0, 0.75, 1.25", "1.0, model")
    plan = make_plan(load_sweep_text(text))
    assert [variant.name for variant in plan.variants] == ["baseline", "crop_pct=model"]
    with pytest.raises(SpecError, match="has the model's own crop_mode with it"):
        make_plan(load_sweep_text(text.replace("num_test: 32}", "num_test: 32}, crop_pct: model, crop_mode: squash")))
