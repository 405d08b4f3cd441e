"""Verdicts on arms, stars, bold print, and families of tests."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from results import Analysis, ablation_table
from results.layout.table_layout import table_layout
from results.table.comparison import emphasis

_BASE = (90.0, 91.0, 92.0)


@pytest.fixture
def table_of(plan, planned, record):
    """Function that builds a table from values per arm, in the order of the seeds; None: the seed is missing."""

    def build(arms, *, base=_BASE, metric="top1", analysis=None, fields=None, studies=None):
        seeds = range(max(map(len, [base, *arms.values()])))
        values = {"baseline": base, **arms}
        variants = [
            planned(name, is_baseline=name == "baseline", study=(studies or {}).get(name, "")) for name in values
        ]
        records = [
            record(name, seed, 0.0, **{"metrics": {metric: value}, **(fields or {}).get(name, {})})
            for name, found in values.items()
            for seed, value in zip(seeds, found, strict=False)
            if value is not None
        ]
        chosen = Analysis.model_validate(analysis or {})
        return ablation_table(plan(*variants, seeds=list(seeds), metric=metric, analysis=chosen), records)

    return build


def _verdicts(table):
    return {row.name: row.verdict for row in table.rows if not row.is_baseline}


def _row(table, name):
    return next(row for row in table.rows if row.name == name)


def _plus(*differences, base=_BASE):
    return tuple(value + difference for value, difference in zip(base, differences, strict=True))


def _cell(table, header, name):
    column = next(column for column in table_layout(table).columns if column.header.startswith(header))
    return str(column.cells[[row.name for row in table.rows].index(name)])


def test_verdicts_by_hand(table_of):
    """With two degrees of freedom p = 1 - sqrt(t^2 / (2 + t^2)). gain: differences 1.75, 2, 2.25 have sd 0.25, so t^2 =
    3 * 4 / 0.0625 = 192, p = 1 - sqrt(192 / 194) = 0.00517, Holm over three arms 0.0155. loss: -1.75, -2, -2.25 the
    same; Holm's second is the same number. noise: 0, 1, 2 has t^2 = 3, p = 1 - sqrt(0.6) = 0.225."""
    table = table_of({"gain": _plus(1.75, 2, 2.25), "loss": _plus(-1.75, -2, -2.25), "noise": _plus(0, 1, 2)})
    p = 1 - math.sqrt(192 / 194)
    assert _verdicts(table) == {"gain": "better", "loss": "worse", "noise": "inconclusive"}
    assert _row(table, "gain").p == pytest.approx(p, rel=1e-9)
    assert _row(table, "gain").p_corrected == pytest.approx(3 * p, rel=1e-9)
    assert _row(table, "loss").p_corrected == pytest.approx(3 * p, rel=1e-9)
    assert _row(table, "noise").p_corrected == pytest.approx(1 - math.sqrt(0.6), rel=1e-9)
    assert [_cell(table, "\u0394", name)[-1] for name in ("gain", "loss", "noise")] == ["*", "*", "]"]


def test_a_smaller_loss_is_better(table_of):
    table = table_of({"a": _plus(-0.1, -0.11, -0.09)}, metric="loss")
    assert _verdicts(table) == {"a": "better"}


def _one_sided(t):
    """Upper tail of Student's t with two degrees of freedom."""
    return (1 - t / math.sqrt(2 + t * t)) / 2


def test_equivalent_needs_a_stated_margin(table_of):
    """Differences -0.1, 0, 0.1: t against the margin m is m / (0.1 / sqrt(3)); p = 0.05 at t = 2.92, m = 0.16858."""
    arms = {"a": _plus(-0.1, 0.0, 0.1)}
    assert _verdicts(table_of(arms)) == {"a": "inconclusive"}
    assert _verdicts(table_of(arms, analysis={"margin": 0.169})) == {"a": "equivalent"}
    table = table_of(arms, analysis={"margin": 0.168})
    assert _verdicts(table) == {"a": "inconclusive"}
    row = _row(table, "a")
    assert row.p_equivalence == pytest.approx(_one_sided(0.168 / 0.1 * math.sqrt(3)), rel=1e-9)
    assert row.p_equivalence_corrected == row.p_equivalence  # of the two hypotheses of one arm, one can be true


def test_equivalent_follows_alpha(table_of):
    """p of the margin 0.25 is (1 - 4.330 / sqrt(20.75)) / 2 = 0.0247."""
    arms = {"a": _plus(-0.1, 0.0, 0.1)}
    assert _row(table_of(arms, analysis={"margin": 0.25}), "a").p_equivalence == pytest.approx(0.0247, abs=1e-4)
    for alpha, verdict in ((0.03, "equivalent"), (0.02, "inconclusive")):
        assert _verdicts(table_of(arms, analysis={"margin": 0.25, "alpha": alpha})) == {"a": verdict}


