"""How the verbs bear long ledgers: CPU seconds and memory for N records, as ratios within one run.

The records are real: those of a small run that is trained first (4 arms, 10 epochs on digits), multiplied with other
seeds. Ledger and progress file are written by the driver's own writers. Every verb runs in a process of its own, start
of Python included; the best of three counts. `--against` takes turns with another checkout, on the same ledgers.

    python benchmarks/ledger_scale.py --records 1000 10000 100000
    python benchmarks/ledger_scale.py --records 100000 --verbs status table --against ../archsweep-before
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
from search_space import TrialSpec
from search_space.schema.identity import canonical_json, trial_id_of

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
    "table": ["table"],
    "ls": ["ls"],
    "report": ["report"],
    "driver": [],
}
"""Words after `archsweep`; a driver that opens its ledger is none of them."""
ROOT = Path(__file__).parents[1]
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
    canonical = {one.variant_id: canonical_json(TrialSpec.model_validate(one.spec).setting) for one in originals}
    for number in range(count):
        one = originals[number % len(originals)]
        seed = number // len(originals)
        spec = {**one.spec, "seed": seed}
        metrics = {**one.metrics, "top1": 50 + (number * 7919 % 5000) / 100}
        key = trial_id_of(canonical[one.variant_id], seed)
        yield one.model_copy(update={"trial_id": key, "seed": seed, "spec": spec, "metrics": metrics})


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
            ids = (record.trial_id, record.variant, record.seed)
            progress.append(ProgressEvent(float(number), *ids, "start"))
            for point in record.curve:
                progress.append(ProgressEvent(float(number), *ids, "epoch", point))
            ledger.append(record)
            progress.append(ProgressEvent(number + 0.9, *ids, "end"))


def measured(name: str, directory: Path, checkouts: list[Path], *, rounds: int) -> list[tuple[float, float, float]]:
    """CPU seconds, wall seconds and MiB of a verb, of each checkout the best of some rounds. They take turns."""
    verb = ["-m", "runners.cli", *VERBS[name]] if VERBS[name] else ["-c", START]
    command = [sys.executable, *verb, str(directory)]
    found = [[] for _ in checkouts]
    for _ in range(rounds):
        for checkout, times in zip(checkouts, found, strict=True):
            began = time.perf_counter()
            with open(os.devnull, "w") as nowhere:
                process = subprocess.Popen(
                    command, stdout=nowhere, cwd=checkout, env={**os.environ, "PYTHONPATH": str(checkout)}
                )
                _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            assert process.returncode == 0, command
            wall = time.perf_counter() - began
            times.append((usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024))
    return [min(times) for times in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, nargs="+", default=[1000, 10_000, 100_000], help="multiples of 4")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--verbs", nargs="+", choices=list(VERBS), default=list(VERBS))
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="to compare with")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        run = trained(Path(scratch) / "small")
        checkouts = [ROOT, *([arguments.against.resolve()] if arguments.against else [])]
        rows: dict[str, list[tuple[float, float, float]]] = {}
        for count in arguments.records:
            directory = Path(scratch) / str(count)
            began = time.perf_counter()
            writer = multiprocessing.get_context("fork").Process(target=write_run, args=(directory, run, count))
            writer.start()
            writer.join()
            assert writer.exitcode == 0
            appended = time.perf_counter() - began
            sizes = {path.name: path.stat().st_size / 2**20 for path in directory.iterdir()}
            listed = ", ".join(f"{name} {size:.1f} MiB" for name, size in sorted(sizes.items()) if size > 0.1)
            print(f"{count} records: {listed}; written at {appended / count * 1e3:.2f} ms a trial", flush=True)
            for name in arguments.verbs:
                rounds = 1 if name == "report" else arguments.rounds
                for where, best in zip(
                    ("", "before: "), measured(name, directory, checkouts, rounds=rounds), strict=False
                ):
                    rows.setdefault(where + name, []).append(best)
        show(arguments.records, rows)


def show(counts: list[int], rows: dict[str, list[tuple[float, float, float]]]) -> None:
    print("\n" + f"{'CPU s, wall s (MiB)':22}" + "".join(f"{count:>22}" for count in counts) + f"{'last / first':>14}")
    for name, found in rows.items():
        cells = "".join(f"{f'{cpu:.2f}, {wall:.2f} ({mib:.0f})':>22}" for cpu, wall, mib in found)
        print(f"{name:22}{cells}{found[-1][0] / found[0][0]:14.1f}")


if __name__ == "__main__":
    main()
