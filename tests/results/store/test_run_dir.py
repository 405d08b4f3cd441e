"""A run directory as other shells see it: opening, status, tables, long CSVs, also while a driver is at work."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
from statistics import fmean

import pytest

from results import (
    Failure,
    LedgerWriter,
    ProgressEvent,
    ProgressWriter,
    Run,
    ablation_table,
    format_status,
    run_status,
    write_plan,
    write_tables,
)
from search_space.parsing.errors import SpecError


def _make_run(path, plan, records, events=()):
    write_plan(path, plan)
    with LedgerWriter(path) as ledger, ProgressWriter(path) as progress:
        for record in records:
            ledger.append(record)
        for event in events:
            progress.append(event)


def _events(variant, seed, *steps, start=0.0):
    """A start, one epoch event per number, `end` where asked for; ten seconds apart."""
    events = [ProgressEvent(start, f"{variant}-{seed}", variant, seed, "start", worker="worker 1")]
    for index, step in enumerate(steps, start=1):
        t = start + 10.0 * index
        if step == "end":
            events.append(ProgressEvent(t, f"{variant}-{seed}", variant, seed, "end"))
        else:
            metrics = {"epoch": step, "top1": 50.0 + step}
            events.append(ProgressEvent(t, f"{variant}-{seed}", variant, seed, "epoch", metrics, "worker 1"))
    return events


def _rows(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_plan_and_records_are_read_back(tmp_path, quickstart_plan, quickstart_records):
    _make_run(tmp_path, quickstart_plan, quickstart_records)
    run = Run.open(tmp_path)
    assert run.plan == quickstart_plan
    assert list(run.records) == quickstart_records
    assert (run.torn, run.driver, run.unfinished) == (False, None, ())


def test_a_directory_that_is_no_run_is_refused_with_runs_nearby(tmp_path, monkeypatch, plan):
    monkeypatch.chdir(tmp_path)
    write_plan("runs/quickstart", plan())
    write_plan("runs/search", plan())
    with pytest.raises(SpecError) as caught:
        Run.open("runs/quickstrat")
    contains = "a run directory contains plan.json and ledger.jsonl"
    assert str(caught.value) == (
        f"runs/quickstrat: no run: nothing there\n  {contains}\n"
        "  runs nearby: runs/quickstart, runs/search.  Did you mean 'runs/quickstart'?"
    )
    with pytest.raises(SpecError) as caught:
        Run.open("sweeps/quickstart.yaml")
    assert str(caught.value) == (
        f"sweeps/quickstart.yaml: no run: nothing there\n  {contains}\n  Did you mean 'runs/quickstart'?"
    )
    with pytest.raises(SpecError) as caught:
        Run.open("runs")
    assert str(caught.value) == (
        f"runs: no run: a directory without one\n  {contains}\n  runs nearby: runs/quickstart, runs/search."
    )


def test_where_no_run_is_nearby_the_message_says_how_to_make_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError) as caught:
        Run.open("elsewhere")
    assert str(caught.value) == (
        "elsewhere: no run: nothing there\n  a run directory contains plan.json and ledger.jsonl\n"
        "  there is no run nearby; `archsweep run SWEEP` makes one"
    )


def test_a_ledger_without_plan_is_distinguished(tmp_path):
    (tmp_path / "ledger.jsonl").write_text("")
    with pytest.raises(SpecError) as caught:
        Run.open(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: plan.json is missing, although there is a ledger\n"
        "  `archsweep run` with the same sweep writes it again; the ledger is not touched"
    )


def test_a_plan_of_a_newer_archsweep_is_refused(tmp_path, plan):
    write_plan(tmp_path, plan(version=3))
    with pytest.raises(SpecError) as caught:
        Run.open(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/plan.json: written by a newer archsweep (format 3; this one reads up to 2)\n"
        "  upgrade with `pip install --upgrade archsweep`"
    )


def test_tables_are_the_same_bytes_for_the_same_records(tmp_path, quickstart_plan, quickstart_records):
    names = ["table.csv", "table.md", "table.tex", "table.html", "trials.csv", "curves.csv"]
    rng = random.Random(2)
    contents = []
    for number in range(4):
        path = tmp_path / str(number)
        _make_run(path, quickstart_plan, quickstart_records)
        assert [written.name for written in write_tables(path)] == names
        contents.append([(path / name).read_bytes() for name in names])
        rng.shuffle(quickstart_records)
    assert contents[1:] == contents[:-1]
    assert not [left for left in (tmp_path / "0").iterdir() if left.name.startswith(".")]


def test_a_run_of_shapley_has_its_values_as_a_file(tmp_path, plan, planned, record):
    """90, 92, 91 and 95: 3 and 2; two seeds without any spread have intervals of no width and no p-value."""
    values = {"-": 90.0, "a": 92.0, "b": 91.0, "ab": 95.0}
    variants = [
        planned(name, components={"a": "a" in name, "b": "b" in name}, is_baseline=name == "-") for name in values
    ]
    records = [record(name, seed, value + seed) for name, value in values.items() for seed in (0, 1)]
    _make_run(tmp_path, plan(*variants, design="shapley", seeds=[0, 1]), records)
    assert write_tables(tmp_path)[-1] == tmp_path / "shapley.csv"
    assert (tmp_path / "shapley.csv").read_text() == (
        "component,seeds,value,low,high,level,p,p_corrected,correction,orders,order_error,alone,alone_low,alone_high,"
        "in_full,in_full_low,in_full_high,beyond_alone,beyond_alone_low,beyond_alone_high,beyond_in_full,"
        "beyond_in_full_low,beyond_in_full_high\n"
        "a,2,3.0,3.0,3.0,0.95,,,Holm,0,,2.0,2.0,2.0,4.0,4.0,4.0,1.0,1.0,1.0,-1.0,-1.0,-1.0\n"
        "b,2,2.0,2.0,2.0,0.95,,,Holm,0,,1.0,1.0,1.0,3.0,3.0,3.0,1.0,1.0,1.0,-1.0,-1.0,-1.0\n"
    )


def test_trials_csv_has_one_line_per_planned_trial_with_what_it_changed(tmp_path, quickstart_plan, quickstart_records):
    _make_run(tmp_path, quickstart_plan, quickstart_records)
    write_tables(tmp_path)
    rows = _rows(tmp_path / "trials.csv")
    assert [(row["variant"], row["seed"], row["status"]) for row in rows][:3] == [
        ("baseline", "0", "completed"),
        ("baseline", "1", "completed"),
        ("baseline", "2", "completed"),
    ]
    assert len(rows) == 11
    assert "old idea" not in {row["variant"] for row in rows}  # the plan does not have it
    refiner = next(row for row in rows if row["variant"].startswith("attention=refiner"))
    assert refiner["arch.attention"] == '{"expansion":6,"name":"refiner"}'
    assert refiner["top1"] == "97.0"
    failed = next(row for row in rows if row["status"] == "failed")
    assert (failed["failure_type"], failed["failure_message"], failed["top1"]) == (
        "NonFiniteLoss",
        "training loss is nan in epoch 3",
        "",
    )


def test_what_the_model_decides_is_a_value_of_trials_csv(tmp_path, plan, planned, record):
    """An empty cell is lost in a groupby: `depth` and an option of timm's that the baseline does not write."""
    settings = {
        "baseline": ({"depth": None, "options": {}, "attention": {"name": "softmax"}}, {}),
        "depth=6": ({"depth": 6, "options": {}, "attention": {"name": "softmax"}}, {"arch.depth": 6}),
        "qk_norm": ({"depth": None, "options": {"qk_norm": True}}, {"arch.options.qk_norm": True}),
        "expansion=2": ({"attention": {"expansion": 2.0}}, {"arch.attention.expansion": 2.0}),
    }
    variants = [planned(name, changes=changes, is_baseline=not changes) for name, (_, changes) in settings.items()]
    write_plan(tmp_path, plan(*variants, seeds=[0]))
    with LedgerWriter(tmp_path) as ledger:
        for name, (arch, changes) in settings.items():
            ledger.append(record(name, 0, 80.0, spec={"seed": 0, "arch": arch}, changes=changes))
        write_tables(tmp_path)
    rows = {row["variant"]: row for row in _rows(tmp_path / "trials.csv")}
    assert [rows[name]["arch.depth"] for name in ("baseline", "depth=6", "qk_norm")] == ["default", "6", "default"]
    assert [rows[name]["arch.options.qk_norm"] for name in ("baseline", "depth=6", "qk_norm")] == [
        *("default", "default", "true")
    ]
    assert rows["baseline"]["arch.attention.expansion"] == ""  # softmax has none


