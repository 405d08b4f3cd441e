"""Table of a run: counted trials, order of rows, published rows, caption and footnotes."""

from __future__ import annotations

import random

import pytest

from results import Failure, ablation_table
from results.layout.footnotes import footnotes
from results.layout.table_layout import table_layout
from search_space.parsing.errors import SpecError


def _row(table, name):
    return next(row for row in table.rows if row.name == name)


def test_quickstart_numbers_by_hand(quickstart_plan, quickstart_records):
    """baseline 96, 97, 98: mean 97, sd 1. refiner 97, 99, 101: mean 99, sd 2; differences 1, 2, 3: mean 2, sd 1,
    interval 2 -+ 4.302653 / sqrt(3) = 2 -+ 2.484138. Train seconds 8, 9, 10: 9."""
    table = ablation_table(quickstart_plan, quickstart_records)
    baseline, refiner = table.rows[0], table.rows[2]
    assert [row.name for row in table.rows] == [
        "baseline",
        "attention=reattention",
        "attention=refiner expansion=6",
        "attention=groupmix",
    ]
    assert (baseline.metrics["top1"].mean, baseline.metrics["top1"].std, baseline.train_seconds) == (97.0, 1.0, 9.0)
    assert baseline.delta is None
    assert (refiner.metrics["top1"].mean, refiner.metrics["top1"].std) == (99.0, 2.0)
    assert refiner.delta is not None
    assert refiner.delta.mean == 2.0
    assert refiner.delta.low == pytest.approx(2 - 2.484138, abs=1e-6)
    assert refiner.delta.high == pytest.approx(2 + 2.484138, abs=1e-6)
    assert (refiner.params_m, refiner.gmacs) == (0.1071, 0.00331)


def test_pruned_failed_and_missing_seeds_are_counted_outside_the_means(quickstart_plan, quickstart_records):
    """reattention: 95 and 97.5 of seeds 0 and 1, mean 96.25; differences -1 and 0.5, mean -0.25. The pruned seed's 60
    at epoch 7 enters nothing. groupmix: seed 0 alone, 94.5 - 96 = -1.5, no spread and no interval."""
    table = ablation_table(quickstart_plan, quickstart_records)
    pruned, failed = _row(table, "attention=reattention"), _row(table, "attention=groupmix")
    assert (pruned.metrics["top1"].mean, pruned.metrics["top1"].num, pruned.pruned_epochs) == (96.25, 2, (7,))
    assert pruned.delta is not None
    assert (pruned.delta.mean, pruned.delta.num_pairs) == (-0.25, 2)
    assert (pruned.num_completed, pruned.num_pruned, pruned.num_missing, pruned.status) == (2, 1, 0, "partial")
    assert (failed.num_completed, failed.num_failed, failed.num_missing, failed.status) == (1, 1, 1, "partial")
    assert failed.metrics["top1"].std is None
    assert failed.delta is not None
    assert (failed.delta.mean, failed.delta.low, failed.delta.high) == (-1.5, None, None)


def test_a_single_seed_gets_neither_spread_nor_interval(plan, planned, record):
    table = ablation_table(
        plan(planned("baseline", is_baseline=True), planned("a"), seeds=[0]),
        [record("baseline", 0, 90.0), record("a", 0, 91.0)],
    )
    assert table.rows[1].metrics["top1"].std is None
    assert table.rows[1].delta is not None
    assert (table.rows[1].delta.mean, table.rows[1].delta.low) == (1.0, None)


def test_the_order_of_the_ledger_does_not_matter(quickstart_plan, quickstart_records):
    expected = ablation_table(quickstart_plan, quickstart_records)
    rng = random.Random(0)
    for _ in range(20):
        rng.shuffle(quickstart_records)
        assert ablation_table(quickstart_plan, quickstart_records) == expected


def test_a_retried_trial_counts_once_with_its_success(plan, planned, record):
    records = [record("a", 0, attempt=1, failure=Failure(type="E", message="m")), record("a", 0, 91.0, attempt=2)]
    row = ablation_table(plan(planned("a", is_baseline=True), seeds=[0]), records).rows[0]
    assert (row.num_completed, row.num_failed, row.status) == (1, 0, "completed")


def test_a_variant_that_never_ran_stays_visible(plan, planned):
    row = ablation_table(plan(planned("a", is_baseline=True)), []).rows[0]
    assert (row.num_planned, row.num_missing, row.status, dict(row.metrics)) == (3, 3, "missing", {})


def test_a_completed_trial_without_a_finite_metric_is_outside_the_mean_with_a_footnote(plan, planned, record):
    records = [record("a", 0, 90.0), record("a", 1, float("nan")), record("a", 2, 92.0)]
    table = ablation_table(plan(planned("a", is_baseline=True)), records)
    assert (table.rows[0].metrics["top1"].mean, table.rows[0].num_completed) == (91.0, 3)
    assert "1 completed trial without a finite top1; outside every mean." in footnotes(table)


