"""The ledger loses no finished trial and shows no half-written one, whatever happens to its writer."""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from results import Failure, LedgerWriter, latest_by_trial, read_ledger, running_driver
from results.store.record_summary import summarize
from search_space.parsing.errors import SpecError

_HOLD = """
import sys
from results import LedgerWriter
with LedgerWriter(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
"""

_WRITE_FOREVER = """
import sys
from results import LedgerWriter, TrialRecord
with LedgerWriter(sys.argv[1]) as ledger:
    for number in range(len(ledger.summaries), 10**9):
        ledger.append(TrialRecord(trial_id=str(number), variant_id="v", variant="v", seed=0, spec={"pad": "x" * 20000},
                                  status="completed"))
        print(number, flush=True)
"""

_WRITE_UNTIL_FULL = """
import sys, resource
from results import LedgerWriter, TrialRecord
from results.store.record_summary import summarize
from search_space.parsing.errors import SpecError
def record(name, size):
    return TrialRecord(trial_id=name, variant_id="v", variant="v", seed=0, spec={"pad": "x" * size}, status="completed")
with LedgerWriter(sys.argv[1]) as ledger:
    ledger.append(record("small", 10))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        ledger.append(record("too large", 10000))
    except SpecError as err:
        print(err)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    ledger.append(record("after space was made", 10000))
"""


