"""Rows that are no experiment are dropped before training, with the row that they repeat."""

from __future__ import annotations

import pytest

from runners.planning.make_plan import make_plan
from search_space import load_sweep_text

SWEEP = """
    name: twins
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 8, num_heads: 2, patch_size: 4, mlp_ratio: 1}
      train: {epochs: 1, batch_size: 256, recalibrate_bn: 0}
    space: {SPACE}
    design: one_factor
    seeds: 1
"""


def dropped(space):
    plan = make_plan(load_sweep_text(SWEEP.replace("{SPACE}", space)))
    kept = [variant.name for variant in plan.variants]
    return kept, {entry.variant.name: entry.reasons[0] for entry in plan.dropped}


@pytest.mark.parametrize(
    "space",
    ["{arch.drop_path_rate: [0.0, 0.3]}", "{arch.options.qk_norm: [false]}"],
)
def test_a_value_that_changes_nothing_is_no_row(space):
    kept, found = dropped(space)
    assert kept == ["baseline"]
    assert set(found.values()) == {"builds the same model as 'baseline' and trains it the same way: no experiment"}


def test_the_default_of_an_optimizer_or_a_head_is_no_row():
    """timm's AdamW: betas 0.9 and 0.999, epsilon 1e-8, no amsgrad."""
    written = (
        "train.opt_kwargs.amsgrad: [false, true], train.opt_eps: [1.0e-8, 1.0e-6], train.head_init_scale: [1.0, 0.1]"
    )
    kept, found = dropped(f"{{{written}, train.opt_betas: [[0.9, 0.999], [0.9, 0.95]]}}")
    assert kept == ["baseline", "amsgrad=true", "opt_eps=1e-06", "head_init_scale=0.1", "opt_betas=[0.9,0.95]"]
    assert list(found) == ["amsgrad=false", "opt_eps=1e-08", "head_init_scale=1", "opt_betas=[0.9,0.999]"]


def test_two_values_that_build_one_model_are_one_row():
    kept, found = dropped("{arch.options.pos_embed: [learn, none]}")
    assert kept == ["baseline", "pos_embed=none"]
    assert list(found) == ["pos_embed=learn"]


@pytest.mark.parametrize(("batches", "rows"), [("0", ["norm_momentum=0.01"]), ("16", [])])
def test_a_momentum_of_statistics_that_are_computed_again_is_no_row(batches, rows):
    """Before an evaluation, 16 batches replace the running statistics; training batches are normalised by their own."""
    text = SWEEP.replace("mlp_ratio: 1}", "mlp_ratio: 1, attention: reattention}")
    text = text.replace("recalibrate_bn: 0", f"recalibrate_bn: {batches}")
    text = text.replace("{SPACE}", "{arch.attention.norm_momentum: [0.1, 0.01]}")
    plan = make_plan(load_sweep_text(text))
    assert [variant.name for variant in plan.variants] == ["baseline", *rows]


def test_rows_that_train_another_way_are_kept():
    kept, found = dropped("{train.lr: [0.003, 0.002], arch.drop_path_rate: [0.0]}")
    assert kept == ["baseline", "lr=0.003", "lr=0.002"]
    assert found == {}


def test_crops_that_give_the_same_input_are_one_row(tmp_path):
    """Of images that timm's loader reads, `center` is the mode without a written one; in memory the size is one."""
    text = SWEEP.replace("train: {", "task: {dataset: {name: builtin/shapes, img_size: 16}}\n      train: {")
    text = text.replace("{SPACE}", "{task.crop_pct: [1.0, 0.9, 0.91, 1.2]}")  # 16 / 0.9 and 16 / 0.91 are 17 pixels
    plan = make_plan(load_sweep_text(text))
    assert [variant.name for variant in plan.variants] == ["baseline", "crop_pct=0.9", "crop_pct=1.2"]
    assert [entry.variant.name for entry in plan.dropped] == ["crop_pct=0.91"]
    assert plan.dropped[0].reasons[0].startswith("builds the same model as 'crop_pct=0.9' ")


def test_what_timm_takes_for_a_missing_option_is_no_row(tmp_path):
    """builtin/shapes is normalised by 0.5 and 0.25; a crop without `ratio` has timm's; jitter by one number is that of
    three."""
    text = SWEEP.replace("train: {", "task: {dataset: {name: builtin/shapes, img_size: 16}}\n      train: {")
    rows = "[{train.mean: [0.5, 0.5, 0.5]}, {train.std: [0.2, 0.25, 0.25]}, {train.scale: [0.2, 1.0]}"
    rows += ", {train.scale: [0.2, 1.0], train.ratio: [0.75, 1.3333333333333333]}, {train.color_jitter: 0.4}"
    rows += ", {train.color_jitter: [0.4, 0.4, 0.4]}, {train.color_jitter: [0, 0, 0]}]"
    text = text.replace("space: {SPACE}", "").replace("one_factor", f"{{name: list, rows: {rows}}}")
    plan = make_plan(load_sweep_text(text))
    assert [variant.name for variant in plan.variants] == [
        *("baseline", "std=[0.2,0.25,0.25]", "scale=[0.2,1]", "color_jitter=0.4"),
    ]


def test_training_options_without_effect_are_no_rows():
    """1,438 training images: a batch of 2,000 has 1,438, and so has one of 3,000. There is no warm-up."""
    kept, found = dropped("{train.batch_size: [2000, 3000], train.warmup_lr: [0.1]}")
    assert kept == ["baseline", "batch_size=2000"]
    assert list(found) == ["batch_size=3000", "warmup_lr=0.1"]
    assert found["batch_size=3000"].startswith("builds the same model as 'batch_size=2000'")


def test_group_mix_has_a_map_to_round_only_where_it_takes_a_maximum():
    text = SWEEP.replace("embed_dim: 8", "embed_dim: 10, attention: {name: groupmix}").replace("{SPACE}", "{SPACE_}")
    names = {}
    for kind in ("dwconv", "maxpool"):
        sweep = text.replace("groupmix}", f"groupmix, aggregator: {kind}}}").replace(
            "{SPACE_}", "{train.map_precision: [as_amp]}"
        )
        names[kind] = [variant.name for variant in make_plan(load_sweep_text(sweep)).variants]
    assert names == {"dwconv": ["baseline"], "maxpool": ["baseline", "map_precision=as_amp"]}


def test_softmax_attention_has_no_map_to_round():
    kept, found = dropped("{train.map_precision: [as_amp], arch.attention: [refiner]}")
    assert kept == ["baseline", "attention=refiner"]
    assert list(found) == ["map_precision=as_amp"]
