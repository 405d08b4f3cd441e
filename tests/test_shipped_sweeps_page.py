"""The page about the shipped sweeps is the one that its script writes, and what is kept of runs belongs to the files.

Means, deviations and differences of the kept tables are computed here, by the standard library, from the kept
trials.
"""

from __future__ import annotations

import csv
import importlib.util
import math
import statistics
import sys
from pathlib import Path

import pytest

from search_space import Sweep, load_sweep, variants
from search_space.loading.shipped import shipped_sweeps
from search_space.schema.identity import trial_id, variant_id

ROOT = Path(__file__).parents[1]
_spec = importlib.util.spec_from_file_location("shipped_sweeps_page", ROOT / "docs" / "shipped_sweeps_page.py")
assert _spec is not None
assert _spec.loader is not None
shipped_sweeps_page = importlib.util.module_from_spec(_spec)
sys.modules["shipped_sweeps_page"] = shipped_sweeps_page
_spec.loader.exec_module(shipped_sweeps_page)

KEPT = sorted((ROOT / "docs" / "shipped_sweeps").iterdir())


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def sweep_of(kept: Path) -> Sweep:
    (path,) = [path for name, path in shipped_sweeps().items() if name.replace("/", "_") == kept.name]
    return load_sweep(path).sweep


@pytest.mark.thorough
def test_the_page_is_the_one_that_its_script_writes():
    """Else: python docs/shipped_sweeps_page.py"""
    assert shipped_sweeps_page.page() == (ROOT / "docs" / "shipped_sweeps.md").read_text(encoding="utf-8")


def test_studies_of_every_paper_were_run():
    papers = {path.parent.name for path in (ROOT / "sweeps").glob("*/*.yaml")}
    assert papers <= {kept.name.partition("_")[0] for kept in KEPT}
    assert len(KEPT) >= 15


@pytest.mark.parametrize("kept", KEPT, ids=lambda path: path.name)
def test_a_kept_run_is_of_the_sweep_as_it_is_now(kept):
    sweep = sweep_of(kept)
    settings = {row.name: row.setting for row in variants(sweep)}
    assert {row["variant_id"] for row in rows_of(kept / "table.csv")} <= {
        variant_id(setting) for setting in settings.values()
    }
    trials = rows_of(kept / "trials.csv")
    ids = {trial_id(settings[row["variant"]].with_seed(int(row["seed"]))) for row in trials}
    assert {row["trial_id"] for row in trials} == ids
    assert {int(row["seed"]) for row in trials} <= set(sweep.seeds)


@pytest.mark.parametrize("kept", KEPT, ids=lambda path: path.name)
def test_the_numbers_of_a_kept_table_are_those_of_its_trials(kept):
    metric = sweep_of(kept).metric
    values: dict[str, dict[int, float]] = {}
    for row in rows_of(kept / "trials.csv"):
        if row["status"] == "completed" and row.get("purpose", "") != "choosing":
            values.setdefault(row["variant"], {})[int(row["seed"])] = float(row[metric])
    table = rows_of(kept / "table.csv")
    (baseline,) = [row["variant"] for row in table if row["is_baseline"] == "true"]
    for row in table:
        seeds = dict(sorted(values[row["variant"]].items())[: int(row["seeds_completed"])])
        assert float(row[f"{metric}_mean"]) == pytest.approx(statistics.fmean(seeds.values()), rel=1e-9)
        if len(seeds) > 1:
            assert float(row[f"{metric}_std"]) == pytest.approx(statistics.stdev(seeds.values()), rel=1e-9, abs=1e-12)
        differences = [value - values[baseline][seed] for seed, value in seeds.items() if seed in values[baseline]]
        if row["variant"] == baseline or not differences:
            continue
        assert float(row[f"{metric}_delta"]) == pytest.approx(statistics.fmean(differences), rel=1e-9, abs=1e-9)
        if row["verdict"] in ("better", "worse"):
            better = float(row[f"{metric}_delta"]) * (1 if metric != "loss" else -1) > 0
            assert (row["verdict"] == "better") == better
            assert float(row["p_corrected"]) < 0.05
            half = statistics.stdev(differences) / math.sqrt(len(differences))
            assert abs(statistics.fmean(differences)) > 2 * half
