"""`match` compared with widths solved by hand, and with an exhaustive search over candidates."""

from __future__ import annotations

import pytest

from modelzoo import measure_cost
from runners.planning.make_plan import make_plan
from runners.planning.match_solver import Unmatched, match_variant
from search_space import SpecError, load_sweep, load_sweep_text, variants

pytestmark = pytest.mark.thorough

MATCHED = """
    name: matched
    baseline:
      arch: {model: vit, depth: 2, embed_dim: 40, num_heads: 4, mlp_ratio: 2, patch_size: 2, class_token: false}
      task: {name: classification, dataset: builtin/digits}
      train: {epochs: 1}
    space:
      arch.depth: [1, 3]
    design: one_factor
    match: {params_m: baseline, by: arch.embed_dim, tolerance: 5 %}
    metric: top1
"""


def params_by_hand(*, depth: int, dim: int, ratio: float = 2.0) -> int:
    """Parameters of a ViT on 8x8 images of one channel in 2x2 patches, without class token, with 10 classes."""
    hidden = int(dim * ratio)
    tokens = 16
    patches = 2 * 2 * 1 * dim + dim
    attention = 3 * dim * dim + 3 * dim + dim * dim + dim
    mlp = dim * hidden + hidden + hidden * dim + dim
    return patches + tokens * dim + depth * (attention + mlp + 4 * dim) + 2 * dim + dim * 10 + 10


def by_hand(depth: int, target: int, *, divisor: int) -> int:
    """Width closest to the target among multiples of `divisor`, the narrower of two equally close ones."""
    return min(range(divisor, 400, divisor), key=lambda dim: (abs(params_by_hand(depth=depth, dim=dim) - target), dim))


def test_hand_computed_parameters_are_those_of_the_zoo(write_sweep):
    plan = make_plan(load_sweep(write_sweep(MATCHED)))
    assert plan.cost_of(plan.variants[0])["params_m"] * 1e6 == pytest.approx(params_by_hand(depth=2, dim=40))


def test_widths_are_those_solved_by_hand(write_sweep):
    target = params_by_hand(depth=2, dim=40)
    plan = make_plan(load_sweep(write_sweep(MATCHED)))
    found = {variant.setting.arch.depth: variant.setting.arch.embed_dim for variant in plan.variants}
    assert found == {2: 40, 1: by_hand(1, target, divisor=4), 3: by_hand(3, target, divisor=4)}
    assert found == {2: 40, 1: 56, 3: 32}
    assert [variant.name for variant in plan.variants] == [
        "baseline",
        "depth=1, embed_dim=56",
        "depth=3, embed_dim=32",
    ]
    assert plan.variants[1].changes == {"arch.depth": 1, "arch.embed_dim": 56}


def test_require_and_steps_bound_the_candidates(write_sweep):
    """Only multiples of 20 below 50 are candidates: 40 is the closest, and it is outside the tolerance."""
    text = MATCHED.replace("metric: top1", 'metric: top1\n    require: ["arch.embed_dim < 50"]')
    plan = make_plan(load_sweep(write_sweep(text.replace("5 %", "5 %, step: 20"))))
    one = params_by_hand(depth=1, dim=40) / 1e6
    three = params_by_hand(depth=3, dim=40) / 1e6
    base = params_by_hand(depth=2, dim=40) / 1e6
    assert [entry.reasons for entry in plan.dropped] == [
        (
            f"no arch.embed_dim matches {base:.4g} M parameters within 5 %: "
            f"the closest, 40, has {cost:.4g} ({100 * (cost - base) / base:+.1f} %)",
        )
        for cost in (one, three)
    ]


def test_a_numeric_target_is_matched_by_the_baseline_too(write_sweep):
    text = MATCHED.replace("params_m: baseline", "params_m: 0.1").replace("depth: [1, 3]", "depth: [4]")
    plan = make_plan(load_sweep(write_sweep(text)))
    found = [(variant.setting.arch.depth, variant.setting.arch.embed_dim) for variant in plan.variants]
    assert found == [(2, by_hand(2, 100_000, divisor=4)), (4, by_hand(4, 100_000, divisor=4))]
    reference, other = plan.variants
    assert (reference.name, reference.changes, reference.is_baseline) == ("baseline, embed_dim=76", {}, True)
    assert other.changes == {"arch.depth": 4, "arch.embed_dim": found[1][1]}


