"""Designs: their variants, order and names, against tables written by hand."""

from __future__ import annotations

import itertools
import time

import pytest

from archsweep.testing import check_design
from search_space import DESIGNS, SpecError, Sweep, count_upper, load_sweep_text, variant_id, variants
from search_space.settings.candidates import CandidateRow

BASELINE = """
name: t
baseline:
  arch: {depth: 4, embed_dim: 40, num_heads: 4, attention: softmax}
  train: {epochs: 2}
"""


def sweep_of(rest: str) -> Sweep:
    return load_sweep_text(BASELINE + rest).sweep


def rows(rest: str) -> list[tuple[str, dict]]:
    return [(variant.name, variant.changes) for variant in variants(sweep_of(rest))]


def test_factorial_is_the_full_grid_with_the_baseline_first() -> None:
    assert rows("space: {arch.depth: [2, 4], arch.mlp_ratio: [3, 4]}\ndesign: factorial\n") == [
        ("baseline", {}),
        ("depth=2, mlp_ratio=3", {"arch.depth": 2, "arch.mlp_ratio": 3.0}),
        ("depth=2", {"arch.depth": 2}),
        ("mlp_ratio=3", {"arch.mlp_ratio": 3.0}),
    ]


def test_factorial_adds_a_baseline_outside_of_the_grid() -> None:
    assert [name for name, _ in rows("space: {arch.depth: [2, 6]}\ndesign: factorial\n")] == [
        "baseline",
        "depth=2",
        "depth=6",
    ]


def test_factorial_combines_conditional_parameters_within_their_choice_only() -> None:
    space = """
space:
  arch.attention:
    - softmax
    - {value: refiner, with: {expansion: [1, 3], kernel_size: [3, 5]}}
  arch.depth: [4, 6]
design: factorial
"""
    assert [name for name, _ in rows(space)] == [
        "baseline",
        "depth=6",
        "attention=refiner, expansion=1, kernel_size=3",
        "attention=refiner, expansion=1, kernel_size=3, depth=6",
        "attention=refiner, expansion=1, kernel_size=5",
        "attention=refiner, expansion=1, kernel_size=5, depth=6",
        "attention=refiner, expansion=3, kernel_size=3",
        "attention=refiner, expansion=3, kernel_size=3, depth=6",
        "attention=refiner, expansion=3, kernel_size=5",
        "attention=refiner, expansion=3, kernel_size=5, depth=6",
    ]


def test_conditional_parameters_nest() -> None:
    space = """
space:
  arch:
    - value: {model: vit, depth: 2}
      name: short
      with: {attention: [softmax, {value: refiner, with: {expansion: [1, 2]}}]}
design: factorial
"""
    found = list(variants(sweep_of(space)))
    assert [variant.setting.arch.attention.model_dump().get("expansion") for variant in found] == [None, None, 1.0, 2.0]
    assert [variant.setting.arch.depth for variant in found] == [4, 2, 2, 2]


def test_one_factor_changes_one_thing_at_a_time() -> None:
    space = """
space:
  arch.depth: [2, 4, 6]
  arch.attention:
    - {value: refiner, with: {expansion: [1, 2, 3], kernel_size: [3, 5]}}
    - groupmix
design: one_factor
"""
    assert rows(space) == [
        ("baseline", {}),
        ("depth=2", {"arch.depth": 2}),
        ("depth=6", {"arch.depth": 6}),
        (
            "attention=refiner, expansion=1, kernel_size=3",
            {"arch.attention": "refiner", "arch.attention.expansion": 1.0, "arch.attention.kernel_size": 3},
        ),
        (
            "attention=refiner, expansion=2, kernel_size=3",
            {"arch.attention": "refiner", "arch.attention.expansion": 2.0, "arch.attention.kernel_size": 3},
        ),
        (
            "attention=refiner, expansion=3, kernel_size=3",
            {"arch.attention": "refiner", "arch.attention.expansion": 3.0, "arch.attention.kernel_size": 3},
        ),
        (
            "attention=refiner, expansion=1, kernel_size=5",
            {"arch.attention": "refiner", "arch.attention.expansion": 1.0, "arch.attention.kernel_size": 5},
        ),
        ("attention=groupmix", {"arch.attention": "groupmix"}),
    ]


COMPONENTS = """
space:
  arch.attention: {off: softmax, on: refiner}
  long training: {off: {train.epochs: 2, train.lr: 1e-3}, on: {train.epochs: 4, train.lr: 5e-4}}
  arch.class_token: [true, false]
"""


