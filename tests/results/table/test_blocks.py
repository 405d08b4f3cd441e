"""Tables of designs with blocks: differences within a block, joined over folds and over datasets."""

from __future__ import annotations

import io
import math

import pytest

from results import ablation_table
from results.effects.effects import effects
from results.exporters.csv import columns
from results.exporters.text import write
from results.layout.table_layout import table_layout
from results.report.trials import trial_sections
from results.table.merge import merged_table
from results.table.table_options import TableOptions, option_problems, with_options
from search_space.parsing.errors import SpecError

FOLDS = ["fold=0", "fold=1", "fold=2"]
BASE = {"fold=0": (80.0, 82.0), "fold=1": (70.0, 72.0), "fold=2": (90.0, 92.0)}
GAIN = {"fold=0": (1.0, 1.0), "fold=1": (1.0, 3.0), "fold=2": (2.0, 4.0)}


def _id(name: str, block: str) -> str:
    return f"id-{name}-{block}"


@pytest.fixture
def blocked(plan, planned):
    """A plan of some variants in some blocks."""

    def make(names, blocks, **fields):
        variants = [
            planned(
                f"{name} [{block}]",
                variant_id=_id(name, block),
                block=block,
                treatment=_id(name, blocks["names"][0]),
                is_baseline=name == "baseline",
                changes={} if name == "baseline" else {"arch.depth": 2},
            )
            for block in blocks["names"]
            for name in names
        ]
        return plan(*variants, **{"seeds": [0, 1], "blocks": blocks, **fields})

    return make


@pytest.fixture
def three_folds(blocked):
    blocks = {"path": "task.dataset.fold", "names": FOLDS, "kind": "folds", "num_folds": 3}
    return blocked(["baseline", "deep"], blocks | {"train_images": [20] * 3, "test_images": [10] * 3})


@pytest.fixture
def trials(record):
    def make(without=()):
        return [
            record(
                f"{name} [{block}]", seed, BASE[block][seed] + (GAIN[block][seed] if name == "deep" else 0.0)
            ).model_copy(update={"variant_id": _id(name, block), "trial_id": f"{name}{block}{seed}", "block": block})
            for name in ("baseline", "deep")
            for block in FOLDS
            for seed in (0, 1)
            if (name, block, seed) not in without
        ]

    return make


def test_folds_are_joined_by_the_corrected_t(three_folds, trials):
    """Differences of the folds, each the mean over two seeds: 1, 2, 3. Mean 2, s = 1, variance of the mean
    1/3 + 10/20 = 5/6; p = 1 - sqrt(4.8 / 6.8) = 0.159832 with 2 degrees of freedom. Means of the folds of the baseline:
    81, 71, 91, so 81 with a standard deviation of 10."""
    table = ablation_table(three_folds, trials())
    baseline, deep = table.rows
    assert [row.name for row in table.rows] == ["baseline", "deep"]
    assert (baseline.metrics["top1"].mean, baseline.metrics["top1"].std) == (81.0, 10.0)
    assert (deep.num_planned, deep.num_completed, deep.num_missing, deep.status) == (6, 6, 0, "completed")
    assert deep.delta is not None
    assert (deep.delta.mean, deep.delta.num_pairs, deep.delta.differences) == (2.0, 3, (1.0, 2.0, 3.0))
    assert deep.delta.high == pytest.approx(2 + 4.302653 * math.sqrt(5 / 6), abs=1e-5)
    assert (deep.p, deep.verdict) == (pytest.approx(0.159832, abs=1e-6), "inconclusive")
    within = deep.blocks["fold=1"]
    assert within.delta is not None
    assert (within.delta.mean, within.delta.num_pairs, within.num_planned) == (2.0, 2, 2)
    (csv_p,) = [columns(table)[name][1] for name in ("p_sign_flip",)]
    assert csv_p is None
    assert columns(table)["top1_delta@fold=2"] == [None, 3.0]


def test_the_caption_of_folds_names_the_test(three_folds, trials):
    text = " ".join(table_layout(ablation_table(three_folds, trials())).notes())
    assert "over the 3 folds of the means over the completed seeds (planned: 0, 1) of each" in text
    assert "Verdict: two-sided corrected resampled t-test on the differences of the folds" in text
    assert "the variance of the mean is 1/3 + 0.5 times" in text
    assert "paired t-test" not in text


def test_a_missing_cell_makes_the_row_incomplete(three_folds, trials):
    """Without fold 2 of the variant its difference is that of folds 0 and 1, which the cell says."""
    table = ablation_table(three_folds, trials(without={("deep", "fold=2", 0), ("deep", "fold=2", 1)}))
    deep = table.rows[1]
    assert (deep.verdict, deep.num_missing, deep.p) == ("incomplete", 2, None)
    assert deep.delta is not None
    assert deep.delta.mean == 1.5
    out = io.StringIO()
    write(table, out)
    assert "(2 blocks)" in out.getvalue()
    assert "2 planned trials without a result so far." in out.getvalue()


