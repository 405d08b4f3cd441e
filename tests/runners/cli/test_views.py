"""`archsweep ls` and `diff` from the command line; what they say is tested in `tests/results`."""

from __future__ import annotations

import json

import pytest

from results import LedgerWriter, PlannedVariant, RunPlan, TrialRecord, write_plan


@pytest.fixture
def run_dir(tmp_path):
    variants = [PlannedVariant(name=name, variant_id=f"id-{name}") for name in ("baseline", "deep")]
    write_plan(tmp_path / "run", RunPlan(sweep="s", design="list", metric="top1", seeds=[0], variants=variants))
    with LedgerWriter(tmp_path / "run") as ledger:
        for name, depth, top1 in (("baseline", 4, 90.0), ("deep", 6, 91.5)):
            trial = {"trial_id": f"{name}-0", "variant_id": f"id-{name}", "variant": name, "seed": 0}
            spec = {"seed": 0, "arch": {"depth": depth}}
            more = {"status": "completed", "spec": spec, "metrics": {"top1": top1}}
            ledger.append(TrialRecord.model_validate(trial | more))
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "variant   top1\ndeep      91.5\nbaseline    90\n"),
        (["--csv"], "variant,top1\ndeep,91.5\nbaseline,90.0\n"),
    ],
)
def test_a_list_in_the_formats_for_people_and_spreadsheets(archsweep, run_dir, options, expected):
    done = archsweep("ls", run_dir, "--columns=variant,top1", "--sort=-top1", *options, cwd=run_dir)
    assert (done.returncode, done.stdout) == (0, expected)


def test_a_list_for_machines(archsweep, run_dir):
    done = archsweep("ls", run_dir, "--columns", "seed, arch.depth", "--filter", "top1 > 91", "--json", cwd=run_dir)
    assert (done.returncode, json.loads(done.stdout)) == (
        0,
        {
            "schema": "archsweep.ls/1",
            "columns": ["seed", "arch.depth"],
            "trials": [{"seed": 0, "arch.depth": 6}],
            "num_left_out": 0,
        },
    )


def test_two_formats_at_once_are_refused(archsweep, run_dir):
    done = archsweep("ls", run_dir, "--csv", "--json", cwd=run_dir)
    assert done.returncode == 2
    assert "one format at a time" in done.stderr


def test_differences_for_machines_are_strict_json(archsweep, run_dir):
    """Python would print a bare NaN, which no other reader takes."""
    with LedgerWriter(run_dir) as ledger:
        odd = {"trial_id": "odd-0", "variant_id": "id-odd", "variant": "odd", "seed": 0, "spec": {"seed": 0}}
        ledger.append(TrialRecord.model_validate({**odd, "status": "completed", "metrics": {"top1": float("nan")}}))
    done = archsweep("diff", run_dir, "deep", "odd", "--json", cwd=run_dir)
    found = json.loads(done.stdout, parse_constant=pytest.fail)
    assert (found["a"], found["b"]) == (
        {"name": "deep", "id": "id-deep", "trials": ["deep-0"]},
        {"name": "odd", "id": "id-odd", "trials": ["odd-0"]},
    )
    assert found["spec"] == [{"name": "arch.depth", "a": 6, "b": None, "delta": None, "unit": ""}]
    assert found["outcome"] == [{"name": "top1", "a": 91.5, "b": None, "delta": None, "unit": "%"}]
    assert found["paired"] == [{"metric": "top1", "unit": "%", "by_seed": [[0, None]], "mean": None, "std": None}]
    assert found["surroundings"] == []
