"""A long ledger is looked through by its index, and nobody can tell from the numbers."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results import LedgerWriter, Run, TrialRecord, open_heads, run_status, write_plan
from results.store.ledger_index import BLOCK, INDEX_NAME, read_heads
from results.store.record_summary import head_of
from results.store.records import PlannedVariant, RunPlan
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


def assert_same(run_dir: Path) -> None:
    """By the index as by the whole ledger: the same heads, the same status, the same refusal."""
    try:
        whole = Run.open(run_dir)
    except SpecError as err:
        refusal = str(err)
    else:
        refusal = None
    if refusal is not None:
        with pytest.raises(SpecError) as caught:
            open_heads(run_dir)
        assert str(caught.value) == refusal
        return
    by_heads = open_heads(run_dir)
    # As text: a metric that is no number is not equal to itself.
    assert repr(list(by_heads.records)) == repr([head_of(record) for record in whole.records])
    assert run_status(by_heads, now=0.0) == run_status(whole, now=0.0)


@st.composite
def attempts(draw) -> bytes:
    """Up to 1200 records: some trials twice or more, of any status, some in the same second."""
    count = draw(st.integers(0, 1200))
    start = draw(st.integers(0, 600))
    stride = draw(st.sampled_from([1, 7, 97]))
    pattern = draw(st.lists(st.sampled_from(STATUSES), min_size=1, max_size=5))
    odd = draw(st.sampled_from([{}, {"metrics": {"top1": float("nan"), "val_top1": 1e308}}, {"role": "retune"}]))
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
    st.tuples(st.just("index of another"), attempts()),
    st.tuples(st.just("torn index"), st.floats(0, 1)),
    st.tuples(st.just("driver starts"), st.none()),
)


@pytest.mark.thorough
@settings(max_examples=40, deadline=None)
@given(first=attempts(), changes=st.lists(CHANGES, max_size=4))
def test_whatever_becomes_of_a_ledger_its_index_changes_no_number(first, changes):
    with tempfile.TemporaryDirectory() as directory:
        run_dir = new_run(Path(directory) / "run")
        (run_dir / "ledger.jsonl").write_bytes(first)
        assert_same(run_dir)
        for kind, how in changes:
            change(run_dir, kind, how)
            assert_same(run_dir)
            assert_same(run_dir)  # the first look may have written an index


def change(run_dir: Path, kind: str, how) -> None:
    ledger, index = run_dir / "ledger.jsonl", run_dir / INDEX_NAME
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
    elif kind == "index of another":
        other = new_run(run_dir.parent / "other")
        (other / "ledger.jsonl").write_bytes(how)
        open_heads(other)
        if (other / INDEX_NAME).exists():
            shutil.copy(other / INDEX_NAME, index)
    elif kind == "torn index" and index.exists():
        index.write_bytes(index.read_bytes()[: int(index.stat().st_size * how)])
    elif kind == "driver starts":
        try:
            with LedgerWriter(run_dir) as writer:
                writer.append(made(3))
        except SpecError:
            pass  # an earlier change made the ledger unreadable


@pytest.fixture
def run_dir(tmp_path):
    return new_run(tmp_path / "run")


def test_only_what_the_index_lacks_is_read_from_the_ledger(run_dir):
    ledger = run_dir / "ledger.jsonl"
    ledger.write_bytes(lines_of(*map(made, range(2 * BLOCK + 7))))
    assert read_heads(run_dir, may_write=True).num_indexed == 0
    found = read_heads(run_dir, may_write=True)
    assert (len(found.heads), found.num_indexed) == (2 * BLOCK + 7, 2 * BLOCK)
    data = bytearray(ledger.read_bytes())
    place = data.index(b'"t600"')
    data[place : place + 6] = b'"t6OO"'  # of equal length, in the second block
    ledger.write_bytes(data)
    found = read_heads(run_dir, may_write=True)
    assert (found.heads[600].trial_id, found.num_indexed) == ("t6OO", BLOCK)
    assert read_heads(run_dir, may_write=True).num_indexed == 2 * BLOCK


def test_a_short_run_has_no_index(run_dir):
    with LedgerWriter(run_dir) as ledger:
        for number in range(20):
            ledger.append(made(number))
    open_heads(run_dir)
    assert not (run_dir / INDEX_NAME).exists()


def test_driver_and_reader_write_the_same_index(run_dir, tmp_path):
    """The driver in two starts, one line at a time; the reader in one go."""
    (run_dir / "ledger.jsonl").write_bytes(lines_of(*map(made, range(2 * BLOCK - 10))))
    for begin in (2 * BLOCK - 10, 2 * BLOCK - 4):
        with LedgerWriter(run_dir) as ledger:
            for number in range(begin, begin + 6):
                ledger.append(made(number))
    of_driver = (run_dir / INDEX_NAME).read_bytes()
    assert of_driver.count(b"\n") == 2
    (run_dir / INDEX_NAME).unlink()
    open_heads(run_dir)
    assert (run_dir / INDEX_NAME).read_bytes() == of_driver


def test_a_driver_believes_the_ledger_and_not_the_index(run_dir):
    """Somebody wrote an index of right sums and wrong heads; at the next start of the driver it is gone."""
    (run_dir / "ledger.jsonl").write_bytes(lines_of(*map(made, range(BLOCK))))
    open_heads(run_dir)
    index = run_dir / INDEX_NAME
    true = index.read_text()
    index.write_text(true.replace('"completed"', '"failed"'))
    with LedgerWriter(run_dir) as ledger:
        assert {head.status for head in ledger.heads} == {"completed"}
    assert index.read_text() == true


@pytest.mark.parametrize(
    "edit",
    [
        {"format": 2},
        {"end": 0},
        {"end": 10**30},
        {"end": -1},
        {"seed": []},
        {"seed": ["1"] * BLOCK},
        {"status": ["done"] * BLOCK},
        {"metrics": [{"top1": {}}] * BLOCK},
        {"failures": [[BLOCK, "E", "m"]]},
        {"failures": [[-1, "E", "m"]]},
        {"more": 1},
    ],
)
def test_an_index_of_another_form_is_passed_over(run_dir, edit):
    (run_dir / "ledger.jsonl").write_bytes(lines_of(*map(made, range(BLOCK))))
    open_heads(run_dir)
    index = run_dir / INDEX_NAME
    index.write_text(json.dumps({**json.loads(index.read_text()), **edit}) + "\n")
    assert read_heads(run_dir, may_write=False).num_indexed == 0
    assert_same(run_dir)


@pytest.mark.parametrize("text", ["", "\n", "[" * 100_000, "null\n", '{"format":1}\n', "\x00" * 1000])
def test_an_index_that_is_none_is_passed_over(run_dir, text):
    (run_dir / "ledger.jsonl").write_bytes(lines_of(*map(made, range(BLOCK))))
    (run_dir / INDEX_NAME).write_text(text)
    assert_same(run_dir)


def test_where_no_index_can_be_written_it_goes_without(run_dir):
    """A folder of that name stands for a directory that may only be read: the tests may run as root."""
    (run_dir / INDEX_NAME).mkdir()
    (run_dir / "ledger.jsonl").write_bytes(lines_of(*map(made, range(2 * BLOCK))))
    assert_same(run_dir)
    with LedgerWriter(run_dir) as ledger:
        for number in range(BLOCK):
            ledger.append(made(number))
    assert_same(run_dir)
    assert sorted(path.name for path in run_dir.iterdir()) == [
        "driver.lock",
        INDEX_NAME,
        "ledger.jsonl",
        "plan.json",
    ]
