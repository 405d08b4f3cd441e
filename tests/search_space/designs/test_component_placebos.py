"""Rows of placebos: beside the component's own row, in no state of it, and refused where there is none."""

from __future__ import annotations

import pytest

from search_space import SpecError, load_sweep_text, variants

BASELINE = "name: t\nbaseline: {arch: {depth: 4, embed_dim: 40, num_heads: 4}}\n"
BIAS = "  arch.qkv_bias: [true, false]\n"


def found(space: str, design: str) -> list:
    return list(variants(load_sweep_text(f"{BASELINE}space:\n{space}design: {design}\n").sweep))


def attention(on: str = "refiner") -> str:
    return f"  arch.attention: {{off: softmax, on: {on}, placebo: true}}\n"


@pytest.mark.parametrize(
    ("design", "names"),
    [
        ("leave_one_out", ["full", "- attention", "- attention (placebo)", "- qkv_bias"]),
        ("add_one_in", ["baseline", "+ attention", "+ attention (placebo)", "+ qkv_bias"]),
        ("cumulative", ["baseline", "+ attention", "+ attention (placebo)", "+ attention + qkv_bias"]),
    ],
)
def test_a_placebo_is_the_row_after_its_component(design, names):
    rows = found(attention() + BIAS, design)
    assert [row.name for row in rows] == names
    assert [row.placebo_of for row in rows] == ["", "", "attention", ""]
    fake = rows[2]
    real = rows[0] if design == "leave_one_out" else rows[1]
    assert fake.components == {}
    assert fake.setting == real.setting.model_copy(
        update={"arch": real.setting.arch.model_copy(update={"attention": fake.setting.arch.attention})}
    )
    assert fake.setting.arch.attention == real.setting.arch.attention.model_copy(update={"placebo": True})


def test_a_component_of_several_paths_keeps_the_others():
    space = """
  recipe:
    off: {arch.attention: softmax, train.mixup: 0}
    on: {arch.attention: {name: refiner, expansion: 2}, train.mixup: 0.2}
    placebo: true
"""
    _, real, fake = found(space, "add_one_in")
    assert fake.changes == {**real.changes, "arch.attention.placebo": True}
    assert (fake.setting.train.mixup, fake.setting.arch.attention.expansion) == (0.2, 2)


MATCHED = "elsewhere  match: {params_m: baseline, by: arch.embed_dim}  makes variants of equal cost"
REFUSED = [
    (
        attention(),
        "factorial",
        "space.arch.attention.placebo: `placebo` has no effect in the design 'factorial'",
        "remove it, or choose one of add_one_in, cumulative, leave_one_out",
    ),
    (
        "  arch.attention: {off: refiner, on: softmax, placebo: true}\n",
        "add_one_in",
        "space.arch.attention.placebo: the mechanism 'softmax' has no placebo",
        f"mechanisms with one: groupmix, reattention, refiner;\n{MATCHED}",
    ),
    (
        "  train.mixup: {off: 0, on: 0.2, placebo: true}\n",
        "add_one_in",
        "space.train.mixup.placebo: only a whole mechanism has a placebo, and `on` does not set arch.attention",
        MATCHED,
    ),
    (
        attention("{name: refiner, placebo: true}"),
        "add_one_in",
        "space.arch.attention.placebo: `on` is a placebo itself",
        "remove one of the two",
    ),
]


@pytest.mark.parametrize(("space", "design", "message", "hint"), REFUSED)
def test_what_has_no_placebo_is_refused(space, design, message, hint):
    with pytest.raises(SpecError) as caught:
        found(space, design)
    (problem,) = caught.value.problems
    line = space[: space.index("placebo: true")].splitlines()[-1]
    column = space.rindex("placebo: true") + 1
    assert problem.where == f"<text>:4:{column}", line
    assert f"{problem.path}: {problem.message}" == message
    assert problem.hint.endswith(hint)


@pytest.mark.parametrize(
    "space",
    [
        "  arch: {off: {depth: 3}, on: {depth: 3, attention: {name: refiner}}, placebo: true}\n",
        "  all of it: {off: {arch: {depth: 3}}, on: {arch: {depth: 3, attention: refiner}}, placebo: true}\n",
    ],
)
def test_a_mechanism_inside_of_a_whole_architecture_has_its_placebo(space):
    _, real, fake = found(space, "add_one_in")
    assert real.setting.arch.attention.name == "refiner"
    assert fake.setting.arch.attention == real.setting.arch.attention.model_copy(update={"placebo": True})