def test_means_of_trials_csv_are_those_of_the_table_and_no_row_lacks_a_setting(tmp_path, plan, planned, record):
    """Earlier forms of the sweep left trials of the same name; the baseline has what the variants change, too."""

    def spec(seed, lr, attention):
        return {"seed": seed, "arch": {"attention": attention}, "train": {"lr": lr}}

    refiner = {"name": "refiner", "expansion": 2.0}
    settings = {
        "baseline": (0.01, {"name": "softmax"}, {}),
        "lr=0.1": (0.1, {"name": "softmax"}, {"train.lr": 0.1}),
        "expansion=2": (0.01, refiner, {"arch.attention": "refiner", "arch.attention.expansion": 2.0}),
    }
    variants = [planned(name, changes=changes, is_baseline=not changes) for name, (*_, changes) in settings.items()]
    write_plan(tmp_path, plan(*variants, seeds=[0, 1]))
    with LedgerWriter(tmp_path) as ledger, ProgressWriter(tmp_path) as progress:
        for number, (name, (lr, attention, changes)) in enumerate(settings.items()):
            for seed in (0, 1) if number < 2 else (0,):
                new = {"spec": spec(seed, lr, attention), "changes": changes}
                ledger.append(record(name, seed, 80.0 + number + seed, **new))
                old = {
                    "trial_id": f"old-{number}-{seed}",
                    "variant_id": f"old-{number}",
                    "spec": spec(seed, 9, attention),
                }
                ledger.append(record(name, seed, 10.0, **old))
        for event in _events("expansion=2", 1, 1):
            progress.append(event)
        write_tables(tmp_path)
    rows = _rows(tmp_path / "trials.csv")
    assert [(row["variant"], row["seed"]) for row in rows] == [(name, seed) for name in settings for seed in "01"]
    found = [(row["train.lr"], row["arch.attention"], row["arch.attention.expansion"]) for row in rows]
    assert found[::2] == found[1::2] == [("0.01", "softmax", ""), ("0.1", "softmax", ""), ("0.01", "refiner", "2.0")]
    means = [fmean(float(row["top1"]) for row in rows if row["variant"] == name and row["top1"]) for name in settings]
    table = ablation_table(Run.open(tmp_path).plan, Run.open(tmp_path).records)
    assert means == [row.metrics["top1"].mean for row in table.rows] == [80.5, 81.5, 82.0]


