"""The summaries of a ledger say what its records say, whatever becomes of the ledger."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from results import LedgerWriter, Run, RunFollower, RunSummary, TrialRecord, open_summary, run_status, write_plan
from results.plan.run_plan import PlannedVariant, RunPlan
from results.store.record_summary import summarize
from search_space.parsing.errors import SpecError

STATUSES = ("completed", "completed", "completed", "failed", "pruned", "preempted", "infeasible")


def made(number: int, *, status: str = "completed", **fields) -> TrialRecord:
    base = {
        "trial_id": f"t{number}",
        "variant_id": f"id-{'ab'[number % 2]}",
        "variant": "ab"[number % 2],
        "seed": number // 2,
        "spec": {},
        "status": status,
        "metrics": {"top1": (number * 37 % 101) / 7} if status == "completed" else {},
        "finished_at": "2030-01-01T00:00:00+00:00",
        "failure": {"type": "E", "message": "m\nn", "traceback": "t"} if status == "failed" else None,
    }
    return TrialRecord.model_validate({**base, **fields})


def new_run(path: Path) -> Path:
    variants = [PlannedVariant(name=name, variant_id=f"id-{name}", is_baseline=name == "a") for name in "ab"]
    seeds = list(range(800))
    write_plan(path, RunPlan(sweep="long", design="list", metric="top1", seeds=seeds, variants=variants, epochs=4))
    return path


def lines_of(*records: TrialRecord) -> bytes:
    return b"".join(record.model_dump_json().encode() + b"\n" for record in records)


def opened(look: Callable[[], Run | RunSummary]) -> tuple[Run | RunSummary | None, str]:
    try:
        return look(), ""
    except SpecError as err:
        return None, str(err)


def assert_same(run_dir: Path, follower: RunFollower) -> None:
    """By summaries as by whole records, read at once or bit by bit: the same status, or the same refusal."""
    whole, refusal = opened(lambda: Run.open(run_dir))
    if whole is None:
        # A status counts trials and shows no mean: it does not verify that a record is the result of its trial.
        if "not a result of its trial" not in refusal:
            assert opened(lambda: open_summary(run_dir)) == opened(follower.look) == (None, refusal)
        return
    for seen in (open_summary(run_dir), follower.look()):
        # As text: a metric that is no number is not equal to itself.
        assert repr(list(seen.records)) == repr([summarize(record) for record in whole.records])
        assert run_status(seen, now=0.0) == run_status(whole, now=0.0)


@st.composite
def attempts(draw) -> bytes:
    """Up to 60 records: some trials twice or more, of any status, some in the same second."""
    count = draw(st.integers(0, 60))
    start = draw(st.integers(0, 600))
    stride = draw(st.sampled_from([1, 7, 97]))
    pattern = draw(st.lists(st.sampled_from(STATUSES), min_size=1, max_size=5))
    odd = draw(st.sampled_from([{}, {"metrics": {"top1": float("nan"), "val_loss": 1e308}}, {"role": "retune"}]))
    records = [
        made(start + index * stride % 1500, status=pattern[index % len(pattern)], attempt=1 + index % 3)
        for index in range(count)
    ]
    if records and odd:
        records[-1] = records[-1].model_copy(update=odd)
    return lines_of(*records)


CHANGES = st.one_of(
    st.tuples(st.just("append"), attempts()),
    st.tuples(st.just("replace"), attempts()),
    st.tuples(st.just("tear"), st.integers(1, 300)),
    st.tuples(st.just("truncate"), st.floats(0, 1)),
    st.tuples(st.just("edit"), st.floats(0, 1)),
    st.tuples(st.just("blank line"), st.none()),
    st.tuples(st.just("left-over index"), st.binary(max_size=50)),
    st.tuples(st.just("driver starts"), st.none()),
)


@settings(max_examples=60, deadline=None)
@given(first=attempts(), changes=st.lists(CHANGES, max_size=4))
def test_whatever_becomes_of_a_ledger_its_summaries_agree_with_its_records(first, changes):
    with tempfile.TemporaryDirectory() as directory:
        run_dir = new_run(Path(directory) / "run")
        (run_dir / "ledger.jsonl").write_bytes(first)
        follower = RunFollower(run_dir)
        assert_same(run_dir, follower)
        for kind, how in changes:
            change(run_dir, kind, how)
            if kind not in ("append", "tear"):  # a follower does not see every change in place
                follower = RunFollower(run_dir)
            assert_same(run_dir, follower)


def change(run_dir: Path, kind: str, how) -> None:
    ledger = run_dir / "ledger.jsonl"
    data = ledger.read_bytes()
    if kind == "append":
        ledger.write_bytes(data + how)
    elif kind == "replace":
        ledger.write_bytes(how)
    elif kind == "tear":
        ledger.write_bytes(data + lines_of(made(1))[:how])
    elif kind == "truncate":
        ledger.write_bytes(data[: int(len(data) * how)])
    elif kind == "edit":
        middle = int(len(data) * how)
        ledger.write_bytes(data[:middle] + data[middle:].replace(b'"seed":1', b'"seed":3', 1))
    elif kind == "blank line":
        ledger.write_bytes(b"\n" + data)
    elif kind == "left-over index":  # of an archsweep before 0.2
        (run_dir / "ledger.index").write_bytes(how)
    elif kind == "driver starts":
        try:
            with LedgerWriter(run_dir) as writer:
                writer.append(made(3))
        except SpecError:
            pass  # an earlier change made the ledger unreadable


def test_a_left_over_index_is_not_touched(tmp_path):
    """Earlier versions kept `ledger.index` beside a long ledger; this one reads, writes and removes none."""
    run_dir = new_run(tmp_path / "run")
    (run_dir / "ledger.index").write_text("of another time\n")
    with LedgerWriter(run_dir) as ledger:
        for number in range(600):
            ledger.append(made(number))
    assert len(open_summary(run_dir).records) == 600
    names = sorted(path.name for path in run_dir.iterdir())
    assert names == ["driver.lock", "ledger.index", "ledger.jsonl", "plan.json"]
    assert (run_dir / "ledger.index").read_text() == "of another time\n"


def test_records_without_their_curves_are_else_the_same(tmp_path):
    """Those of a table, whether msgspec or pydantic read them."""
    run_dir = new_run(tmp_path / "run")
    curve = [{"epoch": 1.0, "top1": 50.0}]
    records = [made(0, curve=curve), made(1, curve=[{"epoch": 1.0, "top1": float("nan")}]), made(2, power_w=300)]
    (run_dir / "ledger.jsonl").write_bytes(lines_of(*records))
    without = [record.model_copy(update={"curve": []}) for record in records]
    assert list(Run.open(run_dir, curves=False).records) == without