def test_one_missing_seed_makes_the_row_incomplete(three_folds, trials):
    table = ablation_table(three_folds, trials(without={("baseline", "fold=0", 1)}))
    assert [row.verdict for row in table.rows] == [None, "incomplete"]


def test_fewer_pairs_in_a_block_are_explained_where_its_difference_is_shown(three_folds, trials):
    table = ablation_table(three_folds, trials(without={("baseline", "fold=0", 1)}))
    layout = table_layout(with_options(table, TableOptions(columns=("variant", "delta@fold=0"))))
    assert str(layout.columns[1].cells[1]) == "+1.00 (1 pair)"
    assert any(each.text.startswith("(n pairs): seeds are missing") for each in layout.caption)
    assert not any("(n pairs)" in each.text for each in table_layout(table).caption)


def test_costs_of_unequal_models_are_said_to_be_means(three_folds, trials):
    """Folds with 10 and 11 classes have heads of different size."""
    sizes = {"fold=0": 1.0, "fold=1": 1.0, "fold=2": 1.1}
    table = ablation_table(three_folds, [each.model_copy(update={"params_m": sizes[each.block]}) for each in trials()])
    text = " ".join(table_layout(table).notes())
    assert "params: millions; means over the blocks, whose models differ in size." in text
    alike = [each.model_copy(update={"params_m": 1.0}) for each in trials()]
    assert "differ in size" not in " ".join(table_layout(ablation_table(three_folds, alike)).notes())


def test_the_report_names_the_block_of_a_failed_trial(three_folds, trials):
    failed = {"status": "failed", "metrics": {}, "failure": {"type": "ValueError", "message": "no"}}
    records = [
        type(each).model_validate({**each.model_dump(), **failed}) if each.trial_id == "deepfold=11" else each
        for each in trials()
    ]
    (found,) = trial_sections(ablation_table(three_folds, records))
    assert "<h3>deep [fold=1], seed 1" in found.body


def test_pairs_are_never_of_two_blocks(three_folds, trials):
    """The variant has fold 0 alone and the baseline folds 1 and 2 alone: equal seeds, but no common block."""
    lacking = {("deep", block, seed) for block in FOLDS[1:] for seed in (0, 1)}
    lacking |= {("baseline", "fold=0", seed) for seed in (0, 1)}
    assert ablation_table(three_folds, trials(without=lacking)).rows[1].delta is None


def test_some_of_the_folds_are_said_to_be_some(blocked, trials):
    blocks = {"path": "task.dataset.fold", "names": FOLDS, "kind": "folds", "num_folds": 5}
    plan = blocked(["baseline", "deep"], blocks | {"train_images": [40] * 3, "test_images": [10] * 3})
    notes = table_layout(ablation_table(plan, trials())).footnotes
    assert any(note.startswith("3 of the 5 folds are blocks") for note in notes)


def test_datasets_have_a_difference_each_and_no_verdict(blocked, trials):
    blocks = {"path": "task.dataset", "names": FOLDS, "kind": "datasets"}
    table = ablation_table(blocked(["baseline", "deep"], blocks), trials())
    deep = table.rows[1]
    assert (deep.p, deep.verdict, deep.metrics["top1"].std) == (None, None, None)
    assert deep.delta is not None
    assert (deep.delta.mean, deep.delta.low, deep.delta.std) == (2.0, None, None)
    layout = table_layout(table)
    names = [column.name for column in layout.columns]
    assert names[:4] == ["variant", "seeds", "top1", "delta"]
    assert [name for name in names if "@" in name] == [
        f"{what}@{block}" for block in FOLDS for what in ("top1", "delta")
    ]
    assert any(
        "Wilcoxon's signed-rank test of 3 blocks cannot give a p-value below 0.25" in n for n in layout.footnotes
    )
    # Fold 1: differences 1 and 3 of two seeds: mean 2, s = sqrt 2, 12.7062 / sqrt 2 * sqrt 2.
    cell = next(column for column in layout.columns if column.name == "delta@fold=1").cells[1]
    assert str(cell) == "+2.00 [-10.71, +14.71]"


def test_a_mean_over_datasets_needs_all_of_them(blocked, trials):
    blocks = {"path": "task.dataset", "names": FOLDS, "kind": "datasets"}
    lacking = {("deep", "fold=2", seed) for seed in (0, 1)}
    table = ablation_table(blocked(["baseline", "deep"], blocks), trials(without=lacking))
    assert "top1" not in table.rows[1].metrics
    assert (table.rows[1].delta, table.rows[1].verdict, table.without_metric) == (None, "incomplete", 0)


