"""How the verbs bear long ledgers: seconds and memory for N records, as ratios within one run.

The records are real: those of a small run that is trained first (4 arms, 10 epochs on digits), multiplied with other
seeds. Ledger, index and progress file are written by the driver's own writers. Every verb runs in a process of its own,
start of Python included; the best of three counts.

    python benchmarks/ledger_scale.py --records 1000 10000 100000
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from results import LedgerWriter, ProgressEvent, ProgressWriter, Run, TrialRecord, write_plan

SWEEP = """
name: ledger_scale
baseline:
  arch: {model: vit, depth: 2, embed_dim: 40, num_heads: 4, mlp_ratio: 2, patch_size: 2, class_token: false}
  task: {name: classification, dataset: builtin/digits}
  train: {epochs: 10, batch_size: 256, lr: 0.003}
space:
  arch.attention: [softmax, reattention, refiner, groupmix]
design: one_factor
seeds: 1
metric: top1
"""
VERBS = {
    "status": ["status"],
    "status, no index": ["status"],
    "table": ["table"],
    "ls": ["ls"],
    "report": ["report"],
}
START = "import sys; from results import LedgerWriter\nwith LedgerWriter(sys.argv[1]): pass"


def trained(directory: Path) -> Run:
    """A run of four trials, trained now; in a process of its own, because a child's peak begins at its parent's."""
    sweep = directory.with_suffix(".yaml")
    sweep.write_text(SWEEP)
    command = [sys.executable, "-m", "runners.cli", "run", str(sweep), "--engine", "in-process", "--no-cache"]
    subprocess.run([*command, "--out", str(directory)], check=True, stdout=subprocess.DEVNULL)
    return Run.open(directory)


def multiplied(run: Run, count: int) -> Iterator[TrialRecord]:
    """As many records: those of the run, with other seeds and so other ids and values."""
    originals = list(run.deciding.values())
    for number in range(count):
        one = originals[number % len(originals)]
        seed = number // len(originals)
        spec = {**one.spec, "seed": seed}
        metrics = {**one.metrics, "top1": 50 + (number * 7919 % 5000) / 100}
        yield one.model_copy(update={"trial_id": f"{number:012x}", "seed": seed, "spec": spec, "metrics": metrics})


def write_run(directory: Path, run: Run, count: int) -> None:
    """A run directory as a driver leaves it; without fsync, which costs the same whatever the number."""
    seeds = list(range(count // len(run.plan.variants)))
    write_plan(directory, run.plan.model_copy(update={"seeds": seeds}))
    with (
        mock.patch.object(os, "fsync"),
        LedgerWriter(directory) as ledger,
        ProgressWriter(directory, ledger.summaries) as progress,
    ):
        for number, record in enumerate(multiplied(run, count)):
            told = (record.trial_id, record.variant, record.seed)
            progress.append(ProgressEvent(float(number), *told, "start"))
            for point in record.curve:
                progress.append(ProgressEvent(float(number), *told, "epoch", point))
            ledger.append(record)
            progress.append(ProgressEvent(number + 0.9, *told, "end"))


def measured(command: list[str], *, rounds: int, before: Path | None = None) -> tuple[float, float]:
    """Seconds and MiB of the best of some rounds; `before` each, that file is removed."""
    found = []
    for _ in range(rounds):
        if before is not None:
            before.unlink(missing_ok=True)
        began = time.perf_counter()
        with open(os.devnull, "w") as nowhere:
            process = subprocess.Popen(command, stdout=nowhere)
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, command
        found.append((time.perf_counter() - began, usage.ru_maxrss / 1024))
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, nargs="+", default=[1000, 10_000, 100_000], help="multiples of 4")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        run = trained(Path(scratch) / "small")
        rows: dict[str, list[tuple[float, float]]] = {}
        for count in arguments.records:
            directory = Path(scratch) / str(count)
            began = time.perf_counter()
            writer = multiprocessing.get_context("fork").Process(target=write_run, args=(directory, run, count))
            writer.start()
            writer.join()
            assert writer.exitcode == 0
            appended = time.perf_counter() - began
            sizes = {path.name: path.stat().st_size / 2**20 for path in directory.iterdir()}
            told = ", ".join(f"{name} {size:.1f} MiB" for name, size in sorted(sizes.items()) if size > 0.1)
            print(f"{count} records: {told}; written at {appended / count * 1e3:.2f} ms a trial", flush=True)
            for name, verb in VERBS.items():
                command = [sys.executable, "-m", "runners.cli", *verb, str(directory)]
                before = directory / "ledger.index" if "no index" in name else None
                rounds = 1 if name == "report" else arguments.rounds
                rows.setdefault(name, []).append(measured(command, rounds=rounds, before=before))
            command = [sys.executable, "-c", START, str(directory)]
            rows.setdefault("driver opens its ledger", []).append(measured(command, rounds=arguments.rounds))
        show(arguments.records, rows)


def show(counts: list[int], rows: dict[str, list[tuple[float, float]]]) -> None:
    print("\n" + f"{'seconds (MiB)':26}" + "".join(f"{count:>20}" for count in counts) + f"{'last / first':>14}")
    for name, found in rows.items():
        cells = "".join(f"{f'{seconds:.2f} ({mib:.0f})':>20}" for seconds, mib in found)
        print(f"{name:26}{cells}{found[-1][0] / found[0][0]:14.1f}")


if __name__ == "__main__":
    main()