def test_a_running_trial_is_in_the_csvs_with_what_it_has(tmp_path, plan, planned, record):
    done = record("a", 0, 91.0, epochs=2, curve=[{"epoch": 1, "top1": 80.0}, {"epoch": 2, "top1": 91.0}])
    write_plan(tmp_path, plan(planned("a", is_baseline=True)))
    with LedgerWriter(tmp_path) as ledger, ProgressWriter(tmp_path) as progress:
        ledger.append(done)
        for event in [*_events("a", 0, 1, 2, "end"), *_events("a", 1, 1, 2, 3)]:
            progress.append(event)
        write_tables(tmp_path)
        assert [(row["seed"], row["status"], row["epochs"]) for row in _rows(tmp_path / "trials.csv")] == [
            ("0", "completed", "2"),
            ("1", "running", "3"),
        ]
    write_tables(tmp_path)  # the driver is gone
    assert [(row["seed"], row["status"]) for row in _rows(tmp_path / "trials.csv")][1] == ("1", "interrupted")
    assert [(row["seed"], row["epoch"], row["top1"]) for row in _rows(tmp_path / "curves.csv")] == [
        ("0", "1", "80.0"),
        ("0", "2", "91.0"),
        ("1", "1", "51.0"),
        ("1", "2", "52.0"),
        ("1", "3", "53.0"),
    ]


