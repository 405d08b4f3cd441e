"""List of trials (`archsweep ls`): filters, sorting, columns, output formats."""

from __future__ import annotations

import csv
import io

import pytest

from results import Driver, ProgressEvent, Run
from results.views.listing import (
    default_columns,
    listed,
    num_left_out,
    write_listing_csv,
    write_listing_text,
)
from search_space import SpecError


def spec(seed, depth, lr):
    return {"seed": seed, "arch": {"depth": depth, "attention": {"name": "softmax"}}, "train": {"lr": lr}}


@pytest.fixture
def run(tmp_path, record, plan, planned):
    failure = {"type": "OutOfMemory", "message": "CUDA out of memory"}
    records = [
        record("baseline", 0, 91.5, spec=spec(0, 4, 0.01), train_seconds=3.0),
        record("baseline", 1, 90.0, spec=spec(1, 4, 0.01), train_seconds=2.0),
        record("deep", 0, spec=spec(0, 6, 0.01), failure=failure),
        record("deep", 0, 93.25, spec=spec(0, 6, 0.01), attempt=2, train_seconds=5.0),
        record("deep", 1, spec=spec(1, 6, 0.02), failure=failure),
        record("tuned", 7, 99.0, spec=spec(7, 6, 0.5), role="retune"),
    ]
    return Run(tmp_path, plan(planned("baseline"), planned("deep")), tuple(records))


def names(rows):
    return [row.value("trial_id") for row in rows]


def test_a_list_has_the_deciding_records_in_the_order_of_the_ledger(run):
    assert names(listed(run)) == ["baseline-0", "baseline-1", "deep-0", "deep-1"]
    assert names(listed(run, every_attempt=True)) == [
        "baseline-0", "baseline-1", "deep-0", "deep-0", "deep-1", "tuned-7",
    ]  # fmt: skip


def test_trials_that_the_plan_no_longer_has_are_listed_only_on_request(tmp_path, record, plan, planned):
    """An edit of the baseline leaves trials of the same name behind, and trials that never ended."""
    old = {"variant_id": "id-old", "spec": spec(0, 9, 0.01)}
    records = (
        record("baseline", 0, 50.0, trial_id="old-0", **old),
        record("baseline", 7, 50.0, trial_id="seed-7"),
        record("baseline", 0, 90.0),
        record("baseline", 1, status="preempted", trial_id="old-1", **old),
    )
    begun = [ProgressEvent(1.0, "old-1", "baseline", 1, "start"), ProgressEvent(1.0, "new-2", "baseline", 2, "start")]
    begun += [ProgressEvent(1.0, "dropped-0", "wide", 0, "start")]
    edited = plan(planned("baseline"), planned("wide", dropped="why"))
    run = Run(tmp_path, edited, records, progress=tuple(begun), driver=Driver(pid=1))
    assert names(listed(run)) == ["baseline-0", "new-2"]
    assert num_left_out(run) == 2  # that ended
    shown = listed(run, columns=["in_plan"], every_attempt=True)
    assert [row.value("trial_id") for row in shown if row.value("in_plan")] == ["baseline-0", "new-2"]
    assert set(names(shown)) == {"old-0", "seed-7", "baseline-0", "old-1", "new-2", "dropped-0"}
    assert names(listed(run, filter_="not in_plan and seed == 0", every_attempt=True)) == ["old-0", "dropped-0"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("top1 > 90", ["baseline-0", "deep-0"]),
        ("top1 >= 90 and arch.depth == 4", ["baseline-0", "baseline-1"]),
        ("arch.depth == 6 or train_seconds < 2.5", ["baseline-1", "deep-0", "deep-1"]),
        ("status == 'failed'", ["deep-1"]),
        ("failure == 'OutOfMemory'", ["deep-1"]),
        ("train.lr * 2 == 0.04", ["deep-1"]),
        ("variant in ('deep', 'wide')", ["deep-0", "deep-1"]),
        ("not top1 > 90", ["baseline-1"]),  # a trial without a top1 matches no expression about it
        ("train_seconds < 2.5 or arch.depth == 6", ["baseline-1", "deep-0", "deep-1"]),  # in either order
        ("top1 > 90 and arch.depth == 4", ["baseline-0"]),
    ],
)
def test_filters_are_expressions_over_names(run, expression, expected):
    assert names(listed(run, filter_=expression)) == expected


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        (["top1"], ["baseline-1", "baseline-0", "deep-0", "deep-1"]),
        (["-top1"], ["deep-0", "baseline-0", "baseline-1", "deep-1"]),  # no value: last, both ways
        (["seed", "-variant"], ["deep-0", "baseline-0", "deep-1", "baseline-1"]),
        (["-train.lr", "seed"], ["deep-1", "baseline-0", "deep-0", "baseline-1"]),
    ],
)
def test_sorting_by_several_names(run, sort, expected):
    assert names(listed(run, sort=sort)) == expected