def test_equivalence_and_differences_are_one_family(table_of):
    """Two arms have four hypotheses, of which two can be true at most: factors 2, 2, 2, 1. With the margin 1:
    near: differences -0.05, 0.01, 0.05, mean 1/300, sd 0.0503; far: 1.9, 2, 2.1, which is beyond the margin."""
    table = table_of({"near": _plus(-0.05, 0.01, 0.05), "far": _plus(1.9, 2.0, 2.1)}, analysis={"margin": 1.0})
    near, far = _row(table, "near"), _row(table, "far")
    error = math.sqrt((0.0533333**2 + 0.00666667**2 + 0.0466667**2) / 2 / 3)
    raw = {
        "near differs": 2 * _one_sided(0.01 / 3 / error),
        "near is equivalent": _one_sided((1 - 0.01 / 3) / error),
        "far differs": 2 * _one_sided(2 / (0.1 / math.sqrt(3))),
        "far is equivalent": 1 - _one_sided(1 / (0.1 / math.sqrt(3))),
    }
    assert [near.p, near.p_equivalence, far.p, far.p_equivalence] == pytest.approx(list(raw.values()), rel=1e-4)
    assert sorted(raw, key=raw.__getitem__)[:2] == ["near is equivalent", "far differs"]
    assert near.p_equivalence_corrected == pytest.approx(2 * near.p_equivalence)
    assert far.p_corrected == pytest.approx(2 * far.p)
    assert near.p_corrected == far.p_equivalence_corrected == 1.0
    assert _verdicts(table) == {"near": "equivalent", "far": "better"}


def test_ten_arms_need_more_evidence_of_equivalence_than_one(table_of):
    """p = 0.0247 of each: alone below 0.05, one of ten 0.247."""
    arms = {f"a{index}": _plus(-0.1, 0.0, 0.1) for index in range(10)}
    table = table_of(arms, analysis={"margin": 0.25})
    assert set(_verdicts(table).values()) == {"inconclusive"}
    assert _row(table, "a0").p_equivalence_corrected == pytest.approx(10 * _row(table, "a0").p_equivalence)


def test_a_significant_difference_within_the_margin_is_not_bold(table_of):
    """0.09, 0.1, 0.11 points of accuracy are significant, but irrelevant with a margin of 0.5 points."""
    table = table_of({"a": _plus(0.09, 0.1, 0.11)}, analysis={"margin": 0.5})
    assert _row(table, "a").p_corrected < 0.01
    assert _verdicts(table) == {"a": "equivalent"}
    assert emphasis(table.rows, table.metric) == {}
    assert _cell(table, "\u0394", "a").endswith("** =")


@pytest.mark.parametrize("num", [1, 2])
def test_below_three_seeds_there_is_no_p_no_star_no_verdict(table_of, num):
    table = table_of({"a": (99.0, 99.1)[:num]}, base=(50.0, 50.0)[:num])
    row = _row(table, "a")
    assert (row.p, row.p_corrected, row.verdict) == (None, None, None)
    assert "verdict" not in [column.header for column in table_layout(table).columns]
    assert "*" not in _cell(table, "\u0394", "a")
    assert emphasis(table.rows, table.metric) == {}


@pytest.mark.parametrize(
    ("status", "epochs"), [("pruned", 7), ("failed", 0), ("infeasible", 0), (None, 0)], ids=lambda value: str(value)
)
def test_an_arm_that_lacks_a_seed_is_neither_tested_nor_ranked(table_of, plan, planned, record, status, epochs):
    """Its two seeds are far above all others, with a tiny standard deviation."""
    variants = [planned("baseline", is_baseline=True), planned("a"), planned("b")]
    records = [record("baseline", seed, value) for seed, value in enumerate(_BASE)]
    records += [record("b", seed, value) for seed, value in enumerate(_plus(1.9, 2.0, 2.1))]
    records += [record("a", seed, _BASE[seed] + 8 + seed / 100) for seed in (0, 1)]
    records += [record("a", 2, status=status, epochs=epochs)] if status else []
    table = ablation_table(plan(*variants), records)
    assert (_verdicts(table), _row(table, "a").p) == ({"a": "incomplete", "b": "better"}, None)
    assert emphasis(table.rows, table.metric) == {"id-b": "bold"}


