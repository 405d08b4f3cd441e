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
    assert (done.returncode, json.loads(done.stdout)) == (0, [{"seed": 0, "arch.depth": 6}])


def test_two_formats_at_once_are_refused(archsweep, run_dir):
    done = archsweep("ls", run_dir, "--csv", "--json", cwd=run_dir)
    assert done.returncode == 2
    assert "one format at a time" in done.stderr
