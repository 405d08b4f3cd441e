"""leave_one_out beside add_one_in: where they agree there is nothing to say, where they do not there is."""

from __future__ import annotations

import math

import pytest

from results import ablation_table
from results.effects.contributions import contributions
from results.layout.footnotes import footnotes
from results.table.merge import merged_table
from search_space.parsing.errors import SpecError


@pytest.fixture
def tables(plan, planned, record):
    """(leave_one_out, add_one_in) of components a and b, from values per row in the order of the seeds."""

    def table(design, values):
        variants = [
            planned(
                name,
                variant_id=f"{design}-{name}",
                components={"a": "a" in name, "b": "b" in name},
                is_baseline=index == 0,
            )
            for index, name in enumerate(values)
        ]
        records = [
            record(name, seed, value, variant_id=f"{design}-{name}", trial_id=f"{design}-{name}-{seed}")
            for name, found in values.items()
            for seed, value in enumerate(found)
        ]
        seeds = list(range(len(next(iter(values.values())))))
        return ablation_table(plan(*variants, design=design, seeds=seeds), records)

    def build(*, none, a, b, both):
        return table("leave_one_out", {"ab": both, "b": b, "a": a}), table("add_one_in", {"-": none, "a": a, "b": b})

    return build


def test_contributions_by_hand(tables):
    """none 90, a 92, b 91, both 93 + jitter: a adds 2 alone and 93 - 91 = 2 beside b; b adds 1 and 1."""
    one, other = tables(none=(90, 91, 92), a=(92, 93.1, 94), b=(91, 92, 93.2), both=(93, 94.2, 95))
    a, b = contributions(one, other)
    assert (a.component, b.component) == ("a", "b")
    assert (a.alone.mean, a.in_full.mean) == pytest.approx(((2 + 2.1 + 2) / 3, (2 + 2.2 + 1.8) / 3))
    assert (b.alone.mean, b.in_full.mean) == pytest.approx(((1 + 1 + 1.2) / 3, (1 + 1.1 + 1) / 3))
    assert (a.warning, b.warning) == ("", "")


def test_a_component_that_helps_only_alone_is_warned_of(tables):
    """a: alone 2, 2.1, 1.9; beside b 0, 0, 0.1. The gaps -2, -2.1, -1.8 have mean -1.9667 and sd 0.15275, t^2 = 497.2,
    p = 1 - sqrt(t^2 / (2 + t^2)) = 0.0020; b has the same gaps, because both are the interaction. Holm: 0.0040."""
    none, a, b = (90.0, 91.0, 92.0), (92.0, 93.1, 93.9), (91.0, 92.0, 93.0)
    both = (91.0, 92.0, 93.1)
    found = contributions(*tables(none=none, a=a, b=b, both=both))
    t_squared = 3 * (5.9 / 3) ** 2 / 0.0233333333
    p = 2 * (1 - math.sqrt(t_squared / (2 + t_squared)))
    assert [one.p_corrected for one in found] == pytest.approx([p, p], rel=1e-6)
    assert found[0].warning == (
        "a: +2.00 alone, +0.03 beside the others; they differ (p = 0.004, Holm): it interacts with other components"
    )


def test_a_table_of_both_designs_says_so_below(tables, tmp_path):
    none, a, b = (90.0, 91.0, 92.0), (92.0, 93.1, 93.9), (91.0, 92.0, 93.0)
    both = tables(none=none, a=a, b=b, both=(91.0, 92.0, 93.1))
    merged = merged_table(both, [tmp_path / "without", tmp_path / "added"])
    expected = (
        "a: +2.00 alone, +0.03 beside the others; they differ (p = 0.004, Holm): it interacts with other components."
    )
    assert expected in footnotes(merged)
    assert not any("interacts" in note for table in both for note in footnotes(table))
    agreeing = tables(none=(90, 91, 92), a=(92, 93.1, 94), b=(91, 92, 93.2), both=(93, 94.2, 95))
    merged = merged_table(agreeing, [tmp_path / "without", tmp_path / "added"])
    assert not any("interacts" in note for note in footnotes(merged))


def test_with_one_seed_only_opposite_signs_are_warned_of(tables):
    found = contributions(*tables(none=(90,), a=(92,), b=(91,), both=(90.5,)))
    assert found[0].warning == (
        "a: +2.00 alone, -0.50 beside the others; the signs differ, "
        "and fewer than 3 shared seeds cannot tell whether by chance"
    )
    assert contributions(*tables(none=(90,), a=(92,), b=(91,), both=(91.5,)))[0].warning == ""


def test_tables_without_a_shared_component_are_refused(tables, plan, planned, record):
    one, _ = tables(none=(90,), a=(92,), b=(91,), both=(93,))
    empty = ablation_table(plan(planned("baseline", is_baseline=True), seeds=[0]), [record("baseline", 0, 90.0)])
    with pytest.raises(SpecError) as caught:
        contributions(one, empty)
    assert str(caught.value) == ("the two tables share no component with results\n  compare designs of one space")