@pytest.fixture
def six_gains(blocked, record):
    """Six blocks with gains of 1 to 6, all of one sign."""
    return lambda kind: _six_gains(blocked, record, kind)


def _six_gains(blocked, record, kind):
    names = [f"set{number}" for number in range(6)]
    records = [
        record(f"{name} [{block}]", seed, 50.0 + seed + (1 + at) * (name == "deep")).model_copy(
            update={"variant_id": _id(name, block), "trial_id": f"{name}{block}{seed}"}
        )
        for name in ("baseline", "deep")
        for at, block in enumerate(names)
        for seed in (0, 1)
    ]
    return ablation_table(blocked(["baseline", "deep"], {"path": "p", "names": names, "kind": kind}), records)


def test_six_datasets_are_tested_by_signed_ranks(six_gains):
    """Six gains of one sign: the exact p-value is 2 / 2^6 = 0.03125."""
    table = six_gains("datasets")
    assert (table.rows[1].p, table.rows[1].verdict) == (0.03125, "better")
    text = " ".join(table_layout(table).notes())
    assert "two-sided exact Wilcoxon signed-rank test over the 6 blocks, corrected after Holm for 1 arm" in text
    delta = next(column for column in table_layout(table).columns if column.name == "delta").cells[1]
    assert str(delta) == "+3.50*"


def test_blocks_that_are_no_datasets_have_no_verdict_over_all(six_gains):
    """Six learning rates on one dataset share their test images: no independent evidence."""
    table = six_gains("settings")
    assert (table.rows[1].p, table.rows[1].verdict) == (None, None)
    notes = table_layout(table).footnotes
    assert any(note.startswith("No verdict over all blocks: they are no datasets") for note in notes)


def test_columns_of_a_block_can_be_chosen(three_folds, trials):
    table = ablation_table(three_folds, trials())
    chosen = TableOptions(columns=("variant", "delta@fold=1"))
    assert list(option_problems(table, chosen)) == []
    layout = table_layout(with_options(table, chosen))
    assert [column.name for column in layout.columns] == ["variant", "delta@fold=1"]
    assert any("\u0394@BLOCK: mean within that block" in sentence.text for sentence in layout.caption)
    (problem,) = option_problems(table, TableOptions(columns=("variant", "delta@fold=7")))
    assert problem.hint.startswith("blocks: known: fold=0, fold=1, fold=2.")


def _with_folds(records):
    """The records with the fold in which each was trained, and fold 2 with 4 epochs instead of the others'."""
    for record in records:
        fold = FOLDS.index(record.block)
        task = {**record.spec.get("task", {}), "dataset": {"name": "folder/birds", "fold": fold}}
        yield record.model_copy(update={"spec": {**record.spec, "task": task}, "epochs": 4 if fold == 2 else 20})


def test_a_path_in_which_blocks_differ_has_the_values_of_all(three_folds, trials):
    """A row is over all folds, so that the fold of its first trial is not its fold; also of a row without a trial."""
    deep = {("deep", block, seed) for block in FOLDS for seed in (0, 1)}
    table = ablation_table(three_folds, list(_with_folds(trials(without=deep))))
    paths = ("task.dataset.fold", "task.dataset.name", "arch.depth")
    table = with_options(table, TableOptions(columns=("variant", *paths)))
    shown = {column.name: list(map(str, column.cells)) for column in table_layout(table).columns}
    assert shown["task.dataset.fold"] == ["0, 1, 2", "0, 1, 2"]
    assert shown["task.dataset.name"] == ["folder/birds", "folder/birds"]
    assert shown["arch.depth"][1] == "2"
    assert columns(table)["task.dataset.fold"] == [[0, 1, 2], [0, 1, 2]]
    assert columns(table)["task.dataset.name"] == ["folder/birds", "folder/birds"]


def test_epochs_of_blocks_that_differ_are_said(three_folds, trials):
    plan = three_folds.model_copy(update={"epochs": None})
    text = table_layout(ablation_table(plan, list(_with_folds(trials())))).caption[0].text
    assert "20 epochs (4 in fold=2)." in text


def test_the_csv_of_another_metric_in_a_block_is_that_metric(three_folds, trials):
    records = [each.model_copy(update={"metrics": {**each.metrics, "loss": 1.0 + each.seed}}) for each in trials()]
    table = ablation_table(three_folds, records)
    chosen = columns(with_options(table, TableOptions(columns=("variant", "loss@fold=0", "delta@fold=1"))))
    assert chosen["loss_mean@fold=0"] == [1.5, 1.5]
    assert "top1_delta@fold=0" not in chosen
    assert chosen["top1_delta@fold=1"] == [None, 2.0]