def test_text_is_aligned_with_numbers_to_the_right(run):
    stream = io.StringIO()
    columns = ["variant", "seed", "top1", "arch.attention"]
    write_listing_text(listed(run, sort=["-top1"]), columns, stream)
    assert stream.getvalue() == (
        "variant   seed   top1  arch.attention\n"
        'deep         0  93.25  {"name": "softmax"}\n'
        'baseline     0   91.5  {"name": "softmax"}\n'
        'baseline     1     90  {"name": "softmax"}\n'
        'deep         1         {"name": "softmax"}\n'
    )


def test_a_hostile_name_stays_on_its_line(run, record, plan, planned, tmp_path):
    hostile = Run(tmp_path, plan(planned("a\x1b[2J\nb")), (record("a\x1b[2J\nb", 0, 1.0),))
    stream = io.StringIO()
    write_listing_text(listed(hostile), ["variant"], stream)
    assert stream.getvalue() == "variant\na\\x1b[2J b\n"


def test_csv_holds_all_digits(run):
    records, columns = listed(run, filter_="arch.depth == 6", sort=["seed"]), ["trial_id", "top1", "train.lr"]
    as_csv = io.StringIO()
    write_listing_csv(records, columns, as_csv)
    assert list(csv.reader(io.StringIO(as_csv.getvalue()))) == [
        columns, ["deep-0", "93.25", "0.01"], ["deep-1", "", "0.02"],
    ]  # fmt: skip


def test_all_unknown_names_are_reported_at_once(run):
    with pytest.raises(SpecError) as caught:
        listed(run, columns=["variant", "top_1", "lr"], sort=["-sead"], filter_="arch.dept == 6")
    assert [(problem.where, problem.message, problem.hint) for problem in caught.value.problems] == [
        ("--columns", "no trial has a 'top_1'", "Did you mean 'top1'?"),
        ("--columns", "no trial has a 'lr'", "Did you mean 'train.lr'?"),
        ("--sort", "no trial has a 'sead'", "Did you mean 'seed'?"),
        ("--filter", "no trial has a 'arch.dept'", "Did you mean 'arch.depth'?"),
    ]


def test_without_a_similar_name_the_siblings_are_listed(run):
    with pytest.raises(SpecError) as caught:
        listed(run, columns=["arch.zzz"])
    assert str(caught.value) == "--columns: no trial has a 'arch.zzz'\n  known: arch.attention, arch.depth"


def test_the_metric_is_known_even_if_no_trial_has_it(tmp_path, record, plan, planned):
    failed = record("deep", 1, failure={"type": "OutOfMemory", "message": "full"})
    run = Run(tmp_path, plan(planned(failed.variant)), (failed,))
    assert names(listed(run, sort=["-top1"], columns=default_columns(run))) == ["deep-1"]
    assert listed(run, filter_="top1 > 0") == []


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("top1", "'top1' of trial baseline-0 is neither true nor false, but 91.5"),
        ("arch.attention == 'softmax'", "'arch.attention' is a whole section, not a value"),
        ("top1 >", "'top1 >': it cannot be read: invalid syntax"),
        ("__import__('os')", "\"__import__('os')\": it calls '__import__'"),
        (
            "variant > 3",
            "'variant > 3' of trial baseline-0 cannot be evaluated: "
            "'>' not supported between instances of 'str' and 'int'",
        ),
    ],
)
def test_an_invalid_filter_is_refused(run, expression, message):
    with pytest.raises(SpecError) as caught:
        listed(run, filter_=expression)
    assert [problem.message for problem in caught.value.problems] == [message]


def test_a_run_without_records_lists_nothing(tmp_path, plan):
    empty = Run(tmp_path, plan(), ())
    assert listed(empty, sort=["-top1"], columns=default_columns(empty)) == []


def test_unfinished_trials_are_listed_last(tmp_path, record, plan, planned):
    """Their spec is that of another seed of their variant; their metrics are not final and not shown."""
    begun = [
        ProgressEvent(1.0, "run-1", "baseline", 1, "start"),
        ProgressEvent(1.5, "run-1", "baseline", 1, "place", worker="node7"),
        ProgressEvent(2.0, "run-1", "baseline", 1, "epoch", {"epoch": 1, "top1": 99.0}),
        ProgressEvent(3.0, "gone-2", "unheard", 2, "start"),
        ProgressEvent(4.0, "gone-2", "unheard", 2, "end"),
    ]
    done = record("baseline", 0, 90.0, spec=spec(0, 4, 0.01))
    run = Run(
        tmp_path, plan(planned("baseline"), planned("unheard")), (done,), progress=tuple(begun), driver=Driver(pid=1)
    )
    columns = ["trial_id", "status", "epochs", "seed", "arch.depth", "host", "top1"]
    stream = io.StringIO()
    write_listing_csv(listed(run, columns=columns), columns, stream)
    assert stream.getvalue().splitlines() == [
        "trial_id,status,epochs,seed,arch.depth,host,top1",
        "baseline-0,completed,0,0,4,,90.0",
        "run-1,running,1,1,4,node7,",
        "gone-2,interrupted,0,2,,,",
    ]
    assert names(listed(run, filter_="status == 'running'")) == ["run-1"]