def _start(script: str, run_dir: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, str(run_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_what_was_appended_is_read_back_equal(tmp_path, record):
    records = [
        record("a", 0, 97.25, curve=[{"epoch": 1, "top1": 1 / 3}], params={"depth": 4}, changes={"arch.depth": 4}),
        record('b|`\n"\\', 1, failure=Failure(type="E", message="m\nn", traceback="t", epoch=2)),
    ]
    with LedgerWriter(tmp_path / "new" / "run") as ledger:
        for one in records:
            ledger.append(one)
    assert read_ledger(ledger.path).records == records
    with LedgerWriter(ledger.run_dir) as again:
        assert again.summaries == [summarize(one) for one in records]


def test_every_record_is_one_line_with_its_version(tmp_path, record):
    with LedgerWriter(tmp_path) as ledger:
        ledger.append(record("a\nb", 0, 1.0))
        ledger.append(record("c", 0, 2.0))
        lines = ledger.path.read_text().splitlines()
    assert [line.startswith('{"version":1,') for line in lines] == [True, True]


def test_a_record_without_predictions_has_no_key_for_them(tmp_path, record):
    """Records of sweeps that keep no predictions are as those of an archsweep that knew none."""
    nine = record("a", 1, 500 / 9, correct="9:rIA=")
    with LedgerWriter(tmp_path) as ledger:
        ledger.append(record("a", 0, 90.0))
        ledger.append(nine)
    first, second = map(json.loads, ledger.path.read_text().splitlines())
    assert "correct" not in first
    assert second["correct"] == "9:rIA="
    again = read_ledger(ledger.path, curves=False).records
    assert [one.correct for one in again] == ["", "9:rIA="]
    assert "".join(one.model_dump_json() + "\n" for one in again) == ledger.path.read_text()


def test_a_diverged_curve_keeps_its_nan_and_stays_json(tmp_path, record):
    with LedgerWriter(tmp_path) as ledger:
        ledger.append(record("a", 0, curve=[{"epoch": 1, "train_loss": math.nan, "peak": math.inf}]))
    assert '"train_loss":"NaN","peak":"Infinity"' in ledger.path.read_text()
    (point,) = read_ledger(ledger.path).records[0].curve
    assert math.isnan(point["train_loss"])
    assert point["peak"] == math.inf


def test_a_failure_message_that_is_no_utf8_can_be_recorded(tmp_path, record):
    """A message that quotes a file name with a stray byte; Python holds such bytes as lone surrogates."""
    with LedgerWriter(tmp_path) as ledger:
        ledger.append(record("a", 0, failure=Failure(type="OSError", message="no file caf\udce9")))
    failure = read_ledger(ledger.path).records[0].failure
    assert failure is not None
    assert failure.message == "no file caf\\udce9"


def test_no_ledger_is_an_empty_one(tmp_path):
    contents = read_ledger(tmp_path / "ledger.jsonl")
    assert (contents.records, contents.torn, contents.skipped) == ([], False, 0)


def test_reader_ignores_a_torn_last_line_and_says_so(tmp_path, record):
    line = record("a", 0, 1.0).model_dump_json()
    path = tmp_path / "ledger.jsonl"
    path.write_text(f"{line}\n\n{line[:40]}")
    contents = read_ledger(path)
    assert [found.variant for found in contents.records] == ["a"]
    assert contents.torn
    assert contents.skipped == 1


def test_writer_cuts_a_torn_line_off_and_keeps_its_bytes(tmp_path, record):
    line = record("a", 0, 1.0).model_dump_json()
    path = tmp_path / "ledger.jsonl"
    path.write_text(f"{line}\n{line[:40]}")
    with LedgerWriter(tmp_path) as ledger:
        assert ledger.torn_bytes == 40
        ledger.append(record("b", 0, 2.0))
    assert path.read_text() == f"{line}\n{record('b', 0, 2.0).model_dump_json()}\n"
    assert (tmp_path / "ledger.torn").read_text() == f"{line[:40]}\n"


def test_a_whole_last_line_without_its_line_feed_counts(tmp_path, record):
    """Editors that strip the end of a file must not cost a trial."""
    line = record("a", 0, 1.0).model_dump_json()
    path = tmp_path / "ledger.jsonl"
    path.write_text(line)
    contents = read_ledger(path)
    assert len(contents.records) == 1
    assert not contents.torn
    with LedgerWriter(tmp_path) as ledger:
        ledger.append(record("b", 0, 2.0))
    assert [found.variant for found in read_ledger(path).records] == ["a", "b"]
    assert not (tmp_path / "ledger.torn").exists()


@pytest.mark.parametrize("cut", range(1, 200, 13))
def test_a_line_torn_anywhere_is_repaired(tmp_path, record, cut):
    line = record("a", 0, 1.0).model_dump_json()
    (tmp_path / "ledger.jsonl").write_text(f"{line}\n{line[:cut]}")
    with LedgerWriter(tmp_path) as ledger:
        assert len(ledger.summaries) == 1
        ledger.append(record("b", 0, 2.0))
    assert [found.variant for found in read_ledger(ledger.path).records] == ["a", "b"]


def test_corrupt_lines_in_the_middle_are_errors_that_name_them(tmp_path, record):
    line = record("a", 0, 1.0).model_dump_json()
    path = tmp_path / "ledger.jsonl"
    path.write_text(f'{line}\n{{"trial_id": 7}}\n{line}\nnot json\n{line}\n')
    with pytest.raises(SpecError) as caught:
        read_ledger(path)
    advice = "repair the line or move it out of the file; without it the trial counts as never run and is run again"
    assert str(caught.value) == (
        f"{path}:2: not a trial record: trial_id: Input should be a valid string\n"
        f"  the line begins '{{\"trial_id\": 7}}'\n  {advice}\n"
        f"{path}:4: not a trial record: Invalid JSON: expected ident at line 1 column 2\n"
        f"  the line begins 'not json'\n  {advice}"
    )


def test_unknown_fields_survive_reading(tmp_path, record):
    path = tmp_path / "ledger.jsonl"
    path.write_text(record("a", 0, 1.0).model_dump_json()[:-1] + ',"energy_kwh":0.25}\n')
    assert read_ledger(path).records[0].model_dump()["energy_kwh"] == 0.25


@pytest.mark.parametrize("status", ["completed", "a status of the future"])
def test_a_newer_ledger_is_refused(tmp_path, record, status):
    path = tmp_path / "ledger.jsonl"
    line = record("a", 0, 1.0).model_dump_json().replace('"version":1', '"version":3')
    path.write_text(line.replace("completed", status) + "\n")
    with pytest.raises(SpecError) as caught:
        read_ledger(path)
    assert str(caught.value) == (
        f"{path}:1: written by a newer archsweep (format 3; this one reads up to 2)\n"
        "  upgrade with `pip install --upgrade archsweep`"
    )


def test_a_second_driver_is_refused_with_a_message(tmp_path):
    holder = _start(_HOLD, tmp_path)
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == "held\n"
    driver = running_driver(tmp_path)
    assert driver is not None
    assert driver.pid == holder.pid
    with pytest.raises(SpecError) as caught, LedgerWriter(tmp_path):
        pass
    assert str(caught.value) == (
        f"{tmp_path}: another driver is at work on this run: pid {holder.pid} on {os.uname().nodename}, "
        f"since {driver.since}\n"
        f"  watch it with `archsweep status {tmp_path}`,\n"
        f"  stop it with `kill -INT {holder.pid}` on {driver.host}, or give this sweep another `name` to run beside it"
    )
    assert read_ledger(tmp_path / "ledger.jsonl").records == []  # reading needs no lock
    holder.communicate("\n", timeout=300)
    assert running_driver(tmp_path) is None
    with LedgerWriter(tmp_path):
        pass


def test_a_killed_driver_leaves_no_lock(tmp_path):
    holder = _start(_HOLD, tmp_path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.wait()
    assert running_driver(tmp_path) is None
    with LedgerWriter(tmp_path) as ledger:
        assert ledger.summaries == []


@pytest.mark.thorough
def test_a_killed_writer_loses_nothing_it_reported(tmp_path):
    """Killed three times at random moments of a tight loop of 20 kB records; the reader looks on all the while."""
    path = tmp_path / "ledger.jsonl"
    pause = random.Random(0)
    for _ in range(3):
        writer = _start(_WRITE_FOREVER, tmp_path)
        assert writer.stdout is not None
        reported = int(writer.stdout.readline())
        deadline = time.monotonic() + pause.uniform(0.01, 0.2)
        while time.monotonic() < deadline:
            seen = [found.trial_id for found in read_ledger(path).records]
            assert seen == [str(number) for number in range(len(seen))]
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().splitlines()
        writer.wait()
        reported = max([reported, *(int(line) for line in rest if line.isdigit())])
        kept = [found.trial_id for found in read_ledger(path).records]
        assert kept == [str(number) for number in range(len(kept))]
        assert len(kept) >= reported + 1


def test_a_full_disk_is_reported_and_leaves_the_ledger_whole(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _WRITE_UNTIL_FULL, str(tmp_path)], capture_output=True, text=True, check=True
    )
    path = tmp_path / "ledger.jsonl"
    assert done.stdout == (
        f"{path}: cannot write: the file may not grow further\n"
        "  raise the limit (`ulimit -f`) and run the same command again: it continues\n"
    )
    contents = read_ledger(path)
    assert [found.trial_id for found in contents.records] == ["small", "after space was made"]
    assert not contents.torn


def test_a_read_only_directory_is_reported():
    """In a child without root's permission to write everywhere; forked, because others may not see our interpreter."""
    directory = tempfile.mkdtemp()
    os.chmod(directory, 0o555)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            with LedgerWriter(directory):
                pass
        except SpecError as err:
            os.write(writer, str(err).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with open(reader) as stream:
        message = stream.read()
    os.rmdir(directory)
    assert message == (
        f"{directory}/driver.lock: cannot write: no permission to write\n"
        "  choose a directory that can be written, or change its permissions"
    )


def test_a_run_directory_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError) as caught, LedgerWriter(tmp_path / "file" / "run"):
        pass
    assert str(caught.value) == (f"{tmp_path}/file/run: cannot write: Not a directory\n  check the path and the disk")


def test_a_completed_record_decides_over_any_other(record):
    records = [
        record("a", 0, attempt=1, finished_at="2030-01-01T00:00:00+00:00"),
        record("a", 0, 1.0, attempt=2, finished_at="2030-01-01T00:01:00+00:00"),
        record("a", 0, attempt=3, finished_at="2030-01-01T00:02:00+00:00"),
        record("b", 0, attempt=1, finished_at="2030-01-01T00:00:00+00:00"),
        record("b", 0, status="pruned", attempt=2, finished_at="2030-01-01T00:01:00+00:00"),
    ]
    for order in (records, records[::-1]):
        deciding = latest_by_trial(order)
        assert {name: found.attempt for name, found in deciding.items()} == {"a-0": 2, "b-0": 2}


def test_twenty_thousand_records_are_read(tmp_path, record, record_property):
    """The time is reported (`--junit-xml`), not asserted: the machine may be shared."""
    curve = [{"epoch": epoch, "train_loss": 0.1, "top1": 97.0} for epoch in range(1, 21)]
    line = record("a", 0, 97.0, curve=curve).model_dump_json()
    path = tmp_path / "ledger.jsonl"
    path.write_text((line + "\n") * 20_000)
    start = time.perf_counter()
    assert len(read_ledger(path).records) == 20_000
    record_property("read_seconds", round(time.perf_counter() - start, 3))


def test_a_file_system_without_locks_is_reported(tmp_path, monkeypatch):
    """Lustre mounted without `flock` answers so; no such file system is at hand."""

    def flock(descriptor, kind):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(SpecError) as caught, LedgerWriter(tmp_path / "run"):
        pass
    assert str(caught.value) == (
        f"{tmp_path / 'run'}: the file system of the run directory gives no lock: Function not implemented\n"
        "  mount it with locks (Lustre: `-o flock`; NFS: without `nolock`, its lock service running),\n"
        "  or choose another directory"
    )


def test_absurd_lines_are_refused_and_not_crashed_on(tmp_path):
    """Found by benchmarks/fuzz.py: brackets deeper than a parser can follow, and a duration that no sum survives."""
    path = tmp_path / "ledger.jsonl"
    path.write_text("[" * 5000 + "\n")
    with pytest.raises(SpecError, match="not a trial record"):
        read_ledger(path)
    line = {"trial_id": "a", "variant_id": "v", "variant": "v", "seed": 0, "spec": {}, "status": "completed"}
    path.write_text(json.dumps({**line, "train_seconds": 1e308}) + "\n")
    with pytest.raises(SpecError, match="not a trial record: train_seconds: Input should be less than or equal to"):
        read_ledger(path)
    for epoch in ({}, {"epoch": -1}, {"epoch": "NaN"}, {"epoch": "Infinity"}):
        path.write_text(json.dumps({**line, "curve": [{"top1": 1.0, **epoch}]}) + "\n")
        with pytest.raises(SpecError, match=r"not a trial record: curve: .*an entry of the curve without its epoch"):
            read_ledger(path)
    path.write_text(json.dumps({**line, "spec": {"train": 3}}) + "\n")
    with pytest.raises(SpecError, match="`train` of the spec is no mapping"):
        read_ledger(path)


def test_a_lock_whose_text_is_nonsense_still_locks(tmp_path):
    """Found by benchmarks/fuzz.py: a process id that is no number."""
    with LedgerWriter(tmp_path):
        for text in (
            '{"pid": Infinity, "host": "h", "since": "s"}',
            '{"pid": NaN, "host": 1, "since": 2}',
            "[" * 5000,
            "",
        ):
            (tmp_path / "driver.lock").write_text(text)
            assert str(running_driver(tmp_path)) == "a driver that has just started"
