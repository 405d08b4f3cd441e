"""Pareto fronts: a case worked by hand, repeated removal of fronts as reference, and the table of a search."""

from __future__ import annotations

import io

import pytest

from results.exporters import EXPORTERS
from results.stats.pareto import pareto_ranks
from results.table.build import ablation_table
from search_space.parsing.errors import SpecError


def test_the_front_holds_non_dominated_points():
    """(1, 91) dominates (2, 90) but not its equal; (3, 92) costs more and is better, (4, 92) only costs more."""
    points = [(2, 90.0), (1, 91.0), (1, 91.0), (3, 92.0), (4, 92.0)]
    assert pareto_ranks(points, ["minimize", "maximize"]) == [2, 1, 1, 1, 2]
    assert pareto_ranks([(cost, -value) for cost, value in points], ["minimize", "minimize"]) == [2, 1, 1, 1, 2]


def _export(table, name):
    EXPORTERS[name](table, stream := io.StringIO())
    return stream.getvalue()


@pytest.fixture
def search_records(record):
    """top1 on the validation split, gmacs: a (80, 1), b (85, 2), c (84, 3), d (90, 1) with one seed missing."""
    values = {"a": (80.0, 1.0), "b": (85.0, 2.0), "c": (84.0, 3.0)}
    return [
        *(
            record(name, seed, 99.0, metrics={"top1": 99.0, "val_top1": top1 + seed - 0.5}, gmacs=gmacs, number=number)
            for number, (name, (top1, gmacs)) in enumerate(values.items())
            for seed in (0, 1)
        ),
        record("d", 0, 90.0, metrics={"top1": 90.0, "val_top1": 90.0}, gmacs=1.0, number=3),
    ]


def test_a_pareto_table_is_ordered_by_front(plan, search_records):
    """b dominates c; a costs less than b. d would dominate both, but lacks a seed."""
    search = plan(design="search", seeds=[0, 1], num_trials=8, objectives=["top1", "gmacs"])
    table = ablation_table(search, search_records)
    assert [(row.name, row.front) for row in table.rows] == [("b", 1), ("a", 1), ("c", 2), ("d", None)]
    assert table.objectives == ("val_top1", "gmacs")
    text = _export(table, "md")
    assert "| variant | front | seeds |" in text
    assert "the Pareto front of val_top1 (higher is better), gmacs (lower is better). No row is better" in text
    header, first, *_ = _export(table, "csv").splitlines()
    assert first.split(",")[header.split(",").index("front")] == "1"


def test_a_search_has_no_significance_tests(plan, record):
    """Its variants were selected by their values: the best of three seeds needs confirmation on other seeds."""
    changes = {"baseline": {}, "a": {"arch.depth": 9}}
    tops = {"baseline": 80, "a": 90}
    records = [record(name, seed, tops[name] + seed, changes=changes[name]) for name in tops for seed in (0, 1, 2)]
    table = ablation_table(plan(design="search", num_trials=6), records)
    assert [(row.name, row.p, row.verdict) for row in table.rows] == [("a", None, None), ("baseline", None, None)]


def test_objectives_that_do_not_exist_are_refused(plan, search_records):
    with pytest.raises(SpecError, match="unknown objective 'speed'"):
        ablation_table(plan(design="search", seeds=[0, 1], objectives=["top1", "speed"]), search_records)
