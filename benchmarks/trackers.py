"""What trackers cost: the driver per trial, and each tracker's own process per trial.

    python benchmarks/trackers.py [--trials 1000]

The driver's cost is what the calls of an observer take; with `track` these queue a line per event and tracker. The
trackers' throughput is that of delivering a run directory of that many records, start of the process included.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from results import LedgerWriter, TrialRecord
from results.store.run_layout import RunDir
from runners.trackers.tracking import Tracking
from runners.trials.assignment import Assignment
from search_space import Sweep, Variant, load_sweep_text, trial_id, variant_id, variants

SWEEP = """
name: tracked
baseline: {arch: {depth: 4, embed_dim: 40, num_heads: 4}, train: {epochs: 10}}
design: one_factor
seeds: 1
track: TRACK
"""
EPOCHS = 10


def records_of(sweep: Sweep, count: int) -> list[tuple[Assignment, TrialRecord]]:
    """Invented trials, one seed each."""
    variant: Variant = next(variants(sweep))
    made = []
    for seed in range(count):
        spec = variant.setting.with_seed(seed)
        curve = [
            {"epoch": n, "train_loss": 2.0 / n, "top1": 9.0 * n, "top5": 9.5 * n, "loss": 2.1 / n}
            for n in range(1, EPOCHS + 1)
        ]
        record = TrialRecord(
            trial_id=trial_id(spec), variant_id=variant_id(spec), variant=variant.name, seed=seed,
            spec=spec.model_dump(mode="json"), status="completed", epochs=EPOCHS, curve=curve,
            metrics={"top1": 90.0, "top5": 95.0, "loss": 0.2}, params_m=1.0, gmacs=1.0,
        )  # fmt: skip
        made.append((Assignment(record.trial_id, spec, variant), record))
    return made


def driver_cost(count: int, run_dir: Path) -> float:
    """Microseconds of the driver for a trial of EPOCHS epochs, all three trackers watching."""
    sweep = load_sweep_text(SWEEP.replace("TRACK", "[tensorboard, mlflow, {name: wandb, mode: offline}]")).sweep
    made = records_of(sweep, count)
    tracking = Tracking(sweep, RunDir(run_dir), summaries=[], say=print)
    tracking.on_trial_start(made[0][0])  # starts the processes
    began = time.perf_counter()
    for assignment, record in made[1:]:
        tracking.on_trial_start(assignment)
        for point in record.curve:
            tracking.on_epoch_end(assignment, point)
        tracking.on_trial_end(assignment, record)
    seconds = time.perf_counter() - began
    tracking.close(patience=0.01)
    return seconds / (count - 1) * 1e6


def throughput(track: str, count: int, run_dir: Path) -> tuple[float, float]:
    """Trials per second, and KiB on the disk per trial."""
    sweep = load_sweep_text(SWEEP.replace("TRACK", track)).sweep
    made = [record for _, record in records_of(sweep, count)]
    with LedgerWriter(run_dir) as ledger:
        for record in made:
            ledger.append(record)
        before = size_of(run_dir)
        began = time.perf_counter()
        Tracking(sweep, RunDir(run_dir), summaries=ledger.summaries, say=print).close(patience=3600)
        seconds = time.perf_counter() - began
    return count / seconds, (size_of(run_dir) - before) / count / 1024


def size_of(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    count = parser.parse_args().trials
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "driver"
        run_dir.mkdir()
        print(f"driver: {driver_cost(count, run_dir):.0f} us per trial of {EPOCHS} epochs, three trackers")
        for track in ("tensorboard", "mlflow", "{name: wandb, mode: offline}"):
            run_dir = Path(folder) / str(len(track))
            run_dir.mkdir()
            speed, size = throughput(track, count, run_dir)
            print(f"{track}: {speed:.0f} trials/s, {size:.0f} KiB per trial")


if __name__ == "__main__":
    main()