def test_status_counts_and_estimates(tmp_path, plan, planned, record):
    """Six trials: two done in 30 s each, one failed in 20 s (mean 80 / 3 s), one at work since 10 s, two waiting. One
    runs at a time: 2 * 80 / 3 + (80 / 3 - 10) = 70 s."""
    variants = [planned("a", is_baseline=True), planned("b")]
    records = [
        record("a", 0, 91.0),
        record("a", 1, 93.0),
        record("a", 2, failure=Failure(type="E", message="m")),
    ]
    write_plan(tmp_path, plan(*variants))
    events = [
        *_events("a", 0, 1, 2, "end"),
        *_events("a", 1, 1, 2, "end", start=100.0),
        *_events("a", 2, 1, "end", start=200.0),
        *_events("b", 0, 1, start=300.0),
    ]
    with LedgerWriter(tmp_path) as ledger, ProgressWriter(tmp_path) as progress:
        for one in records:
            ledger.append(one)
        for event in events:
            progress.append(event)
        status = run_status(Run.open(tmp_path), now=310.0)
    assert (status.num_planned, status.num_completed, status.num_failed, status.num_missing) == (6, 2, 1, 3)
    assert [(trial.variant, trial.epoch) for trial in status.running] == [("b", 1)]
    assert status.eta_seconds == pytest.approx(70.0)
    assert status.best is not None
    assert (status.best.variant, status.best.seed, status.best.value) == ("a", 1, 93.0)
    assert format_status(status) == (
        "refiner_expansion: 3 of 6 trials done (50 %)\n"
        "  2 completed, 1 failed, 1 running, 2 missing\n"
        "  best so far: top1 93, a, seed 1\n"
        f"  driver: {status.driver}\n"
        "  time left: about 1 min 10 s\n"
        "  running: b, seed 0, epoch 1/20, worker 1\n"
    )
    later = run_status(Run.open(tmp_path), now=310.0)
    assert format_status(later) == (
        "refiner_expansion: 3 of 6 trials done (50 %)\n"
        "  2 completed, 1 failed, 1 interrupted, 2 missing\n"
        "  best so far: top1 93, a, seed 1\n"
        "  driver: none at work; `archsweep run` with the same sweep continues\n"
    )


def test_until_a_trial_has_ended_the_time_left_follows_from_the_latest_epoch(tmp_path, plan, planned):
    """15 s of 20 epochs: 300 s a trial. One has run for 25 s, two wait: 2 * 300 + 275 = 875 s."""
    write_plan(tmp_path, plan(planned("a")))
    with LedgerWriter(tmp_path), ProgressWriter(tmp_path) as progress:
        progress.append(ProgressEvent(0.0, "a-0", "a", 0, "start"))
        progress.append(ProgressEvent(4.0, "a-0", "a", 0, "place", worker="node7"))
        assert run_status(Run.open(tmp_path), now=5.0).eta_seconds is None
        for epoch, t in ((1, 10.0), (2, 25.0)):
            progress.append(ProgressEvent(t, "a-0", "a", 0, "epoch", {"epoch": epoch, "top1": 50.0}))
        assert run_status(Run.open(tmp_path), now=25.0).eta_seconds == 875.0


def test_status_of_a_finished_run_with_failures_names_the_way_on(tmp_path, plan, planned, record):
    _make_run(tmp_path, plan(planned("a", is_baseline=True), seeds=[0]), [record("a", 0)])
    assert format_status(run_status(Run.open(tmp_path), now=0.0)) == (
        "refiner_expansion: 1 of 1 trials done (100 %)\n"
        "  0 completed, 1 failed\n"
        "  driver: none at work; `archsweep run --retry failed` with the same sweep runs the failed trials again\n"
    )


def test_status_while_arms_are_tuned(tmp_path, plan, planned, record):
    """Two variants, three settings each with seed 100, then two seeds each: 6 and 4 trials. Two done in 30 s, one at
    work since 10 s, 3 + 4 waiting: 7 * 30 + 20 = 230 s."""
    retuned = {"parameters": ["train.lr"], "num_trials": 3, "seeds": [100], "sampler": "random"}
    variants = [planned("a", is_baseline=True), planned("b"), planned("odd", dropped="too large")]
    write_plan(tmp_path, plan(*variants, seeds=[0, 1], retuned=retuned))
    tried = [record("a [lr=1]", 100, 99.0, role="retune"), record("b [lr=1]", 100, role="retune")]
    with LedgerWriter(tmp_path) as ledger, ProgressWriter(tmp_path) as progress:
        for one in tried:
            ledger.append(one)
        for event in [
            *_events("a [lr=1]", 100, 1, 2, "end"),
            *_events("b [lr=1]", 100, 1, 2, "end", start=100.0),
            *_events("a [lr=2]", 100, 1, start=300.0),
        ]:
            progress.append(event)
        status = run_status(Run.open(tmp_path), now=310.0)
        write_tables(tmp_path)
        assert format_status(status) == (
            "refiner_expansion: tuning the variants, 2 of at most 6 trials done (33 %)\n"
            "  1 completed, 1 failed, 1 running\n"
            "  then 4 trials to compare them\n"
            f"  driver: {status.driver}\n"
            "  time left: about 3 min 50 s\n"
            "  running: a [lr=2], seed 100, epoch 1/20, worker 1\n"
        )
        rows = _rows(tmp_path / "trials.csv")
        assert rows == []  # `archsweep ls --all` lists trials that tune
        ledger.append(record("a", 0, 90.0))
    lines = format_status(run_status(Run.open(tmp_path), now=310.0)).splitlines()
    assert lines[:3] == [
        "refiner_expansion: 1 of 4 trials done (25 %)",
        "  1 completed, 3 missing",
        "  before: 2 trials that tuned the variants",
    ]