def test_without_a_complete_baseline_every_arm_is_incomplete(table_of):
    table = table_of({"a": (92.0, 93.0, 94.1)}, base=(90.0, 91.0, None))
    assert _verdicts(table) == {"a": "incomplete"}


def test_arms_of_unequal_epochs_are_marked_and_not_ranked(table_of):
    """Ten more epochs may explain the gain, so the table must show them."""
    fields = {"baseline": {"epochs": 20}, "long": {"epochs": 30}, "fair": {"epochs": 20}}
    table = table_of({"long": _plus(4.9, 5, 5.1), "fair": _plus(1.9, 2, 2.1)}, fields=fields)
    assert _verdicts(table) == {"long": "unequal budget", "fair": "better"}
    assert emphasis(table.rows, table.metric) == {"id-fair": "bold"}
    assert _cell(table, "\u0394", "long") == "+5.00 [+4.75, +5.25] \u2021"
    assert (
        "\u2021 unequal budget: another number of epochs than the baseline; neither tested nor ranked."
        in table_layout(table).footnotes
    )


def test_planned_arms_count_in_the_family(table_of):
    """Else a star could vanish when the other arms complete: three arms are planned, one is complete."""
    arms = {"a": _plus(1.9, 2.0, 2.1), "b": (None, None, None), "c": (95.0, None, None)}
    row = _row(table_of(arms), "a")
    assert row.p_corrected == pytest.approx(3 * row.p)


def test_studies_are_families_of_their_own(table_of):
    arms = {"a": _plus(1.9, 2.0, 2.1), "b": _plus(1.8, 2.0, 2.2), "c": _plus(1.7, 2.0, 2.3)}
    table = table_of(arms, studies={"a": "width", "b": "depth", "c": "depth"})
    assert _row(table, "a").p_corrected == _row(table, "a").p
    assert _row(table, "b").p_corrected == pytest.approx(2 * _row(table, "b").p)
    assert [(group.title, group.start, group.stop) for group in table_layout(table).groups] == [
        ("", 0, 1),
        ("width", 1, 2),
        ("depth", 2, 4),
    ]


def test_the_correction_is_the_sweeps_choice(table_of):
    """p of a and b: 1 - sqrt(t^2 / (2 + t^2)) with t^2 = 3 * 4 / 0.25 = 48 and 3 * 4 / 1 = 12: 0.0202 and 0.0742."""
    arms = {"a": _plus(1.5, 2.0, 2.5), "b": _plus(1.0, 2.0, 3.0)}
    p_a, p_b = 1 - math.sqrt(48 / 50), 1 - math.sqrt(12 / 14)
    expected = {"none": (p_a, p_b), "holm": (2 * p_a, p_b), "bh": (2 * p_a, p_b)}
    for name, values in expected.items():
        table = table_of(arms, analysis={"correction": name})
        assert (_row(table, "a").p_corrected, _row(table, "b").p_corrected) == pytest.approx(values)


def test_dunnetts_test_is_paired_as_its_note_states(table_of):
    """One arm: the paired t-test. Seeds that differ by 10 points cancel; the unpaired test finds p = 0.9."""
    base = (80.0, 90.0, 100.0, 70.0)
    arms = {"a": _plus(1.0, 0.8, 1.1, 0.9, base=base)}
    table = table_of(arms, base=base, analysis={"correction": "dunnett"})
    assert _row(table, "a").p_corrected == pytest.approx(stats.ttest_rel(arms["a"], base).pvalue, rel=1e-6)
    assert _row(table, "a").p is None
    assert stats.ttest_ind(arms["a"], base).pvalue > 0.9
    expected = (
        "Verdict: Dunnett's test of all complete arms with the baseline (two-sided, the seed as a block), corrected"
    )
    assert any(note.startswith(expected) for note in table_layout(table).notes())


def test_dunnetts_family_is_that_of_the_study_in_any_order(table_of):
    arms = {"a": _plus(1.5, 2.0, 2.5), "b": _plus(1.0, 2.0, 3.0)}
    both = table_of(arms, analysis={"correction": "dunnett"})
    turned = table_of(dict(reversed(arms.items())), analysis={"correction": "dunnett"})
    assert [_row(turned, name).p_corrected for name in arms] == [_row(both, name).p_corrected for name in arms]
    missing = {f"m{index}": (90.0, None, None) for index in range(6)}
    of_eight = _row(table_of({**arms, **missing}, analysis={"correction": "dunnett"}), "a").p_corrected
    assert of_eight > 2 * _row(both, "a").p_corrected


