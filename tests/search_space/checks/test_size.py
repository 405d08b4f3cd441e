"""Large files get their answer at once: products are multiplied, lists are bounded, problems are counted."""

from __future__ import annotations

import time

import pytest

from search_space import SpecError, load_sweep_text

pytestmark = pytest.mark.thorough

HEAD = "name: t\nbaseline: {arch: {depth: 1, embed_dim: 8, num_heads: 2}}\n"
SECONDS = 15.0  # of this process; a product that is built, or a quadratic search, takes minutes


def problems(text: str) -> list[str]:
    start = time.process_time()
    with pytest.raises(SpecError) as caught:
        load_sweep_text(HEAD + text, "s")
    assert time.process_time() - start < SECONDS
    return [f"{problem.path}: {problem.message}" for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("num_lists", "length", "message"),
    [
        (6, 8, "the design has 262,145 variants (8 x 8 x 8 x 8 x 8 x 8 and the baseline), but at most 100,000"),
        (4, 99, "the design has 96,059,602 variants (99 x 99 x 99 x 99 and the baseline), but at most 100,000"),
        pytest.param(6, 2000, "the design has about 10^19 variants", marks=pytest.mark.slow),
    ],
)
def test_a_factorial_is_multiplied_before_it_is_enumerated(num_lists: int, length: int, message: str) -> None:
    paths = ("train.lr", "train.weight_decay", "train.clip_grad", "train.mixup", "train.cutmix", "train.warmup_lr")
    values = ", ".join(f"{0.001 + index * 1e-6:.6f}" for index in range(length))
    space = ", ".join(f"{path}: [{values}]" for path in paths[:num_lists])
    (problem,) = problems(f"space: {{{space}}}\ndesign: factorial\n")
    assert problem.startswith(f"design: {message}")


def test_conditional_parameters_multiply_within_their_choice() -> None:
    sizes = ", ".join(str(size) for size in range(1, 32))
    inner = f"{{value: groupmix, with: {{local_kernel_size: [{sizes}], num_segments: [{sizes}]}}}}"
    rest = ", ".join(str(depth) for depth in range(1, 106))
    (problem,) = problems(f"space: {{arch.attention: [softmax, {inner}], arch.depth: [{rest}]}}\ndesign: factorial\n")
    # (1 + 31 * 31) * 105 + 1
    assert problem == "design: the design has 101,011 variants, but at most 100,000 are possible"


@pytest.mark.parametrize(
    ("value", "design"),
    [
        ("{index}", "one_factor"),
        pytest.param("bad", "one_factor", marks=pytest.mark.slow),
        pytest.param("{index}.5", "search\nsearch: {sampler: random, num_trials: 3}", marks=pytest.mark.slow),
        ("1", "search\nsearch: {sampler: random, num_trials: 3}"),
    ],
)
def test_a_list_of_60000_values_is_answered_at_once(value: str, design: str) -> None:
    values = ", ".join(value.format(index=index) for index in range(1, 60_001))
    assert problems(f"space: {{arch.depth: [{values}]}}\ndesign: {design}\n") == [
        "space.arch.depth: may have at most 10000 values, but has 60000"
    ]


def test_the_longest_list_is_checked_in_time() -> None:
    values = ", ".join(f"{1e-3 + index * 1e-7:.7f}" for index in range(10_000))
    start = time.process_time()
    load_sweep_text(f"{HEAD}space: {{train.lr: [{values}]}}\ndesign: one_factor\n")
    assert time.process_time() - start < SECONDS


def test_100000_duplicate_keys_are_answered_at_once() -> None:
    found = problems("design: one_factor\n" + "seeds: 1\n" * 100_000)
    assert len(found) == 101
    assert found[0] == ": the key 'seeds' is given twice (first on line 4)"
    assert found[-1] == ": 100 problems so far: the rest of the file was not read"


@pytest.mark.default_run("unknown paths", "equal values", "bad values")
@pytest.mark.parametrize(
    "text",
    [
        "design: one_factor\n" + "".join(f"seedz{index}: 1\n" for index in range(60_000)),
        "design: one_factor\nspace: {" + ", ".join(f"arch.depht{index}: [1]" for index in range(900)) + "}\n",
        "design: one_factor\nspace: {arch.depth: [" + ", ".join(["1"] * 9_000) + "]}\n",
        "design: one_factor\nspace: {arch.depth: [" + ", ".join(["bad"] * 9_000) + "]}\n",
    ],
    ids=["unknown keys", "unknown paths", "equal values", "bad values"],
)
def test_thousands_of_problems_are_cut_after_100(text: str) -> None:
    found = problems(text)
    assert len(found) == 101
    assert found[-1] == ": these are the first 100 problems; there may be more"


@pytest.mark.slow
def test_10000_parameters_are_refused() -> None:
    space = ", ".join(f"c{index}: {{off: {{}}, on: {{}}}}" for index in range(10_000))
    assert "space: may have at most 1000 values, but has 10000" in problems(f"space: {{{space}}}\ndesign: factorial\n")