@pytest.mark.parametrize(
    ("when", "changes", "fits"),
    [
        ({"arch.depth": 6}, {"arch.depth": 6}, True),
        ({"arch.depth": 6.0}, {"arch.depth": 6}, True),
        ({"arch.depth": 6}, {"arch.depth": 12}, False),
        ({"arch.depth": 6}, {"arch.depth": 6, "arch.embed_dim": 96}, False),
        ({"arch.class_token": 1}, {"arch.class_token": True}, False),
        ({"arch.attention": "refiner"}, {"arch.attention": {"name": "refiner"}}, True),
        ({"arch.attention.kernel_sizes": [3, 5.0]}, {"arch.attention.kernel_sizes": (3, 5)}, True),
        ({"arch.depth": 4}, {}, True),  # the baseline's depth is 4
        ({"arch.depth": 4, "arch.embed_dim": 96}, {"arch.embed_dim": 96}, True),
        ({}, {}, True),
        ({}, {"arch.depth": 6}, False),
        # One setting, written in two ways.
        (
            {"arch.attention": {"name": "refiner", "expansion": 2}},
            {"arch.attention": "refiner", "arch.attention.expansion": 2},
            True,
        ),
        ({"arch.attention": {"name": "refiner", "expansion": 3}}, {"arch.attention": "refiner"}, True),  # the default
        ({"arch.attention": {"name": "refiner", "expansion": 2}}, {"arch.attention": "refiner"}, False),
        ({"arch.attention.name": "refiner"}, {"arch.attention": "refiner"}, True),
        ({"arch.class_token": False}, {"arch.class_token": False, "arch.global_pool": "avg"}, True),
        ({"arch.class_token": False, "arch.global_pool": "avg"}, {"arch.class_token": False}, True),
        ({"task.dataset": "builtin/shapes"}, {"task.dataset": {"name": "builtin/shapes", "noise": 0.1}}, True),
        ({"arch.img_size": [8, 8]}, {"arch.img_size": [8.0, 8]}, True),
        ({"train.mixup": 0}, {}, True),
        ({"arch.options.qk_norm": True}, {"arch.options": {"qk_norm": True}}, True),
        ({"arch.attention": {"name": "softmax"}, "arch.depth": 6}, {"arch.depth": 6}, True),
    ],
)
def test_published_numbers_belong_to_the_row_with_the_same_changes(plan, planned, record, when, changes, fits):
    there = {"when": when, "values": {"top1": 83.0}, "source": "a paper"}
    variants = [planned("baseline", is_baseline=True), planned("a", changes=changes)]
    base = record("baseline", 0, 90.0, spec={"arch": {"depth": 4}})
    table = ablation_table(plan(*variants, published=[there]), [base])
    assert bool(table.rows[1].published) == fits


def test_a_search_shows_the_best_first_then_pruned_then_failed(plan, record):
    """`top1` is maximised: 95 before 90. Pruned ones are ordered by their epochs, more first."""
    records = [
        record("failed", 0, failure=Failure(type="E", message="m")),
        record("early", 0, status="pruned", epochs=2, changes={"arch.depth": 2}),
        record("late", 0, status="pruned", epochs=9, changes={"arch.depth": 3}),
        record("baseline", 0, 90.0),
        record("best", 0, 95.0, changes={"arch.depth": 9}),
        record("worst", 0, 80.0, changes={"arch.depth": 1}),
        record(
            "too large",
            0,
            status="infeasible",
            changes={"arch.depth": 99},
            failure=Failure(type="Infeasible", message="params_m <= 1"),
        ),
    ]
    table = ablation_table(plan(design="search", seeds=[0], num_trials=6), records)
    assert [row.name for row in table.rows][:5] == ["best", "baseline", "worst", "late", "early"]
    assert [row.delta.mean for row in table.rows if row.delta] == [5.0, -10.0]
    assert [(variant.name, variant.reason) for variant in table.dropped] == [("too large", "params_m <= 1")]


def test_a_search_with_a_validation_split_is_ordered_by_it(plan, record):
    """Selection by the test split would bias the reported test value."""
    records = [
        record("a", 0, 95.0, metrics={"top1": 95.0, "val_top1": 80.0}),
        record("b", 0, 90.0, metrics={"top1": 90.0, "val_top1": 85.0}),
    ]
    table = ablation_table(plan(design="search", seeds=[0]), records)
    assert [row.name for row in table.rows] == ["b", "a"]
    assert table.ordered_by == "val_top1"


