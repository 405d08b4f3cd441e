"""What a seed decides, where a reader of the table sees it."""

from __future__ import annotations

import pytest

from results import ablation_table, merged_table
from results.layout.caption import caption
from search_space import SpecError


@pytest.fixture
def made(plan, planned, record):
    def made_(**fields):
        rows = planned("baseline", is_baseline=True), planned("deep")
        records = [record(row.name, seed, 90.0 + seed) for row in rows for seed in range(3)]
        return ablation_table(plan(*rows, num_test_images=360, **fields), records)

    return made_


def sentences(table):
    return [sentence.text for sentence in caption(table)]


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (
            {"vary": ["init"]},
            "A seed decides initialisation; order of the data, augmentation, dropout and the data splits are the same "
            "for all seeds.",
        ),
        (
            {"vary": ["init", "order", "augmentation", "dropout", "split"], "splits": ["validation"]},
            "A seed decides initialisation, order of the data, augmentation, dropout and the validation split of the "
            "data.",
        ),
        (
            {"vary": ["init", "split"], "splits": ["validation", "test"]},
            "A seed decides initialisation and the validation and test splits of the data; order of the data, "
            "augmentation and dropout are the same for all seeds.",
        ),
        (
            {"vary": ["init", "order"], "crossed": {"init": 3, "order": 1}},
            "Seeds are the combinations of levels: 3 of initialisation x 1 of order of the data; augmentation, dropout "
            "and the data splits are the same for all seeds. Trainings that share a level are not independent, so the "
            "standard deviation is of these combinations alone.",
        ),
    ],
)
def test_the_caption_says_what_a_seed_decides(made, sources, expected):
    found = sentences(made(seed_sources=sources))
    assert expected in found
    assert not any("do not depend on it" in each for each in found)


def test_intervals_of_test_splits_are_not_those_of_one_test_set(made):
    drawn = sentences(made(seed_sources={"vary": ["split"], "splits": ["test"]}))
    of_splits = "Intervals cover the choice of what a seed decides, with test splits of these images, not other images."
    assert of_splits in drawn
    assert "At equal seeds all rows have the same test images." in drawn
    fixed = sentences(made(seed_sources={"vary": ["init"]}))
    assert any(each.startswith("Intervals cover the choice of what a seed decides for this fixed") for each in fixed)


def test_tables_of_other_seeds_are_not_merged(made, tmp_path):
    usual, init = made(), made(seed_sources={"vary": ["init"]})
    with pytest.raises(SpecError, match="a seed decides something else in it") as caught:
        merged_table([usual, init], [tmp_path / "a", tmp_path / "b"])
    assert len(caught.value.problems) == 1