def test_dunnett_tests_an_arm_of_equal_differences(table_of):
    """The spread is that of all arms, so there is a p-value and no footnote that denies it."""
    table = table_of({"a": _plus(2.0, 2.0, 2.0), "b": _plus(0.1, 0.0, -0.1)}, analysis={"correction": "dunnett"})
    assert _verdicts(table) == {"a": "better", "b": "inconclusive"}
    assert not any("no test applies" in note for note in table_layout(table).footnotes)
    all_equal = table_of({"a": _plus(2.0, 2.0, 2.0)}, analysis={"correction": "dunnett"})
    assert _verdicts(all_equal) == {"a": "inconclusive"}
    assert "The same difference at every seed, so that no test applies: a." in table_layout(all_equal).footnotes


def test_the_size_of_values_rounds_no_noise_away_in_dunnett_s_test(table_of):
    """The same differences of about 1e-8 on values near 64 and near 0: the tenth digit of p differed."""
    unit = 2.0**-27
    gains = {"a": (3, 1, 2, 5), "b": (0, 1, -2, 0)}
    found = []
    for level in (0.0, 64.0):
        base = [level + 40 * unit * seed for seed in range(4)]
        arms = {name: _plus(*(unit * gain for gain in each), base=base) for name, each in gains.items()}
        table = table_of(arms, base=base, analysis={"correction": "dunnett"})
        found.append(_row(table, "a").p_corrected)
    assert found[1] == pytest.approx(found[0], rel=1e-13)


@pytest.mark.parametrize("correction", ["holm", "dunnett"])
def test_differences_in_the_last_bit_are_inconclusive(table_of, correction):
    """Losses summed in another order gave "worse" with p = .01."""
    base = (2.3025, 2.2871, 2.2914, 2.3, 2.29)
    arm = tuple(value + count * math.ulp(value) for value, count in zip(base, (1, 1, 2, 1, 1), strict=True))
    table = table_of({"a": arm}, base=base, metric="loss", analysis={"correction": correction})
    assert (_verdicts(table), _row(table, "a").p) == ({"a": "inconclusive"}, None)


def test_intervals_have_the_level_of_the_tests(table_of):
    """Differences 1, 2, 3: with two degrees of freedom the quantile of p is a / sqrt(2 p (1 - p)), a = 2 p - 1; 99 %:
    0.99 / sqrt(2 * 0.995 * 0.005) = 9.925."""
    table = table_of({"a": _plus(1.0, 2.0, 3.0)}, analysis={"alpha": 0.01})
    half = 0.99 / math.sqrt(2 * 0.995 * 0.005) / math.sqrt(3)
    delta = _row(table, "a").delta
    assert (delta.low, delta.high) == pytest.approx((2 - half, 2 + half), rel=1e-9)
    assert [c.header for c in table_layout(table).columns if "CI" in c.header] == [
        "\u0394 [99% CI over seeds, unadjusted]"
    ]


def test_simultaneous_intervals_are_bonferronis(table_of):
    """Two arms: each of level 97.5 %, 0.975 / sqrt(2 * 0.9875 * 0.0125) = 6.205; also of an arm that lacks a seed, with
    one degree of freedom tan(0.4875 pi) = 25.45."""
    arms = {"a": _plus(1.0, 2.0, 3.0), "b": (91.0, 94.0, None)}
    table = table_of(arms, analysis={"interval": "simultaneous"})
    half = 0.975 / math.sqrt(2 * 0.9875 * 0.0125) / math.sqrt(3)
    delta = _row(table, "a").delta
    assert (delta.low, delta.high) == pytest.approx((2 - half, 2 + half), rel=1e-9)
    assert _row(table, "b").delta.high == pytest.approx(2 + math.tan(0.4875 * math.pi), rel=1e-9)
    assert _cell(table, "\u0394 [95% CI over seeds, simultaneous]", "b").endswith("(2 pairs)")
    assert any(
        "simultaneous 95 % interval (Bonferroni: of level 1 - 0.05 / 2 arms)" in n for n in table_layout(table).notes()
    )


def test_simultaneous_intervals_of_dunnett_agree_with_its_verdicts(table_of):
    """Equal p and alpha put an end of the interval on 0."""
    arms = {"a": _plus(1.5, 2.0, 2.5), "b": _plus(0.5, 0.0, 0.2), "c": (95.0, None, None)}
    chosen = {"correction": "dunnett", "interval": "simultaneous"}
    p = _row(table_of(arms, analysis=chosen), "a").p_corrected
    table = table_of(arms, analysis={**chosen, "alpha": p})
    assert _row(table, "a").delta.low == pytest.approx(0.0, abs=1e-6)
    assert _row(table, "b").delta.low < 0 < _row(table, "b").delta.high
    assert _row(table, "c").delta.low is None