def test_fractions_are_solved_in_their_steps(write_sweep):
    """With one layer instead of two the MLP makes up for the difference; its hidden size is int(40 * ratio)."""
    text = MATCHED.replace("by: arch.embed_dim, tolerance: 5 %", "by: arch.mlp_ratio, tolerance: 1 %")
    plan = make_plan(load_sweep(write_sweep(text.replace("[1, 3]", "[1]"))))
    target = params_by_hand(depth=2, dim=40)
    ratios = [round(0.05 * index, 9) for index in range(1, 400)]
    best = min(ratios, key=lambda ratio: abs(params_by_hand(depth=1, dim=40, ratio=ratio) - target))
    assert params_by_hand(depth=1, dim=40, ratio=plan.variants[1].setting.arch.mlp_ratio) == params_by_hand(
        depth=1, dim=40, ratio=best
    )


@pytest.mark.default_run("params_m-groupmix", "gmacs-groupmix")
@pytest.mark.thorough
@pytest.mark.parametrize("attention", ["reattention", "refiner", "groupmix"])
@pytest.mark.parametrize("cost", ["params_m", "gmacs"])
def test_closest_buildable_candidate_is_found(attention, cost):
    """Exhaustive search over the widths 1 to 100 as reference. Group-Mix needs multiples of 5 and 4."""
    text = f"""
name: t
baseline: {{arch: {{depth: 2, embed_dim: 40, num_heads: 4, mlp_ratio: 2, patch_size: 2, class_token: false}}}}
space: {{arch.attention: [{attention}]}}
design: one_factor
match: {{{cost}: baseline, by: arch.embed_dim, tolerance: 50 %}}
"""
    file = load_sweep_text(text)
    plan = make_plan(file)
    reference, other = variants(file.sweep)

    def measured(variant, dim):
        arch = variant.setting.arch.model_copy(update={"embed_dim": dim})
        try:
            return getattr(measure_cost(arch, img_size=(8, 8), in_chans=1, num_classes=10), cost)
        except SpecError:
            return None

    target = measured(reference, 40)
    costs = {dim: found for dim in range(1, 101) if (found := measured(other, dim)) is not None}
    expected = min(costs, key=lambda dim: (abs(costs[dim] - target), costs[dim]))
    assert plan.variants[1].setting.arch.embed_dim == expected


def test_falling_costs_are_solved_as_well():
    """Larger patches give fewer tokens; the cost is defined by hand as 960 / value."""
    sweep = load_sweep_text(
        "name: t\nbaseline: {arch: {depth: 4, patch_size: 16}}\nspace: {arch.depth: [6]}\ndesign: one_factor\n"
        "match: {gmacs: baseline, by: arch.patch_size, tolerance: 1 %}\n"
    ).sweep
    reference, other = variants(sweep)

    def cost_of(variant):
        return 960 / variant.setting.arch.patch_size

    for target, expected in ((60, 16), (40, 24), (320, 3), (960, 1)):
        found = match_variant(sweep, other, target, reference=reference.setting, cost_of=cost_of)
        assert not isinstance(found, Unmatched)
        assert found.setting.arch.patch_size == expected


def test_few_candidates_are_measured():
    """Costs are measured for fewer than 40 candidates, not for all between 1 and the solution."""
    sweep = load_sweep_text(
        "name: t\nbaseline: {arch: {depth: 4, embed_dim: 40}}\nspace: {arch.depth: [6]}\ndesign: one_factor\n"
        "match: {params_m: baseline, by: arch.embed_dim, tolerance: 1 %}\n"
    ).sweep
    reference, other = variants(sweep)
    measured = []

    def cost_of(variant):
        measured.append(variant.setting.arch.embed_dim)
        return variant.setting.arch.embed_dim**2

    found = match_variant(sweep, other, 5000**2, reference=reference.setting, cost_of=cost_of)
    assert not isinstance(found, Unmatched)
    assert found.setting.arch.embed_dim == 5000
    assert len(measured) == len(set(measured)) < 40


def test_a_variant_without_buildable_candidate_is_unmatched():
    sweep = load_sweep_text(
        "name: t\nbaseline: {arch: {depth: 4, embed_dim: 40}}\nspace: {arch.depth: [6]}\ndesign: one_factor\n"
        "match: {params_m: baseline, by: arch.embed_dim}\n"
    ).sweep
    reference, other = variants(sweep)
    found = match_variant(sweep, other, 1.0, reference=reference.setting, cost_of=lambda _: None)
    expected = "cannot be matched: no value of arch.embed_dim around 40 can be built and meets `require`"
    assert found == Unmatched(expected)
