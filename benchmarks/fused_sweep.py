"""A whole sweep with fused trials against the same sweep of an earlier version: CPU time of the process, one thread.

The quickstart's four arms with eight seeds, carried out in-process by the command line of both copies, alternated. The
seconds are those of the whole command: start-up, plan (which times both forms of a step), training, evaluation, tables.
Before they are compared, both must have completed every trial, the new one must have trained fused, and mean accuracies
of every arm must agree within three standard errors.

    git worktree add /tmp/v010 5ad6dd2
    OMP_NUM_THREADS=1 python benchmarks/fused_sweep.py /tmp/v010
    OMP_NUM_THREADS=1 python benchmarks/fused_sweep.py /tmp/v010 --arms refiner --rounds 2
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent.parent


def run(source: Path, run_dir: Path, options: argparse.Namespace) -> float:
    """CPU seconds of a run by the copy of archsweep in `source`."""
    names = options.arms.split(",")
    arms = json.dumps({"arch.attention": names})
    sets = [
        f"arch.attention={names[0]}",
        f"seeds={options.seeds}",
        f"train.epochs={options.epochs}",
        "train.warmup_epochs=1",
        f"space={arms}",
    ]
    words = [part for each in sets for part in ("--set", each)]
    command = [sys.executable, "-m", "runners.cli", "run", str(HERE / "sweeps/quickstart.yaml"), *words]
    command += ["--engine", "in-process", "--no-cache", "--quiet", "--out", str(run_dir)]
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    environment["ARCHSWEEP_CACHE"] = str(run_dir.parent / "cache")
    process = subprocess.Popen(command, cwd=source, env=environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, f"{source} ended with {status}"
    return used.ru_utime + used.ru_stime


def records(run_dir: Path) -> list[dict]:
    return [json.loads(line) for line in (run_dir / "ledger.jsonl").read_text().splitlines()]


def check(old: Path, new: Path, options: argparse.Namespace) -> None:
    arms: dict[str, tuple[list[float], list[float]]] = {}
    for index, run_dir in enumerate((old, new)):
        found = records(run_dir)
        assert [each["status"] for each in found] == ["completed"] * len(options.arms.split(",")) * options.seeds
        for each in found:
            arms.setdefault(each["variant"], ([], []))[index].append(each["metrics"]["top1"])
    for name, (one, other) in arms.items():
        error = (statistics.variance(one) / len(one) + statistics.variance(other) / len(other)) ** 0.5
        assert abs(statistics.fmean(one) - statistics.fmean(other)) <= 3 * error + 0.3, name
    forms = {each["variant"]: each.get("numerics", "single") for each in records(new)}
    print(f"forms: {', '.join(f'{name} {form}' for name, form in forms.items())}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("earlier", type=Path, help="checkout of the earlier version")
    parser.add_argument("--arms", default="softmax,reattention,refiner,groupmix")
    for name, default in (("seeds", 8), ("epochs", 10), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    ratios = []
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            old, new = Path(folder) / "old", Path(folder) / "new"
            seconds = run(options.earlier.resolve(), old, options), run(HERE, new, options)
            check(old, new, options)
        ratios.append(seconds[0] / seconds[1])
        print(f"round {number + 1}: {seconds[0]:.0f} s / {seconds[1]:.0f} s = {ratios[-1]:.2f}x", flush=True)
    shape = f"{options.arms.count(',') + 1} arms x {options.seeds} seeds, {options.epochs} epochs"
    print(
        f"{shape}: {statistics.median(ratios):.2f}x, median of {options.rounds} ({min(ratios):.2f}-{max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