def test_simultaneous_intervals_of_dunnett_decide_equivalence(table_of):
    """With the margin at the end of the interval, p of the equivalence is alpha."""
    arms = {"a": _plus(0.5, 0.0, 0.2), "b": _plus(1.5, 2.0, 2.5)}
    chosen = {"correction": "dunnett", "interval": "simultaneous"}
    high = _row(table_of(arms, analysis=chosen), "a").delta.high
    table = table_of(arms, analysis={**chosen, "margin": high})
    assert _row(table, "a").p_equivalence_corrected == pytest.approx(0.05, rel=1e-6)
    assert _verdicts(table_of(arms, analysis={**chosen, "margin": high + 0.01})) == {"a": "equivalent", "b": "better"}


def test_a_difference_of_fewer_pairs_says_of_how_many(table_of):
    """mean - mean of the baseline is not the difference of the shared seeds: 92.5 - 91 = 1.5, but 1 and 2 give 1.5 only
    by these seeds; the cell says how many there are."""
    table = table_of({"a": (91.0, 93.0, None), "b": (91.0, None, None), "c": _plus(1, 2, 3)})
    assert _cell(table, "\u0394", "a").endswith("] (2 pairs)")
    assert _cell(table, "\u0394", "b") == "+1.00 (1 pair)"
    assert "pair" not in _cell(table, "\u0394", "c")
    assert any(note.startswith("(n pairs): seeds are missing") for note in table_layout(table).notes())


def test_the_same_difference_at_every_seed_is_inconclusive(table_of):
    """Accuracies are multiples of 1 / number of test images; a t-test would divide by zero."""
    table = table_of({"a": _plus(0.5, 0.5, 0.5)})
    assert (_verdicts(table), _row(table, "a").p) == ({"a": "inconclusive"}, None)
    assert "The same difference at every seed, so that no test applies: a." in table_layout(table).footnotes


def test_only_significant_winners_are_bold_or_underlined(table_of):
    arms = {"first": _plus(2.9, 3.0, 3.1), "second": _plus(1.9, 2.0, 2.1), "third": _plus(0.9, 1.0, 1.1)}
    assert emphasis(table_of(arms).rows, table_of(arms).metric) == {"id-first": "bold", "id-second": "underline"}


def test_a_best_mean_without_significance_is_not_bold(table_of):
    """lucky has the best mean, +3, with differences from -2 to +8; solid is second and may be underlined, not bold."""
    table = table_of({"lucky": _plus(-2.0, 3.0, 8.0), "solid": _plus(1.9, 2.0, 2.1)})
    assert emphasis(table.rows, table.metric) == {"id-solid": "underline"}


def test_a_baseline_that_beats_every_arm_is_bold(table_of):
    table = table_of({"- a": _plus(-1.9, -2.0, -2.1), "- b": _plus(-0.9, -1.0, -1.1)})
    assert emphasis(table.rows, table.metric) == {"id-baseline": "bold"}
    table = table_of({"- a": _plus(-1.9, -2.0, -2.1), "- b": _plus(-2.0, 0.0, 1.0)})
    assert emphasis(table.rows, table.metric) == {}


def test_cost_changes_are_relative_to_the_baseline(plan, planned, record):
    """0.12 M instead of 0.10 M parameters: +20 %; half the GMACs: -50 %; 9 s instead of 6 s: +50 %."""
    variants = [planned("baseline", is_baseline=True, params_m=0.1, gmacs=2.0), planned("a", params_m=0.12, gmacs=1.0)]
    records = [record("baseline", 0, 90.0, train_seconds=6.0), record("a", 0, 91.0, train_seconds=9.0)]
    table = ablation_table(plan(*variants, seeds=[0]), records)
    assert table.rows[0].cost_changes == {}
    assert table.rows[1].cost_changes == pytest.approx({"params_m": 0.2, "gmacs": -0.5, "train_seconds": 0.5})
    assert _cell(table, "params", "a") == "0.120 (+20%)"


def test_a_plan_of_an_earlier_version_has_the_default_analysis(plan, planned):
    """Plans of earlier versions have no `analysis`."""
    stored = plan(planned("baseline", is_baseline=True)).model_dump()
    del stored["analysis"]
    read = type(plan()).model_validate(stored)
    assert (read.analysis.correction, read.analysis.alpha, read.analysis.margin) == ("holm", 0.05, None)
