"""kill -9 while the tables of a run are written: every file is an old or a new one, whole, and is written again."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from results import LedgerWriter, write_plan, write_tables

ROOT = Path(__file__).parents[3]
WRITE_ENDLESSLY = """
import sys
from results import write_tables
from results.store.run_layout import RunDir
run_dir, other = RunDir.of(sys.argv[1]), RunDir.of(sys.argv[2])
texts = [run_dir.ledger.read_bytes(), other.ledger.read_bytes()]
print("begin", flush=True)
number = 0
while True:
    number += 1
    run_dir.ledger.write_bytes(texts[number % 2])
    write_tables(run_dir)
"""


def make_run(folder, plan, records):
    folder.mkdir()
    write_plan(folder, plan)
    with LedgerWriter(folder) as ledger:
        for record in records:
            ledger.append(record)
    return {path.name: path.read_bytes() for path in write_tables(folder)}


@pytest.mark.slow
def test_a_table_is_whole_whenever_its_writer_is_killed(tmp_path, quickstart_plan, quickstart_records):
    new = make_run(tmp_path / "new", quickstart_plan, quickstart_records)
    old = make_run(tmp_path / "run", quickstart_plan, quickstart_records[:4])
    assert {name for name in old if old[name] != new[name]} >= {"table.csv", "table.tex", "trials.csv"}
    draw = random.Random(0)
    for _ in range(6):
        command = [sys.executable, "-c", WRITE_ENDLESSLY, tmp_path / "run", tmp_path / "new"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "begin\n"
            time.sleep(draw.uniform(0.01, 0.2))
            writer.kill()
        for name in old:
            assert (tmp_path / "run" / name).read_bytes() in (old[name], new[name]), name
    (tmp_path / "run" / "ledger.jsonl").write_bytes((tmp_path / "new" / "ledger.jsonl").read_bytes())
    assert {path.name: path.read_bytes() for path in write_tables(tmp_path / "run")} == new
