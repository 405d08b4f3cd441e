"""Rules of `resources.per_variant`: which one applies to which variant, and which ones are refused."""

from __future__ import annotations

import pytest

from search_space import SpecError, load_sweep_text, possible_resources, resources_for, variants

SWEEP = """
name: t
baseline: {arch: {depth: 4, embed_dim: 40, num_heads: 4}}
space: {arch.attention: [softmax, refiner], arch.depth: [4, 24]}
design: factorial
resources: """
RULES = """
  gpu_memory: auto
  processes: 1
  time_limit: 1h
  per_variant:
    - {where: arch.depth >= 24, time_limit: 4h}
    - {where: params_m > 5, gpus: 2}
    - {where: arch.attention.expansion > 1, cpus: 3, gpu_memory: 8}
"""


def shares(text: str, params_m: float) -> dict[str, tuple]:
    """Resources of the trials of each variant, for models with this many parameters."""
    sweep = load_sweep_text(SWEEP + text).sweep
    found = {}
    for variant in variants(sweep):
        one = resources_for(sweep.resources, variant.setting, lambda: {"params_m": params_m, "gmacs": 1.0})
        found[variant.name] = (one.cpus, one.gpus, one.gpu_memory, one.time_limit, one.num_processes)
    return found


def test_every_rule_that_applies_changes_what_it_names_and_the_last_one_wins() -> None:
    hour = 3600
    assert shares(RULES, params_m=1.0) == {
        "baseline": (1, 0, "auto", hour, 1),
        "depth=24": (1, 0, "auto", 4 * hour, 1),
        "attention=refiner": (3, 0, 8, hour, 1),  # softmax has no `expansion`: the rule does not apply to it
        "attention=refiner, depth=24": (3, 0, 8, 4 * hour, 1),
    }
    assert shares(RULES, params_m=9.0) == {
        "baseline": (1, 2, None, hour, 2),  # GPUs replace GPU memory, with a process each
        "depth=24": (1, 2, None, 4 * hour, 2),
        "attention=refiner": (3, 0, 8, hour, 1),
        "attention=refiner, depth=24": (3, 0, 8, 4 * hour, 1),
    }


def test_costs_are_measured_only_if_a_rule_refers_to_them() -> None:
    sweep = load_sweep_text(SWEEP + "{per_variant: [{where: arch.depth > 4, cpus: 2}]}").sweep

    def cost():
        raise AssertionError("measured")

    assert [resources_for(sweep.resources, each.setting, cost).cpus for each in variants(sweep)] == [1, 2, 1, 2]


def test_possible_resources_are_known_before_any_variant() -> None:
    sweep = load_sweep_text(SWEEP + RULES).sweep
    assert [(one.cpus, one.gpus, one.gpu_memory) for one in possible_resources(sweep.resources)] == [
        (1, 0, "auto"),
        (1, 0, "auto"),
        (1, 2, None),
        (3, 0, 8),
    ]


@pytest.mark.parametrize(
    ("rule", "path", "message"),
    [
        ("{where: arch.dept > 4, cpus: 2}", ".where", "'arch.dept > 4' is not a condition on a variant: "),
        ("{where: arch.depth > 4}", "", "changes nothing"),
        ("{where: arch.depth > 4, gpus: 1.5}", ".gpus", "a number of GPUs above 1 must be whole, but got 1.5"),
        ("{where: arch.depth > 4, gpus: 1, gpu_memory: 4}", ".gpu_memory", "`gpu_memory` and `gpus` both set"),
        (
            "{where: arch.depth > 4, max_concurrent: 4}",
            ".max_concurrent",
            "unknown key 'max_concurrent' in `per_variant`",
        ),
        ("{cpus: 4}", ".where", "is missing"),
    ],
)
def test_empty_or_contradictory_rules_are_refused(rule: str, path: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_sweep_text(SWEEP + f"{{per_variant: [{rule}]}}")
    (problem,) = caught.value.problems
    assert problem.path == f"resources.per_variant[0]{path}"
    assert problem.message.startswith(message)