def test_infeasible_proposals_cost_nothing_of_a_search_budget(tmp_path, plan, record):
    records = [record("a", 0, 90.0), record("b", 0, status="infeasible")]
    _make_run(tmp_path, plan(design="search", num_trials=4, seeds=[0]), records)
    status = run_status(Run.open(tmp_path), now=0.0)
    assert (status.num_planned, status.num_completed, status.num_infeasible, status.num_missing) == (5, 1, 1, 3)


def test_a_search_does_not_wait_for_the_other_seeds_of_a_proposal_that_failed(tmp_path, plan, record):
    """Two proposals of three seeds: of the one that failed, seed 2 is still at work and seed 1 is never trained."""
    records = [record("a", seed, 90.0) for seed in range(3)] + [record("b", 0, status="failed")]
    _make_run(tmp_path, plan(design="search", num_trials=6, seeds=[0, 1, 2]), records, _events("b", 2, 1))
    status = run_status(Run.open(tmp_path), now=0.0)
    assert (status.num_planned, status.num_completed, status.num_failed, status.num_interrupted) == (4, 3, 1, 0)
    with LedgerWriter(tmp_path):
        status = run_status(Run.open(tmp_path), now=0.0)
    assert (status.num_planned, status.num_running, status.num_missing) == (5, 1, 1)


def test_a_trial_that_is_retried_is_running_again(tmp_path, plan, planned, record):
    """It failed at second 50 and was started again at second 100."""
    failed = record("a", 0, finished_at="1970-01-01T00:00:50+00:00")
    write_plan(tmp_path, plan(planned("a", is_baseline=True), seeds=[0]))
    with LedgerWriter(tmp_path) as ledger, ProgressWriter(tmp_path) as progress:
        ledger.append(failed)
        for event in [*_events("a", 0, 1, "end"), *_events("a", 0, 1, start=100.0)]:
            progress.append(event)
        assert [trial.epoch for trial in Run.open(tmp_path).unfinished] == [1]


def test_unreadable_progress_costs_only_itself(tmp_path, plan, planned):
    """A driver killed while it wrote; the next one goes on in the same file."""
    write_plan(tmp_path, plan(planned("a")))
    with ProgressWriter(tmp_path) as progress:
        progress.append(_events("a", 0)[0])
    with open(tmp_path / "progress.jsonl", "a") as stream:
        stream.write('{"t": 3, "tri')
    assert [trial.seed for trial in Run.open(tmp_path).unfinished] == [0]
    with ProgressWriter(tmp_path) as progress:
        progress.append(_events("a", 1)[0])
    assert [trial.seed for trial in Run.open(tmp_path).unfinished] == [0, 1]


@pytest.mark.parametrize("epoch", ["x", None, [], -1, 10**400, float("nan"), float("inf")])
def test_progress_with_an_absurd_epoch_is_passed_over(tmp_path, plan, planned, epoch):
    """Found by benchmarks/fuzz.py."""
    write_plan(tmp_path, plan(planned("a", is_baseline=True), seeds=[0]))
    start, good, *_ = (vars(event) for event in _events("a", 0, 1))
    bad = {**good, "metrics": {**good["metrics"], "epoch": epoch}}
    (tmp_path / "progress.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (start, bad, good)))
    (trial,) = Run.open(tmp_path).unfinished
    assert trial.epoch == 1


def test_results_load_nothing_heavy():
    """A fresh interpreter: `archsweep table` must start in well under a second."""
    script = (
        "import sys, results; "
        "print([name for name in ('torch', 'ray', 'optuna', 'pandas', 'scipy', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_table_needs_no_training_library(tmp_path, quickstart_plan, quickstart_records):
    _make_run(tmp_path, quickstart_plan, quickstart_records)
    script = (
        "import sys, results; results.write_tables(sys.argv[1]); "
        "print([name for name in ('torch', 'ray', 'optuna', 'pandas', 'scipy.stats') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