def test_leave_one_out_starts_from_everything_on() -> None:
    found = list(variants(sweep_of(COMPONENTS + "design: leave_one_out\n")))
    assert [(variant.name, variant.components, variant.changes) for variant in found] == [
        ("full", {"attention": True, "long training": True, "class_token": True}, {}),
        (
            "- attention",
            {"attention": False, "long training": True, "class_token": True},
            {"arch.attention": "softmax"},
        ),
        (
            "- long training",
            {"attention": True, "long training": False, "class_token": True},
            {"train.epochs": 2, "train.lr": 0.001},
        ),
        ("- class_token", {"attention": True, "long training": True, "class_token": False}, {"arch.class_token": True}),
    ]
    assert (found[0].setting.arch.attention.name, found[0].setting.train.epochs) == ("refiner", 4)
    assert (found[0].setting.arch.class_token, found[0].setting.arch.global_pool) == (False, "avg")
    assert [variant.is_baseline for variant in found] == [True, False, False, False]


def test_add_one_in_starts_from_everything_off() -> None:
    found = list(variants(sweep_of(COMPONENTS + "design: add_one_in\n")))
    assert [(variant.name, variant.changes) for variant in found] == [
        ("baseline", {}),
        ("+ attention", {"arch.attention": "refiner"}),
        ("+ long training", {"train.epochs": 4, "train.lr": 0.0005}),
        ("+ class_token", {"arch.class_token": False}),
    ]
    assert found[1].components == {"attention": True, "long training": False, "class_token": False}


def test_cumulative_adds_one_component_at_a_time() -> None:
    found = list(variants(sweep_of(COMPONENTS + "design: cumulative\n")))
    assert [variant.name for variant in found] == [
        "baseline",
        "+ attention",
        "+ attention + long training",
        "+ attention + long training + class_token",
    ]
    assert [sum(variant.components.values()) for variant in found] == [0, 1, 2, 3]


def test_zip_pairs_lists() -> None:
    space = "space: {arch.embed_dim: [40, 80], arch.num_heads: [4, {value: 8, name: many}]}\ndesign: zip\n"
    assert rows(space) == [
        ("baseline", {}),
        ("embed_dim=80, num_heads=many", {"arch.embed_dim": 80, "arch.num_heads": 8}),
    ]


def test_list_gives_the_rows_as_written() -> None:
    design = """
design:
  name: list
  rows:
    - {arch.depth: 6, name: deep}
    - {arch.attention.expansion: 3, arch.attention: refiner}
    - {arch.depth: 4, name: as published}
"""
    assert rows(design) == [
        ("as published", {}),
        ("deep", {"arch.depth": 6}),
        ("attention=refiner, expansion=3", {"arch.attention": "refiner", "arch.attention.expansion": 3.0}),
    ]


def test_attentions_are_compared_by_content() -> None:
    """`refiner` by its name and with explicit defaults is one variant."""
    space = """
space:
  arch.attention: [refiner]
  arch: [{depth: 4, embed_dim: 40, num_heads: 4, attention: {name: refiner, expansion: 3.0, kernel_size: 3}}]
design: one_factor
"""
    assert [name for name, _ in rows(space)] == ["baseline", "attention=refiner"]


def test_names_are_as_short_as_they_are_clear() -> None:
    text = """
name: t
baseline: {task: {dataset: builtin/shapes}}
space:
  arch.img_size: [16, [16, 24]]
  arch.options.img_size: [64]
  train.lr: [1e-5]
  arch.options.qk_norm: [true]
  arch.attention: [{name: refiner, blocks: {last: 5}}, {name: refiner, blocks: [0, 2]}]
  train.opt: ["a,b"]
design: one_factor
"""
    assert [variant.name for variant in variants(load_sweep_text(text).sweep)] == [
        "baseline",
        "arch.img_size=16",
        "arch.img_size=[16,24]",
        "options.img_size=64",
        "lr=1e-05",
        "qk_norm=true",
        "attention=refiner, blocks={last: 5}",
        "attention=refiner, blocks=[0,2]",
        'opt="a,b"',
    ]


def test_settings_that_print_alike_have_unique_names() -> None:
    """1 and 1.0 are different arguments for a model, but both print as 1."""
    found = list(variants(sweep_of("space: {arch.options.scale: [1, 1.0]}\ndesign: one_factor\n")))
    assert found[1].name == "scale=1"
    assert found[2].name == f"scale=1 #{found[2].variant_id[:6]}"


