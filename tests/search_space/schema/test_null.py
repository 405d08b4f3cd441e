"""`null` is a value of every option that may have none: in the baseline, in `space`, by `--set`, in the schema."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import pytest

import search_space
from search_space import load_sweep_text
from search_space.schema.trial import ArchSpec, ClassificationSpec, TrainSpec
from search_space.variants.variant import variants

HEAD = "name: t\nbaseline:\n  task: {{name: classification, dataset: builtin/digits, val_fraction: 0.2}}\n"
NAMED = "model: vit_tiny_patch16_224"

VALUES: dict[str, tuple[Any, str, str]] = {  # path -> a value, what `arch` and `train` need beside it
    "arch.depth": (2, NAMED, ""),
    "arch.embed_dim": (192, NAMED, ""),
    "arch.num_heads": (4, NAMED, ""),
    "arch.mlp_ratio": (2.0, NAMED, ""),
    "arch.patch_size": (16, NAMED, ""),
    "arch.img_size": (16, "patch_size: 4", ""),
    "arch.qkv_bias": (False, NAMED, ""),
    "arch.class_token": (False, f"{NAMED}, global_pool: avg", ""),
    "arch.global_pool": ("avg", NAMED, ""),
    "arch.weights": ("weights.pt", "", ""),
    "train.steps": (20, "", ""),
    "train.opt_eps": (1e-6, "", ""),
    "train.opt_betas": ([0.9, 0.98], "", ""),
    "train.weight_decay_end": (0.4, "", ""),
    "train.head_lr_scale": (10.0, "", ""),
    "train.layer_decay": (0.75, "", ""),
    "train.layer_decay_no_opt_scale": (0.1, "", "layer_decay: 0.75"),
    "train.decay_epochs": (3, "", "sched: step, epochs: 100"),
    "train.lr_noise": ([0.4, 0.9], "", ""),
    "train.clip_grad": (1.0, "", ""),
    "train.bce_target_thresh": (0.2, "", "bce_loss: true"),
    "train.bce_pos_weight": (2.0, "", "bce_loss: true"),
    "train.lr_base": (0.1, "", ""),
    "train.lr_base_scale": ("linear", "", "lr_base: 0.1"),
    "train.head_init_scale": (0.1, "", ""),
    "train.head_init_bias": (-4.6, "", ""),
    "train.cutmix_minmax": ([0.2, 0.8], "", ""),
    "train.scale": ([0.2, 1.0], "", ""),
    "train.ratio": ([0.5, 2.0], "", ""),
    "train.train_crop_mode": ("rkrr", "", ""),
    "train.train_interpolation": ("random", "", ""),
    "train.aa": ("3a", "", ""),
    "train.color_jitter_prob": (0.5, "", "color_jitter: 0.4"),
    "train.mean": ([0.5], "", ""),
    "train.std": ([0.25], "", ""),
    "train.ema_decay": (0.99, "", ""),
    "train.cosine_regulariser": ({"pairs": 1}, "", ""),
    "task.crop_mode": ("border", "img_size: [8, 16]", ""),
    "task.test_img_size": (16, "", ""),
}


def _may_be_none(annotation: Any) -> bool:
    if get_origin(annotation) in (Union, types.UnionType):
        return type(None) in get_args(annotation)
    return False


OPTIONAL = sorted(
    f"{section}.{name}"
    for section, spec in (("arch", ArchSpec), ("task", ClassificationSpec), ("train", TrainSpec))
    for name, field in spec.model_fields.items()
    if _may_be_none(field.annotation)
)


def test_the_table_has_every_option_that_may_have_none():
    assert sorted(VALUES) == OPTIONAL


def _text(path: str, rest: str) -> str:
    _, arch, train = VALUES[path]
    return HEAD.format() + f"  arch: {{{arch}}}\n  train: {{{train}}}\n" + rest


@pytest.mark.parametrize("path", OPTIONAL)
def test_null_is_a_value_of_space(path):
    value = VALUES[path][0]
    text = _text(path, f"space: {{{path}: [null, {json.dumps(value)}]}}\ndesign: one_factor\n")
    found_rows = list(variants(load_sweep_text(text).sweep))
    short = path.partition(".")[2]
    assert len(found_rows) == 2
    section, _, name = path.partition(".")
    found = [getattr(getattr(variant.setting, section), name) for variant in found_rows]
    assert found[0] is None or found[1] is None
    assert found_rows[0].name == "baseline"
    assert found_rows[1].name.startswith(f"{short}=")


@pytest.mark.parametrize("path", OPTIONAL)
def test_null_is_a_value_of_set_and_of_the_baseline(path):
    section, _, name = path.partition(".")
    rest = "design: one_factor\n"
    written = load_sweep_text(_text(path, rest), overrides=[f"{path}={json.dumps(VALUES[path][0])}"]).sweep
    unset = load_sweep_text(_text(path, rest), overrides=[f"{path}=null"]).sweep
    assert getattr(getattr(written.baseline, section), name) is not None
    assert getattr(getattr(unset.baseline, section), name) is None


def test_a_row_without_a_value_is_named_null():
    """Not `none`, which is a value of its own elsewhere (`sched: none`)."""
    text = HEAD.format() + "  train: {clip_grad: 1.0}\nspace: {train.clip_grad: [null, 0.5]}\ndesign: one_factor\n"
    found_rows = list(variants(load_sweep_text(text).sweep))
    assert [variant.name for variant in found_rows] == ["baseline", "clip_grad=null", "clip_grad=0.5"]
    assert found_rows[1].setting.train.clip_grad is None


def test_the_schema_of_editors_allows_null():
    schema = json.loads((Path(search_space.__file__).parent / "sweep.schema.json").read_text(encoding="utf-8"))
    for path in OPTIONAL:
        section, _, name = path.partition(".")
        spec = {"arch": "ArchSpec", "task": "ClassificationSpec", "train": "TrainSpec"}[section]
        assert {"type": "null"} in schema["$defs"][spec]["properties"][name]["anyOf"], path


def test_null_freezes_nothing():
    """Fine-tuning beside a linear probe; the row is the baseline's own value."""
    text = HEAD.format() + "space: {train.freeze: [null, backbone]}\ndesign: one_factor\n"
    assert [each.setting.train.freeze for each in variants(load_sweep_text(text).sweep)] == [(), ("backbone",)]
