"""The design `path`: every combination is a variant, which seeds choose, and what it refuses."""

from __future__ import annotations

import itertools

import pytest

from search_space import SpecError, load_sweep_text, variants
from search_space.designs.path import choosing_seeds

BASELINE = "name: t\nbaseline: {arch: {depth: 4, embed_dim: 40, num_heads: 4}}\n"
THREE = "space: {arch.qkv_bias: [true, false], arch.mlp_ratio: [4, 3], train.mixup: [0, 0.2]}\n"
SEVEN = """space:
  arch.qkv_bias: [true, false]
  arch.mlp_ratio: [4, 3]
  train.mixup: [0, 0.2]
  train.lr: [1e-3, 2e-3]
  train.weight_decay: [0, 0.1]
  train.smoothing: [0, 0.1]
  train.reprob: [0, 0.2]
"""


def sweep_of(text: str):
    return load_sweep_text(BASELINE + text).sweep


def test_every_combination_comes_once_the_reference_first() -> None:
    found = list(variants(sweep_of(THREE + "design: path\nseeds: 6\n")))
    assert [variant.name for variant in found] == [
        "baseline",
        "+ qkv_bias",
        "+ mlp_ratio",
        "+ mixup",
        "+ qkv_bias + mlp_ratio",
        "+ qkv_bias + mixup",
        "+ mlp_ratio + mixup",
        "+ qkv_bias + mlp_ratio + mixup",
    ]
    assert {tuple(variant.components.values()) for variant in found} == set(itertools.product((False, True), repeat=3))


@pytest.mark.parametrize(
    ("seeds", "choosing", "found"),
    [
        ("6", "", [0, 1, 2]),
        ("5", "", [0, 1]),
        ("2", "", [0]),
        ("[7, 3, 9]", "", [7]),
        ("6", ", choosing_seeds: 1", [0]),
    ],
)
def test_the_first_seeds_choose_half_of_them_rounded_down(seeds: str, choosing: str, found: list[int]) -> None:
    sweep = sweep_of(THREE + f"design: {{name: path{choosing}}}\nseeds: {seeds}\n")
    assert list(choosing_seeds(sweep)) == found


REFUSED = {
    "design: {name: path, choosing_seeds: 6}\nseeds: 6": (
        "<text>:{}:38: design.choosing_seeds: 6 of 6 seeds choose, so that none is left to judge what they chose",
        "write at most 5, or more `seeds`; three seeds to judge are the fewest with a test",
    ),
    "design: path\nseeds: 1": (
        "<text>:{1}:8: seeds: a path needs a seed to choose its steps and another one to judge them, but got one seed",
        "write  seeds: 6:  three seeds to judge are the fewest with a test",
    ),
    "design: path\nseeds: {max: 9, futility: none}": (
        "<text>:{1}:8: seeds: a path has no looks: which rows get further seeds is decided by its steps",
        "write a count of seeds, or compare rows: one_factor, leave_one_out, add_one_in, cumulative, list, zip",
    ),
    "design: {name: shapley, choosing_seeds: 2}\nseeds: 6": (
        "<text>:{}:25: design.choosing_seeds: `choosing_seeds` has no effect in the design 'shapley'",
        "remove it, or write  name: path",
    ),
    "design: {name: shapley, compare: false}\nseeds: 6": (
        "<text>:{}:25: design.compare: `compare` has no effect in the design 'shapley'",
        "remove it, or write  name: path",
    ),
    "design: {name: path, orders: all}\nseeds: 6": (
        "<text>:{}:22: design.orders: `orders` has no effect in the design 'path'",
        "remove it, or write  name: shapley",
    ),
    "design: path\nseeds: 6\nprune: {pruner: median}": (
        "<text>:{2}:1: prune: `prune` does not go together with the design 'path': a candidate that is stopped early "
        "has no value to be chosen by",
        "remove `prune`, or choose another design",
    ),
    "design: path\nseeds: 6\nanalysis: {sequential: anytime}": (
        "<text>:{2}:24: analysis.sequential: a path tests each step once, on all of its judging seeds",
        "remove `sequential`",
    ),
    "design: path\nseeds: 6\nblocks: {arch.depth: [2, 4]}": (
        "<text>:{2}:1: blocks: the design 'path' has no blocks here: each block would have a path of its own",
        "choose another design, or one block for each run",
    ),
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_has_no_meaning_is_refused_with_its_place(text: str) -> None:
    message, hint = REFUSED[text]
    with pytest.raises(SpecError) as caught:
        sweep_of(THREE + text + "\n")
    line = (BASELINE + THREE).count("\n") + 1
    found = {f"{each.where}: {each.path}: {each.message}": each.hint.split("\n")[-1] for each in caught.value.problems}
    expected = message.format(line, line + 1, line + 2)
    assert expected in found
    assert found[expected] == hint


def test_tuning_every_combination_is_refused() -> None:
    task = "task: {name: classification, dataset: builtin/digits, val_fraction: 0.1}"
    text = BASELINE.replace("num_heads: 4}}", f"num_heads: 4}}, {task}}}") + THREE + "design: path\nseeds: 6\n"
    retune = "retune: {parameters: {train.lr: [1e-3, 2e-3]}, num_trials: 2, seeds: [10]}\n"
    with pytest.raises(SpecError, match="every combination would be tuned, and a path trains few of them"):
        load_sweep_text(text + retune)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (SEVEN, "a path has up to 6 components, but got 7: every combination of them is a variant"),
        ("space: {train.mixup: [0, 0.2]}\n", "a path has steps to choose between, but there is one component"),
    ],
)
def test_two_to_six_components(space: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        sweep_of(space + "design: path\nseeds: 6\n")
    (problem,) = caught.value.problems
    assert (problem.path, problem.message) == ("space", message)
    assert problem.hint


def test_a_component_that_changes_nothing_is_refused() -> None:
    """0.9 is the momentum anyway: two combinations would be the same variant."""
    space = """space:
  arch.attention: {off: softmax, on: refiner}
  idle: {off: {train.opt: adamw}, on: {train.opt: adamw, train.momentum: 0.9}}
"""
    with pytest.raises(SpecError) as caught:
        sweep_of(space + "design: path\nseeds: 6\n")
    (problem,) = caught.value.problems
    message = "on and off are the same setting alone, so that its gain would be that of nothing"
    assert (problem.path, problem.message) == ("space.idle", message)
