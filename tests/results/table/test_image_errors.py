"""The sampling error over test images in a table: which rows have one, and what is refused."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest

from results import ablation_table
from results.exporters import csv as csv_exporter
from results.layout.caption import caption
from results.predictions.correct_images import encode_correct
from results.table.merge import merged_table
from search_space.parsing.errors import SpecError

RANDOM = np.random.default_rng(0)
BITS = {name: RANDOM.random((3, 360)) < share for name, share in (("baseline", 0.8), ("a", 0.85), ("b", 0.5))}


@pytest.fixture
def table(plan, planned, record):
    def build(*, lacking=(), suffix="", changed=None, names=("baseline", "a", "b"), seeds=(0, 1, 2), **fields):
        records = [
            record(
                name,
                seed,
                100 * bits.mean(),
                correct="" if (name, seed) in lacking else encode_correct(bits.tolist()),
                metrics={"top1": 100 * bits.mean(), f"top1{suffix}": 100 * bits.mean(), "loss": 0.5 + 0.01 * seed},
            )
            for name in names
            for seed, bits in enumerate(BITS[name])
            if seed in seeds
        ]
        variants = [planned(name, is_baseline=name == "baseline") for name in names]
        return ablation_table(plan(*variants, **{"num_test_images": 360, "seeds": list(seeds), **fields}), records)

    return build


def expected(name, seeds=(0, 1, 2)):
    d = BITS[name][list(seeds)].mean(axis=0) - BITS["baseline"][list(seeds)].mean(axis=0)
    return 100 * d.mean(), 100 * d.std(ddof=1) / math.sqrt(360)


def errors(table):
    return [row.image_error for row in table.rows]


def sentences(table):
    return [one.text for one in caption(table) if one.text.startswith("Sampling error")]


def rows_of_csv(table):
    stream = io.StringIO()
    csv_exporter.write(table, stream)
    return list(csv.DictReader(io.StringIO(stream.getvalue())))


def test_the_images_give_the_difference_of_the_table_and_its_error(table):
    made = table()
    for row in made.rows[1:]:
        delta, error = expected(row.name)
        assert row.delta is not None
        assert row.delta.mean == pytest.approx(delta, rel=1e-9)
        assert row.image_error == pytest.approx(error, rel=1e-12)
    assert made.rows[0].image_error is None


def test_the_caption_has_the_range_and_the_csv_each_row(table):
    made = table()
    low, high = sorted(expected(name)[1] for name in ("a", "b"))
    assert sentences(made) == [
        f"Sampling error of this test set, paired over its 360 images: \u0394 has a standard error of {low:.2f} to "
        f"{high:.2f} %, for these trained models; it is in no interval."
    ]
    cells = [row["top1_delta_test_error"] for row in rows_of_csv(made)]
    assert cells[0] == ""
    assert [float(cell) for cell in cells[1:]] == errors(made)[1:]


def test_a_single_arm_and_a_single_seed(table):
    made = table(names=("baseline", "a"), seeds=(1,))
    assert errors(made) == [None, pytest.approx(expected("a", (1,))[1])]
    (text,) = sentences(made)
    assert f"standard error of {expected('a', (1,))[1]:.2f} %, for" in text


def test_a_table_without_predictions_has_no_column_for_them(table):
    every = [(name, seed) for name in BITS for seed in range(3)]
    made = table(lacking=every)
    assert errors(made) == [None, None, None]
    assert sentences(made) == []
    assert "top1_delta_test_error" not in rows_of_csv(made)[0]


def test_an_arm_needs_them_at_every_seed_of_its_difference(table):
    made = table(lacking=[("a", 1)])
    assert errors(made) == [None, None, pytest.approx(expected("b")[1])]
    assert "% (1 of 2 arms; the others lack predictions), for" in sentences(made)[0]
    assert errors(table(lacking=[("baseline", 2)])) == [None, None, None]


@pytest.mark.parametrize(
    ("fields", "is_given"),
    [
        ({"metric": "loss"}, False),
        ({"analysis": {"selection": "best-val"}, "suffix": "@best_val"}, False),
        ({"analysis": {"selection": "ema"}, "suffix": "@ema"}, True),
        ({"design": "search"}, False),
    ],
)
def test_they_are_those_of_top1_after_the_last_epoch(table, fields, is_given):
    found = errors(table(**fields))
    assert any(error is not None for error in found) == is_given


def test_predictions_of_another_number_of_images_than_the_plan_has_are_refused(table):
    with pytest.raises(SpecError) as caught:
        table(num_test_images=361, names=("baseline", "a"), seeds=(0,))
    assert [problem.message for problem in caught.value.problems] == [
        f"{name} seed 0: predictions of 360 images, and the test set has 361" for name in ("baseline", "a")
    ]


def test_a_table_of_several_runs_keeps_them(table, tmp_path):
    made = table()
    merged = merged_table([made, table(sweep="other", num_test_images=None)], [tmp_path / "a", tmp_path / "b"])
    assert errors(merged) == errors(made) * 2
    assert "paired over its images:" in sentences(merged)[0]