def test_a_search_does_not_rank_trials_of_another_length(plan, record):
    """The profile `smoke` trained one epoch in the same directory; the search trains twenty."""
    short = record("smoke", 0, 99.0, spec={"train": {"epochs": 1}})
    full = record("full", 0, 90.0, spec={"train": {"epochs": 20}})
    table = ablation_table(plan(design="search", seeds=[0]), [short, full])
    assert [row.name for row in table.rows] == ["full"]
    assert table.num_foreign == 1


def test_caption_and_footnotes_of_the_quickstart_table(quickstart_plan, quickstart_records):
    """Compute: 3 x 16 + 8 + 9 + 10 + 9 + 10 + 7.25 = 101.25 s = 0.028 h in 9 trials. Test set: the standard error of
    97 % of 360 images is sqrt(97 x 3 / 360) = 0.90 %."""
    layout = table_layout(ablation_table(quickstart_plan, quickstart_records))
    assert layout.notes() == (
        "top1 (%, higher is better): mean \u00b1 standard deviation (n - 1) over the completed seeds (planned: 0, 1, "
        "2), after the last epoch; builtin/digits, 20 epochs.",
        "A seed decides initialisation, order of the data, augmentation and dropout; the data splits do not depend on "
        "it.",
        "\u0394: mean of the same-seed differences to 'baseline', in brackets its 95 % t-interval (n - 1 degrees of "
        "freedom, unadjusted: not corrected for multiple comparisons); a single pair has no interval.",
        "Intervals cover the choice of the training seeds for this fixed test set, not that of other test images: of "
        "360 images, which give an accuracy of 97.00 % a standard error of 0.90 %.",
        "(n pairs): seeds are missing, so that the difference is of those that both rows have and need not be the "
        "difference of the two means.",
        "SD \u0394: standard deviation of those differences; below the arms' own where pairing by seed helps.",
        "Verdict: two-sided paired t-test on those differences, taken as normal, corrected after Holm for 3 arms; "
        "* p < 0.05, ** p < 0.01, *** p < 0.001; inconclusive does not mean equal.",
        "Bold: the largest gain, underlined: the second largest, among the complete rows whose verdict is better (the "
        "baseline, where all others are worse); not a claim that it beats the others, and its difference is biased "
        "upwards by the choice.",
        "params: millions; GMACs: 10^9 multiply-accumulates for one image (1 MAC = 2 FLOPs; matmul, convolution and "
        "attention only); train: mean seconds of optimisation.",
        "Brackets behind a cost: its change against the baseline.",
        "Compute: 0.028 h of optimisation in all (9 trials).",
        "Brackets behind a published value: ours minus it.",
        "\u2020 pruned at the epoch beside it; outside every mean and difference.",
        "incomplete: the row or the baseline lacks planned seeds; neither tested nor ranked.",
        "Failed: attention=groupmix seed 1: NonFiniteLoss: training loss is nan in epoch 3",
        "1 planned trial without a result so far.",
        "[1] published: Refiner, Table 1.",
        "Published, but no such row here: arch.depth=24: top1 82.5 (DeepViT, Table 4).",
        "Dropped before training: embed_dim=95: arch.embed_dim % arch.num_heads == 0 must hold, but 95 % 4 == 3",
        "1 earlier record of the ledger not in this plan; not shown.",
    )


def test_long_lists_of_failures_are_cut_with_their_number(plan, planned, record):
    names = [f"v{number}" for number in range(30)]
    records = [
        record(name, 0, failure=Failure(type="E", message=f"reason {index % 10}")) for index, name in enumerate(names)
    ]
    notes = [
        note
        for note in footnotes(ablation_table(plan(*map(planned, names), seeds=[0]), records))
        if note.startswith("Failed")
    ]
    assert len(notes) == 9
    assert notes[0] == "Failed: v0 seed 0, v10 seed 0, v20 seed 0: E: reason 0"
    assert notes[-1] == "Failed: 2 more reasons, see trials.csv."


def test_an_unknown_metric_is_an_error(plan):
    with pytest.raises(SpecError) as caught:
        ablation_table(plan(metric="top2"), [])
    text = " ".join(str(caught.value).split())
    assert text.startswith("metric: unknown metric 'top2' known: accuracy, auroc, ")
    assert text.endswith(" top1, top5. Did you mean 'top5'? if it is that of a plug-in: --plugin FILE")


def test_a_value_beyond_the_range_of_measurements_is_left_out(plan, planned, record):
    records = [record("baseline", seed, value) for seed, value in enumerate((1e308, 90.0, 92.0))]
    table = ablation_table(plan(planned("baseline", is_baseline=True)), records)
    (row,) = table.rows
    assert (row.metrics["top1"].mean, row.metrics["top1"].num, table.without_metric) == (91.0, 2, 1)
