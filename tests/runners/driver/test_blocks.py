"""Runs of designs with blocks, trained: folds of a folder, and two datasets."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from results import Run, ablation_table
from results.plan.run_plan import BlockedDesign
from results.run_files.tidy_csv import write_long_csv
from results.views.columns import rows_of
from runners.cli.plan.as_text import plan_sentences
from runners.planning.forecast import make_forecast
from runners.planning.history import History
from runners.planning.make_plan import make_plan
from runners.planning.shard import Shard
from runners.planning.trainings import trials_of
from runners.run_sweep import run_sweep
from search_space import load_sweep, trial_id

HEAD = """
    name: blocked
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 8, num_heads: 2, mlp_ratio: 2, img_size: 8, patch_size: 4}
      task: {dataset: {name: folder/leaves, folds: 3}}
      train: {epochs: 1, batch_size: 8, lr: 0.01, warmup_epochs: 0}
    space: {arch.depth: [1, 2]}
    design: one_factor
    seeds: 2
    resources: {data_dir: .}
"""


@pytest.fixture
def leaves(tmp_path):
    """Two classes of six random images of 8 x 8 pixels."""
    stream = np.random.default_rng(0)
    for name in ("oak", "elm"):
        (tmp_path / "leaves" / name).mkdir(parents=True)
        for number in range(6):
            pixels = stream.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "leaves" / name / f"{number}.png")
    return tmp_path


def _run(write_sweep, text, folder) -> Run:
    run_sweep(make_plan(load_sweep(write_sweep(text))), folder / "run", engine="in-process")
    return Run.open(folder / "run")


def test_two_variants_in_three_folds_with_two_seeds(write_sweep, leaves, archsweep):
    """12 trials. What the table says of a fold is what the records of that fold say, pair by pair; a second start
    trains nothing."""
    text = HEAD + "    blocks: {task.dataset.fold: all}\n"
    run = _run(write_sweep, text, leaves)
    assert len(run.records) == 12
    found = {(each.block, each.variant, each.seed): each for each in run.records}
    assert {(block, each.spec["task"]["dataset"]["fold"]) for (block, *_), each in found.items()} == {
        ("fold=0", 0),
        ("fold=1", 1),
        ("fold=2", 2),
    }
    baseline, deep = ablation_table(run.plan, run.records).rows
    assert (baseline.name, deep.name, deep.num_planned, deep.status) == ("baseline", "depth=2", 6, "completed")
    by_hand = [
        np.mean(
            [
                found[block, f"depth=2 [{block}]", seed].metrics["top1"]
                - found[block, f"baseline [{block}]", seed].metrics["top1"]
                for seed in (0, 1)
            ]
        )
        for block in ("fold=0", "fold=1", "fold=2")
    ]
    assert deep.delta is not None
    assert deep.delta.differences == pytest.approx(by_hand)
    # 12 images in 3 folds: 4 to test, 8 to train.
    assert deep.delta.variance_factor == pytest.approx(1 / 3 + 4 / 8)
    stream = io.StringIO()
    write_long_csv(run, stream)
    lines = list(csv.DictReader(io.StringIO(stream.getvalue())))
    assert [line["block"] for line in lines] == [f"fold={fold}" for fold in range(3) for _ in range(4)]
    assert {line["task.dataset.fold"] for line in lines} == {"0", "1", "2"}
    assert [row.value("block") for row in rows_of(run)].count("fold=1") == 4
    # The name of a block has the sign that parts a column from its new name.
    named = ["--columns", "variant,delta@fold=1", "--rename", "delta@fold=1=Fold = 1"]
    done = archsweep("table", leaves / "run", "--format", "md", *named, cwd=leaves)
    assert done.stdout.startswith("| variant | Fold = 1 [95% CI over seeds, unadjusted] |")
    again = _run(write_sweep, text, leaves)
    assert [each.trial_id for each in again.records] == [each.trial_id for each in run.records]


def test_two_datasets_with_different_numbers_of_classes(write_sweep, leaves):
    text = HEAD + (
        "    blocks: {task.dataset: [{name: folder/leaves, test_fraction: 0.5}, "
        "{name: builtin/shapes, img_size: 8, num_train: 32, num_test: 16}]}\n"
    )
    run = _run(write_sweep, text, leaves)
    assert len(run.records) == 8
    table = ablation_table(run.plan, run.records)
    deep = table.rows[1]
    assert list(deep.blocks) == ["folder/leaves", "builtin/shapes"]
    assert deep.delta is not None
    within = [row.delta.mean for row in deep.blocks.values() if row.delta is not None]
    assert (deep.delta.mean, deep.delta.low, deep.verdict) == (pytest.approx(np.mean(within)), None, None)
    assert len({row.params_m for row in deep.blocks.values()}) == 2  # heads of 2 and of 10 classes
    assert {each.dataset for each in run.plan.data} >= {"builtin/shapes"}


def test_shards_divide_the_trials_of_all_blocks(write_sweep, leaves):
    """12 trials, 5 shards: every trial belongs to one, and their records make one run of the whole."""
    plan = make_plan(load_sweep(write_sweep(HEAD + "    blocks: {task.dataset.fold: all}\n")))
    parts = [[trial_id(spec) for spec, _ in trials_of(replace(plan, shard=Shard(number, 5)))] for number in range(1, 6)]
    assert sorted(map(len, parts)) == [2, 2, 2, 3, 3]
    assert {key for part in parts for key in part} == {trial_id(spec) for spec, _ in trials_of(plan)}


def test_the_plan_counts_blocks_and_forecasts_no_detectable_difference(write_sweep, leaves):
    plan = make_plan(load_sweep(write_sweep(HEAD + "    blocks: {task.dataset.fold: all}\n")))
    forecast = make_forecast(plan, History(()))
    lines = list(plan_sentences(forecast, run_dir="runs/blocked"))
    assert "blocks: 3 of task.dataset.fold: fold=0, fold=1, fold=2; differences are taken within each" in lines
    assert "2 variants x 3 blocks x 2 seeds = 12 trials" in lines
    assert not any("80 % power" in line for line in lines)
    assert plan.as_run_plan().blocks == BlockedDesign(
        path="task.dataset.fold",
        names=["fold=0", "fold=1", "fold=2"],
        kind="folds",
        num_folds=3,
        train_images=[8, 8, 8],
        test_images=[4, 4, 4],
    )


@pytest.mark.parametrize(
    ("blocks", "kind", "sizes"),
    [
        ("{task.dataset.split_seed: [0, 1, 2]}", "splits", ([9, 9, 9], [3, 3, 3])),
        ("{task.dataset: [builtin/digits, builtin/shapes]}", "datasets", ([], [])),
        (
            "{task.dataset: [builtin/shapes, {value: {name: builtin/shapes, noise: 0.2}, name: noisy}]}",
            "settings",
            ([], []),
        ),
        ("{train.lr: [0.01, 0.02]}", "settings", ([], [])),
    ],
)
def test_the_kind_of_the_blocks_decides_their_test(write_sweep, leaves, blocks, kind, sizes):
    """A quarter of 12 images is 3 to test; datasets of one name are parts or forms of one dataset."""
    text = HEAD.replace("folds: 3", "test_fraction: 0.25") + f"    blocks: {blocks}\n"
    found = make_plan(load_sweep(write_sweep(text))).as_run_plan().blocks
    assert found is not None
    assert (found.kind, found.num_folds, (found.train_images, found.test_images)) == (kind, None, sizes)
