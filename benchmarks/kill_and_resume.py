"""kill -9 the driver at random moments, resume, and compare with an uninterrupted run of the same sweep.

Checks that no finished trial is lost or run twice and that the final table is the same (columns measured by a clock
excepted). Exits with 1 where one of these does not hold. A search is compared on the `in-process` engine, because with
several workers its suggestions depend on which trial happens to end first.

    python benchmarks/kill_and_resume.py sweeps/quickstart.yaml --kills 5
    python benchmarks/kill_and_resume.py sweeps/quickstart.yaml --kills 50 --every 12 --set seeds=20
    python benchmarks/kill_and_resume.py sweeps/search_digits.yaml --engine in-process --set search.num_trials=12
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def command(arguments: argparse.Namespace, run_dir: Path) -> list[str]:
    overrides = [part for override in arguments.set for part in ("--set", override)]
    options = ["--engine", arguments.engine, "--out", str(run_dir), "--quiet", "--no-cache", *overrides]
    return [sys.executable, "-m", "runners.cli", "run", arguments.sweep, *options]


def records(run_dir: Path) -> list[dict]:
    path = run_dir / "ledger.jsonl"
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []


def table(run_dir: Path) -> list[dict[str, str]]:
    with (run_dir / "table.csv").open() as stream:
        return [{key: value for key, value in row.items() if "seconds" not in key} for row in csv.DictReader(stream)]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sweep")
    parser.add_argument("--engine", default="ray")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--every", type=float, help="seconds between kills, about; default: half of a whole run")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--seed", type=int, default=0, help="of the moments at which the driver is killed")
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as directory:
        whole, parts = Path(directory) / "whole", Path(directory) / "parts"
        began = time.monotonic()
        subprocess.run(command(arguments, whole), check=True, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - began
        lost, kills = 0, 0
        while kills < arguments.kills:
            before = [record["trial_id"] for record in records(parts)]
            process = subprocess.Popen(command(arguments, parts), stdout=subprocess.DEVNULL)
            try:
                process.wait(timeout=moments.uniform(0.5, 1.5) * (arguments.every or seconds / 2))
                break  # it finished before its moment came
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
            after = [record["trial_id"] for record in records(parts)]
            lost += after[: len(before)] != before
            print(f"kill {kills}: {len(before)} -> {len(after)} records", flush=True)
        subprocess.run(command(arguments, parts), check=True, stdout=subprocess.DEVNULL)
        ids = [record["trial_id"] for record in records(parts)]
        twice = len(ids) - len(set(ids))
        same = table(parts) == table(whole)
    print(
        f"{kills} kills, {len(ids)} records: {lost} starts lost records, {twice} trials ran twice, same table: {same}"
    )
    return 0 if not lost and not twice and same else 1


if __name__ == "__main__":
    sys.exit(main())