def test_the_best_of_a_block_comes_first(blocked, trials):
    """Fold 0 has no difference but that of the deep variant, +1, and of the worse one, -1."""
    plan = blocked(["baseline", "worse", "deep"], {"path": "task.dataset", "names": FOLDS, "kind": "datasets"})
    worse = [
        each.model_copy(
            update={
                "variant_id": _id("worse", each.block),
                "trial_id": f"w{each.trial_id}",
                "metrics": {"top1": each.metrics["top1"] - 1},
            }
        )
        for each in trials()
        if each.variant.startswith("baseline")
    ]
    table = ablation_table(plan, [*trials(), *worse])
    for name in ("delta@fold=0", "top1@fold=0"):
        layout = table_layout(with_options(table, TableOptions(columns=("variant", name), sort=name)))
        assert list(map(str, layout.columns[0].cells)) == ["baseline", "deep", "worse"]


def test_digits_are_those_of_columns_of_a_block_and_of_differences_too(three_folds, trials):
    table = ablation_table(three_folds, trials())
    chosen = TableOptions(columns=("variant", "top1@fold=1"), digits={"top1": 1})
    assert list(option_problems(table, chosen)) == []
    assert str(table_layout(with_options(table, chosen)).columns[1].cells[0]) == "71.0 \u00b1 1.4"


def test_the_interval_over_folds_and_that_of_a_block_are_distinguished(three_folds, trials):
    chosen = TableOptions(columns=("variant", "delta", "delta@fold=1"))
    text = " ".join(
        each.text for each in table_layout(with_options(ablation_table(three_folds, trials()), chosen)).caption
    )
    assert text.count("in brackets") == 2
    assert "each taken within its fold, in brackets its 95 % interval of the corrected resampled t" in text


def test_means_over_splits_have_no_mark_of_the_majority_class(blocked, trials):
    """Splits with equal shares of classes have one summary in the plan; their mean has no interval over seeds."""
    line = {"name": "elm", "metrics": {"top1": 95.0}}
    data = [
        {"dataset": "folder/birds", "num_classes": 2, "train_images": 20, "test_images": 10, "majority_class": line}
    ]
    blocks = {"path": "task.dataset.split_seed", "names": FOLDS, "kind": "splits"}
    blocks |= {"train_images": [20] * 3, "test_images": [10] * 3}
    made = ablation_table(blocked(["baseline", "deep"], blocks, data=data), trials())
    layout = table_layout(made)
    shown = next(column for column in layout.columns if column.name == "top1")
    assert list(map(str, shown.cells)) == ["81.00 \u00b1 10.00", "83.00 \u00b1 10.54"]
    assert "of each block gives top1 95.00 %." in " ".join(layout.notes())
    assert "top1_majority" not in columns(made)


def test_costs_and_epochs_are_compared_in_the_blocks_of_both(three_folds, trials):
    """Fold 2 takes 10 times as long and 4 epochs, not 20. The variant lacks it and takes 20 % longer in the others:
    neither faster than the baseline, nor of another number of epochs."""
    lacking = {("deep", "fold=2", seed) for seed in (0, 1)}
    records = [
        each.model_copy(
            update={
                "train_seconds": (10.0 if each.block == "fold=2" else 1.0) * (1.2 if "deep" in each.variant else 1.0)
            }
        )
        for each in _with_folds(trials(without=lacking))
    ]
    baseline, deep = ablation_table(three_folds, records).rows
    assert baseline.train_seconds == 4.0
    assert deep.cost_changes["train_seconds"] == pytest.approx(0.2)
    assert deep.verdict == "incomplete"


def test_trials_of_a_block_that_drops_a_variant_are_not_planned(three_folds, trials):
    lacking = {("deep", "fold=2", seed) for seed in (0, 1)}
    *others, last = three_folds.variants
    variants = [*others, last.model_copy(update={"dropped": "params_m < 1 does not hold"})]
    table = ablation_table(three_folds.model_copy(update={"variants": variants}), trials(without=lacking))
    assert table.rows[1].num_missing == 2
    notes = table_layout(table).footnotes
    assert not any("without a result so far" in note for note in notes)
    assert any(note.startswith("Dropped before training: deep [fold=2]") for note in notes)


def test_what_would_pair_across_blocks_is_refused(three_folds, trials, tmp_path):
    table = ablation_table(three_folds, trials())
    with pytest.raises(SpecError, match="effects are not estimated for a design with blocks"):
        effects(table)
    with pytest.raises(SpecError, match="one of them has blocks"):
        merged_table([table, table], [tmp_path / "a", tmp_path / "b"])


def test_plans_and_records_without_blocks_are_as_they_were(plan, planned, record):
    written = plan(planned("baseline", is_baseline=True)).model_dump_json()
    assert "block" not in written
    assert "treatment" not in written
    assert "block" not in record("baseline", 0, 90.0).model_dump_json()
