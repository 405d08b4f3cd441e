"""Published numbers: which metrics and costs there are, and what is refused."""

from __future__ import annotations

import pytest

from search_space import METRICS, SpecError, load_sweep_text

HEAD = "name: a\nbaseline: {arch: {depth: 2}, train: {epochs: 2}}\ndesign: one_factor\npublished:\n"


def messages(rows: str) -> list[tuple[str, str, str]]:
    with pytest.raises(SpecError) as caught:
        load_sweep_text(HEAD + rows)
    return [(problem.path, problem.message, problem.hint or "") for problem in caught.value.problems]


@pytest.mark.parametrize(
    "name",
    [
        *(name for name in METRICS if name != "top5"),
        "val_top1",
        "accuracy/cat",
        "params_m",
        "trainable_params_m",
        "gmacs",
        "train_seconds",
    ],
)
def test_every_metric_and_cost_may_be_published(name: str) -> None:
    sweep = load_sweep_text(HEAD + f"  - {{when: {{}}, {name}: 1.5, top5: 80, source: a paper}}\n").sweep
    assert sweep.published[0].values == {name: 1.5, "top5": 80.0}


@pytest.mark.parametrize("name", ["gflops", "GFLOPs", "flops"])
def test_flops_are_refused_with_what_they_mostly_are(name: str) -> None:
    ((path, message, hint),) = messages(f"  - {{when: {{}}, {name}: 6.2, source: a paper}}\n")
    assert (path, message) == (f"published[0].{name}", f"unknown metric {name!r}")
    assert hint == (
        "papers mostly mean multiply-accumulates: write  gmacs: 6.2  for 6.2 GFLOPs of such a paper, and half of it "
        "where a multiplication and an addition count as two"
    )


def test_two_values_of_one_row_and_source_are_refused() -> None:
    rows = (
        "  - {when: {arch.depth: 4}, top1: 80, source: a paper}\n"
        "  - {when: {arch.depth: 4}, top1: 81, params_m: 3, source: a paper}\n"
        "  - {when: {arch.depth: 4}, top1: 81, source: another paper}\n"
    )
    ((path, message, hint),) = messages(rows)
    assert (path, message) == ("published[1].top1", "published[0] has a top1 of this row and source, too")
    assert hint == "remove one of them, or name their sources apart"


ORDER = "  - {{when: {{arch.depth: {}}}, {}, source: {}, compare: order}}\n"


def test_rows_may_be_compared_by_their_order_alone() -> None:
    rows = "".join(ORDER.format(depth, f"top1: {70 + depth}", "a paper") for depth in (2, 4, 6))
    published = load_sweep_text(HEAD + rows).sweep.published
    assert [row.compare for row in published] == ["order"] * 3
    assert published[0].values == {"top1": 72.0}
    other = load_sweep_text(HEAD + "  - {when: {}, top1: 80, source: a paper}\n").sweep.published
    assert other[0].compare == "value"


def test_an_order_of_two_rows_is_refused_where_nothing_else_is_shown() -> None:
    rows = ORDER.format(2, "top1: 70", "a paper") + ORDER.format(4, "top1: 71", "a paper")
    rows += ORDER.format(6, "top1: 72", "another table")
    message = "an order needs 3 rows of one source, but this one has {} with top1"
    assert messages(rows) == [
        ("published[0].top1", message.format("2 rows"), "rows of one table have the same text as `source`"),
        ("published[1].top1", message.format("2 rows"), "rows of one table have the same text as `source`"),
        ("published[2].top1", message.format("1 row"), "rows of one table have the same text as `source`"),
    ]


def test_a_cost_has_no_order() -> None:
    rows = "".join(ORDER.format(depth, f"top1: {70 + depth}, params_m: {depth}", "a paper") for depth in (2, 4, 6))
    assert messages(rows)[0] == (
        "published[0].params_m",
        "an order of 'params_m' is not compared: a cost has no seeds",
        "remove it, or write  compare: value",
    )


def test_other_forms_of_comparison_are_unknown() -> None:
    ((path, message, _),) = messages("  - {when: {}, top1: 80, source: a paper, compare: rank}\n")
    assert path == "published[0].compare"
    assert "'rank'" in message