def test_defaults_of_the_baseline_follow_the_varied_value() -> None:
    """Without a class token the pooling default is `avg`: values are applied to the baseline as written."""
    found = list(
        variants(
            sweep_of("space: {arch.class_token: [false], arch.model: [deit_tiny_patch16_224]}\ndesign: one_factor\n")
        )
    )
    assert found[1].setting.arch.global_pool == "avg"
    assert (found[2].setting.arch.depth, found[2].setting.arch.mlp_ratio) == (4, None)
    assert [variant.name for variant in found] == ["baseline", "class_token=false", "model=deit_tiny_patch16_224"]


def test_an_empty_baseline_is_a_baseline_too() -> None:
    text = "name: t\nbaseline: {}\nspace: {arch.class_token: [false]}\ndesign: one_factor\n"
    assert list(variants(load_sweep_text(text).sweep))[1].setting.arch.global_pool == "avg"


SHAPES = {
    "factorial": "space: {arch.depth: [2, 4], arch.mlp_ratio: [3, {value: 4, name: wide}]}\ndesign: factorial\n",
    "one_factor": "space: {arch.depth: [2, 4], arch.mlp_ratio: [3, 4]}\ndesign: one_factor\n",
    "fractional": COMPONENTS + "design: {name: fractional, resolution: 3}\n",
    "leave_one_out": COMPONENTS + "design: leave_one_out\n",
    "add_one_in": COMPONENTS + "design: add_one_in\n",
    "cumulative": COMPONENTS + "design: cumulative\n",
    "shapley": COMPONENTS + "design: shapley\n",
    "path": COMPONENTS + "design: path\nseeds: 6\n",
    "zip": "space: {arch.depth: [2, 4], arch.mlp_ratio: [3, 4]}\ndesign: zip\n",
    "list": "design: {name: list, rows: [{arch.depth: 2}, {arch.depth: 4}, {arch.depth: 2}]}\n",
    "search": "space: {arch.depth: {min: 2, max: 6}}\ndesign: search\nsearch: {num_trials: 7}\n",
}


@pytest.mark.parametrize("name", sorted(set(DESIGNS) - {"search"}))  # which draws, and lists nothing
def test_what_authors_of_designs_check_holds_for_ours(name: str) -> None:
    check_design(DESIGNS[name], sweep=BASELINE + SHAPES[name])


@pytest.mark.parametrize("name", sorted(DESIGNS))
def test_every_design_keeps_the_contract(name: str) -> None:
    """Reference first and once, no duplicates, unique names, the count an upper bound, deterministic candidates."""
    sweep = sweep_of(SHAPES[name])
    candidates = list(DESIGNS[name].candidates(sweep))
    assert all(isinstance(candidate, CandidateRow) for candidate in candidates)
    assert candidates == list(DESIGNS[name].candidates(sweep))
    assert list(DESIGNS[name].issues(sweep)) == []
    if name == "search":
        assert count_upper(sweep) == 7
        return
    found = list(variants(sweep))
    assert [variant.is_baseline for variant in found] == [True] + [False] * (len(found) - 1)
    assert len({variant.variant_id for variant in found}) == len(found) > 1
    assert len({variant.name for variant in found}) == len(found)
    assert len(found) <= len(candidates) == count_upper(sweep)
    assert found[0].changes == {}
    assert all(variant.changes for variant in found[1:])
    assert all(variant.variant_id == variant_id(variant.setting) for variant in found)


def test_a_grid_of_a_billion_cells_is_multiplied_and_refused_without_delay() -> None:
    values = "[" + ", ".join(f"1e-{i}" for i in range(1, 11)) + "]"
    paths = ["lr", "weight_decay", "warmup_lr", "min_lr", "mixup", "cutmix", "clip_grad", "color_jitter", "momentum"]
    space = "\n".join(f"  train.{path}: {values}" for path in paths)
    started = time.process_time()
    with pytest.raises(SpecError) as caught:
        sweep_of(f"space:\n{space}\ndesign: factorial\n")
    assert time.process_time() - started < 10
    product = " x ".join(["10"] * 9)
    assert [problem.message for problem in caught.value.problems] == [
        f"the design has 1,000,000,001 variants ({product} and the baseline), but at most 100,000 are possible"
    ]


def test_a_large_grid_is_enumerated_lazily() -> None:
    """99,226 variants: building all of them takes seconds."""
    values = "[" + ", ".join(str(value) for value in range(1, 316)) + "]"
    started = time.process_time()
    sweep = sweep_of(f"space: {{arch.depth: {values}, train.recalibrate_bn: {values}}}\ndesign: factorial\n")
    first = list(itertools.islice(variants(sweep), 3))
    assert time.process_time() - started < 10
    assert count_upper(sweep) == 315 * 315 + 1
    assert [variant.is_baseline for variant in first] == [True, False, False]
