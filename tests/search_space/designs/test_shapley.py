"""Coalitions of the design `shapley`: every one, or those that sampled orders pass, and what it refuses."""

from __future__ import annotations

import itertools

import pytest

from search_space import SpecError, load_sweep_text, variants
from search_space.designs.shapley import orders_of, sampled_orders

BASELINE = "name: t\nbaseline: {arch: {depth: 4, embed_dim: 40, num_heads: 4}}\n"
THREE = "space: {arch.qkv_bias: [true, false], arch.mlp_ratio: [4, 3], train.mixup: [0, 0.2]}\n"
SEVEN = """
space:
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


def test_every_coalition_comes_once_by_size_and_then_in_file_order() -> None:
    found = list(variants(sweep_of(THREE + "design: shapley\n")))
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
    assert found[4].changes == {"arch.qkv_bias": False, "arch.mlp_ratio": 3.0}


def test_up_to_six_components_every_coalition_is_trained_beyond_twenty_orders_are_sampled() -> None:
    six = SEVEN.replace("  train.reprob: [0, 0.2]\n", "")
    assert len(list(variants(sweep_of(six + "design: shapley\n")))) == 64
    sampled = sweep_of(SEVEN + "design: shapley\n")
    assert len(orders_of(sampled)) == 20
    assert len(list(variants(sampled))) < 128
    assert len(list(variants(sweep_of(SEVEN + "design: {name: shapley, orders: all}\n")))) == 128


def test_sampled_variants_are_the_prefixes_of_the_orders_each_once() -> None:
    sweep = sweep_of(SEVEN + "design: {name: shapley, orders: 4, order_seed: 5}\n")
    prefixes = {frozenset(order[:size]) for order in orders_of(sweep) for size in range(8)}
    found = [frozenset(name for name, on in each.components.items() if on) for each in variants(sweep)]
    assert set(found) == prefixes
    assert len(found) == len(prefixes)
    assert (found[0], len(found[-1])) == (frozenset(), 7)


def test_orders_come_in_antithetic_pairs_and_none_twice() -> None:
    """All 24 orders of 4 components are 12 pairs; any smaller number is a part of those."""
    every = sampled_orders("abcd", 24, seed=0)
    assert set(every) == set(itertools.permutations("abcd"))
    assert all(other == tuple(reversed(one)) for one, other in zip(every[::2], every[1::2], strict=True))
    assert sampled_orders("abcd", 6, seed=0) == every[:6]
    assert sampled_orders("abcd", 6, seed=1) != every[:6]


def test_each_order_is_drawn_as_often_as_any_other() -> None:
    """The first of 6 orders over 6000 seeds: 1000 each; five standard deviations of a binomial are 144."""
    counts = dict.fromkeys(itertools.permutations("abc"), 0)
    for seed in range(6000):
        counts[sampled_orders("abc", 2, seed)[0]] += 1
    assert all(abs(count - 1000) < 144 for count in counts.values())


REFUSED = {
    "design: {name: shapley, orders: 5}": (
        "<text>:{}:33: design.orders: each sampled order comes with its reverse, and an error needs two such pairs, "
        "but got 5",
        "write an even number from 4 on",
    ),
    "design: {name: shapley, orders: 5042}": (
        "<text>:{}:33: design.orders: 7 components have 5040 orders, but got 5042",
        "write  orders: all  for every combination, which needs no more trials",
    ),
    "design: {name: shapley, orders: 2000}": (
        "<text>:{}:33: design.orders: 2000 sampled orders of 7 components pass all of their 128 combinations",
        "write  orders: all  for exact values of as many trials",
    ),
    "design: {name: shapley, orders: all, order_seed: 0}": (
        "<text>:{}:38: design.order_seed: `order_seed` has no effect: every combination is trained, and no order is "
        "sampled",
        "remove it, or add  orders: 20",
    ),
    "design: {name: shapley, orders: all, kind: plackett_burman}": (
        "<text>:{}:38: design.kind: `kind` has no effect in the design 'shapley'",
        "remove it, or write  name: fractional",
    ),
    "design: {name: leave_one_out, order_seed: 0}": (
        "<text>:{}:31: design.order_seed: `order_seed` has no effect in the design 'leave_one_out'",
        "remove it, or write  name: shapley",
    ),
    "design: {name: add_one_in, orders: all}": (
        "<text>:{}:28: design.orders: `orders` has no effect in the design 'add_one_in'",
        "remove it, or write  name: shapley",
    ),
    "design: {name: shapley, orders: many}": (
        "<text>:{}:33: design.orders: unknown value 'many'",
        "known: all.",
    ),
    "design: {name: shapley, orders: 4.5}": (
        "<text>:{}:33: design.orders: must be all, or an even number, but got 4.5",
        "",
    ),
}


@pytest.mark.parametrize("design", REFUSED)
def test_options_without_a_meaning_are_refused(design: str) -> None:
    message, hint = REFUSED[design]
    with pytest.raises(SpecError) as caught:
        sweep_of(SEVEN + design + "\n")
    (problem,) = caught.value.problems
    line = (BASELINE + SEVEN).count("\n") + 1
    assert f"{problem.where}: {problem.path}: {problem.message}" == message.format(line)
    assert problem.hint.split("\n")[-1] == hint


def test_two_components_have_no_orders_to_sample() -> None:
    with pytest.raises(SpecError, match="2 components have too few orders to sample"):
        sweep_of("space: {train.mixup: [0, 0.2], arch.depth: [2, 4]}\ndesign: {name: shapley, orders: 4}\n")


def test_a_list_of_three_values_is_no_component_and_the_orders_are_checked_with_it() -> None:
    space = "space: {train.mixup: [0, 0.1, 0.2], arch.depth: [2, 4], arch.mlp_ratio: [3, 4]}\n"
    with pytest.raises(SpecError) as caught:
        sweep_of(space + "design: {name: shapley, orders: 7}\n")
    assert [problem.path for problem in caught.value.problems] == ["space.train.mixup", "design.orders"]


def test_a_component_that_changes_nothing_is_refused() -> None:
    """0.9 is the momentum anyway: two coalitions would be the same variant."""
    space = """space:
  arch.attention: {off: softmax, on: refiner}
  idle: {off: {train.opt: adamw}, on: {train.opt: adamw, train.momentum: 0.9}}
"""
    with pytest.raises(SpecError) as caught:
        sweep_of(space + "design: shapley\n")
    (problem,) = caught.value.problems
    message = "on and off are the same setting alone, so that its value would be that of nothing"
    assert (problem.path, problem.message) == ("space.idle", message)


def test_blocks_are_refused() -> None:
    text = THREE + "design: shapley\nblocks: {arch.depth: [2, 4]}\n"
    with pytest.raises(SpecError, match="the design 'shapley' has no blocks here"):
        sweep_of(text)
