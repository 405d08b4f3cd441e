"""The section `table`: names are checked before anything trains, and it is no part of a trial."""

from __future__ import annotations

import pytest

from search_space import SpecError, load_sweep_text
from search_space.schema.sweep import Sweep
from search_space.schema.trial import ClassificationSpec
from search_space.settings.table_columns import COLUMNS, sort_key
from search_space.variants.variant import variants

_SWEEP = """
name: s
baseline:
  arch: {depth: 4, embed_dim: 40, num_heads: 4}
space: {arch.depth: [2, 4], fast: {off: {train.lr: 0.1}, on: {train.lr: 0.2}}}
design: factorial
"""


def loaded(section: str) -> Sweep:
    return load_sweep_text(f"{_SWEEP}table: {section}\n").sweep


def problems(section: str) -> list[tuple[str, str]]:
    with pytest.raises(SpecError) as caught:
        loaded(section)
    return [(problem.path, problem.message) for problem in caught.value.problems]


def test_a_whole_section_loads():
    table = loaded(
        "{columns: [variant, arch.depth, fast, component.fast, top1, val_top1, delta], rename: {top1: Acc}, digits: 1,"
        " sort: 'top1:asc', label: 'tab:a', caption: A title, transpose: true}"
    ).table
    assert table.columns == ("variant", "arch.depth", "fast", "component.fast", "top1", "val_top1", "delta")
    assert (table.rename, table.digits, table.sort) == ({"top1": "Acc"}, {"*": 1}, "top1:asc")
    assert (table.label, table.caption, table.transpose) == ("tab:a", "A title", True)


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_every_column_may_be_chosen(name):
    assert loaded(
        f"{{columns: [variant_id, arch.depth, {name}]}}" if name != "variant_id" else "{columns: [variant_id]}"
    )


def test_the_accuracy_of_a_class_is_a_column_before_the_classes_are_known():
    chosen = "{columns: [variant, accuracy/cat, 'delta:accuracy/*'], digits: {}}"
    assert loaded(chosen).table.columns[1] == "accuracy/cat"
    assert ("table.columns[1]", "unknown column 'accuracy/'") in problems("{columns: [variant, accuracy/]}")


def test_differences_of_further_metrics_are_columns():
    chosen = "{columns: [variant, 'delta:macro_f1', 'interval:macro_f1', 'delta_std:loss'], sort: 'delta:macro_f1:asc'}"
    assert loaded(chosen).table.columns[1] == "delta:macro_f1"
    assert sort_key("delta:macro_f1:asc") == ("delta:macro_f1", "asc")
    assert sort_key("delta:macro_f1") == ("delta:macro_f1", "")


@pytest.mark.parametrize("name", ["delta:macro_f", "delta:similar_blocks", "p:macro_f1", "delta:"])
def test_only_metrics_with_a_direction_have_differences(name):
    """Nor has a further metric a test."""
    assert ("table.columns[1]", f"unknown column {name!r}") in problems(f"{{columns: [variant, '{name}']}}")


def test_a_difference_that_is_no_column_is_not_renamed():
    found = problems("{rename: {'delta:macro_f1': A}}")
    assert found == [("table.rename.delta:macro_f1", "'delta:macro_f1' is no column of the table")]


def test_digits_of_single_metrics():
    assert loaded("{digits: {'*': 1, loss: 3, params_m: 2, delta: 2}}").table.digits == {
        "*": 1,
        "loss": 3,
        "params_m": 2,
        "delta": 2,
    }


def test_all_problems_are_reported_at_once():
    found = problems(
        "{columns: [variant, detla, top1, top1, depth], rename: {tpo1: A, top1: B, variant: B, gmacs: C},"
        " digits: {top1: 13, verdict: 1}, sort: 'top1:up', label: 'a b'}"
    )
    assert found == [
        ("table.columns[1]", "unknown column 'detla'"),
        ("table.columns[3]", "the column 'top1' is given twice"),
        ("table.columns[4]", "unknown column 'depth'"),
        ("table.rename.tpo1", "unknown column 'tpo1'"),
        ("table.rename.variant", "'top1' and 'variant' would both be 'B'"),
        ("table.rename.gmacs", "'gmacs' is no column of the table"),
        ("table.digits.top1", "must be 0 to 12 decimals, but got 13"),
        ("table.digits.verdict", "'verdict' has no digits to choose"),
        ("table.sort", "unknown direction 'up'"),
        ("table.label", "not a label that LaTeX takes: 'a b'"),
    ]


def test_the_hint_names_the_closest_and_all_legal_columns():
    with pytest.raises(SpecError) as caught:
        loaded("{columns: [variant, detla]}")
    (problem,) = caught.value.problems
    known, _, rest = problem.hint.partition(".  ")
    legal = {*COLUMNS, "fast", "arch.depth", "train.lr", *ClassificationSpec.metrics}
    assert known == "known: " + ", ".join(sorted(legal))
    assert rest == "Did you mean 'delta'?\nalso any path of the settings, such as train.lr"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{columns: [top1, delta]}", "no column says which row is which"),
        ("{rename: {arch.depth: Depth}}", "'arch.depth' is no column of the table"),
        ("{rename: {top1: ' '}}", "a column needs a name"),
        ("{digits: many}", "must be a number of decimals, or metric -> decimals, but got 'many'"),
        ("{digits: true}", "must be a number of decimals, or metric -> decimals, but got true"),
        ("{colums: [variant]}", "unknown key 'colums' in `table`"),
        ("{caption: ' '}", "an empty caption"),
        ("{sort: nothing}", "unknown column 'nothing'"),
        (r"{label: '}\\input{x'}", r"not a label that LaTeX takes: '}\\\\input{x'"),
    ],
)
def test_what_would_have_no_effect_or_no_meaning_is_refused(section, message):
    assert [text for _, text in problems(section)] == [message]


def test_rows_may_be_named_by_what_varies():
    assert loaded("{columns: [arch.depth, fast, top1]}").table.columns == ("arch.depth", "fast", "top1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("top1", ("top1", "")), ("top1:desc", ("top1", "desc")), ("a:b", ("a:b", "")), ("a:b:asc", ("a:b", "asc"))],
)
def test_a_direction_is_behind_the_last_colon(text, expected):
    assert sort_key(text) == expected


def test_the_section_changes_no_trial():
    plain = load_sweep_text(_SWEEP).sweep
    formatted = loaded("{columns: [variant, top1], caption: A title}")
    assert [v.variant_id for v in variants(formatted)] == [v.variant_id for v in variants(plain)]
