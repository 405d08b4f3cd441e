"""Fuzzing of the loader: any file yields a sweep or a SpecError, and every sweep can be enumerated."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from search_space import SpecError, count_upper, load_sweep_text, unmet_requirements, variants
from search_space.parsing.expressions import ExpressionError
from search_space.schema.trial import Setting
from search_space.variants.requirements import Requirement

ROOT = Path(__file__).parents[3]
BASES = [
    path.read_text() for folder in ("sweeps", "docs/broken_sweeps") for path in sorted((ROOT / folder).glob("*.yaml"))
]
WORDS = [
    *(
        "null",
        "[]",
        "{}",
        "[1]",
        "{a: 1}",
        "true",
        "-1",
        "1.5",
        "x",
        "''",
        "&a x",
        "*a",
        "1e-3",
        "[null, 1, true, 1.0]",
    ),
    *(
        "softmax",
        "{name: refiner}",
        "{value: 1}",
        "{with: {}}",
        "{value: refiner, with: {expansion: {min: 1, max: 2}}}",
    ),
    *(
        "{off: 1, on: 2}",
        "{off: {arch.depth: 2}, on: {arch.depth: 3}}",
        "{min: 1, max: 3}",
        "{min: 0, max: 1, step: 0}",
    ),
    *("search", "list", "zip", "cumulative", "leave_one_out", "factorial", "{name: list, rows: [{arch.depth: 3}]}"),
    *("arch", "arch.attention", "arch.options.x", "arch.attention.blocks", "{last: 2}", "arch.", "a..b", ".", "name"),
]


def try_to_load(text: str, overrides: list[str]) -> None:
    try:
        sweep = load_sweep_text(text, "f.yaml", overrides=overrides).sweep
        assert count_upper(sweep) >= 1
        if sweep.design.name == "search":
            return
        found = list(itertools.islice(variants(sweep), 20))
    except SpecError:
        return
    assert len({variant.name for variant in found}) == len({variant.variant_id for variant in found}) == len(found)
    for variant in found:
        json.dumps(variant.changes)
        unmet_requirements(sweep, variant.setting, {"params_m": 1.0, "gmacs": 1.0})


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
@example("name: \x85\n")
@example("? ? ? a")
@example("a: !<tag:yaml.org,2002:int> \n")
@example("%YAML 9.9\n---\na: 1")
def test_any_text_is_a_sweep_or_a_spec_error(text: str) -> None:
    try_to_load(text, [])


@pytest.mark.thorough
@settings(max_examples=600, deadline=None)
@given(st.data())
def test_any_damaged_sweep_is_a_sweep_or_a_spec_error(data: st.DataObject) -> None:
    parts = re.split(r"([\s,:\[\]{}]+)", data.draw(st.sampled_from(BASES)))
    for _ in range(data.draw(st.integers(1, 3))):
        index = data.draw(st.integers(0, len(parts) - 1))
        parts[index] = data.draw(st.sampled_from([*WORDS, "", *parts[:40:2]]) | st.text(max_size=3))
    paths = [
        "train.epochs",
        "space",
        "design",
        "space.arch.depth",
        "arch.attention.expansion",
        "search.seed",
        "published",
    ]
    override = st.builds(lambda path, word: f"{path}={word}", st.sampled_from(paths), st.sampled_from(WORDS))
    try_to_load("".join(parts), data.draw(st.lists(override, max_size=1)))


EXPRESSIONS = [
    *"()+-*/%<>=",
    "**",
    "//",
    "not ",
    " and ",
    " or ",
    " in ",
    " if ",
    " else ",
    "arch.depth",
    "params_m",
    "max",
]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from([*EXPRESSIONS, "1", "0", "9", "'a'", ",", "arch.model", "arch", "."]), max_size=12))
def test_any_statement_is_a_requirement_or_refused(tokens: list[str]) -> None:
    try:
        requirement = Requirement.parse("".join(tokens))
    except ExpressionError:
        return
    reason = requirement.unmet(Setting(), {"params_m": 5.0, "gmacs": 1.0})
    assert reason is None or reason.startswith(requirement.text)
