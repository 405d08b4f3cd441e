"""How the driver bears many trials: seconds and memory for each further thousand, beside plain Ray Tune.

The trials have trivial bodies (a worker that answers at once), so all that is measured is the driver: what it costs to
hand out a trial, to take its end, to write its record. Planning is the real one, so are the engine, the ledger, the
progress file and the tables. Flat columns mean that nothing grows with the number of trials done.

    python benchmarks/scale.py --trials 10000
    python benchmarks/scale.py --trials 10000 --way plain-tune
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import tempfile
import time
from pathlib import Path

import runners.engines.ray.engine as ray_engine
from results import LedgerWriter, ProgressWriter, Run, ablation_table, format_status, run_status, write_plan
from results.store.run_layout import RunDir
from runners.driver.orchestrator import Orchestrator
from runners.driver.progress_file import ProgressFile
from runners.planning.make_plan import make_plan
from search_space import load_sweep_text

import ray  # isort: skip
from ray import tune  # isort: skip
from ray.tune.result import DONE  # isort: skip

SWEEP = """
name: scale
baseline:
  arch: {{model: vit, depth: 1, embed_dim: 16, num_heads: 2, patch_size: 4, class_token: false}}
  task: {{name: classification, dataset: builtin/digits}}
  train: {{epochs: {epochs}}}
space:
  train.lr: [{rates}]
design: one_factor
seeds: {seeds}
metric: top1
"""
ARMS = 10


class Trivial(tune.Trainable):
    """A trial that is over as soon as it begins: as many reports as epochs, then an outcome."""

    def setup(self, config: dict) -> None:
        self.reset_config(config)
        self._node = ray.get_runtime_context().get_node_id()

    def reset_config(self, new_config: dict) -> bool:
        self.epoch = 0
        self.epochs = new_config.get("epochs", 1)
        return True

    def step(self) -> dict:
        self.epoch += 1
        if self.epoch <= self.epochs:
            content = {"epoch": self.epoch, "train_loss": 1.0, "top1": 50.0}
            return {"kind": "epoch", "content": json.dumps(content), "node": self._node}
        content = {"status": "completed", "metrics": {"top1": 50.0}, "train_seconds": 0.0, "total_seconds": 0.0}
        return {"kind": "outcome", "content": json.dumps(content), "node": self._node, DONE: True}


class Watch:
    """Prints a line for every thousand trials that ended."""

    def __init__(self, every: int) -> None:
        self.every, self.done = every, 0
        self.began, self.began_cpu = time.perf_counter(), time.process_time()
        print(f"{'trials':>8} {'ms per trial':>13} {'CPU ms':>7} {'driver MiB':>11}", flush=True)

    def on_trial_start(self, assignment: object) -> None: ...
    def on_trial_placed(self, assignment: object, place: object) -> None: ...
    def on_epoch_end(self, assignment: object, metrics: object) -> None: ...

    def on_trial_end(self, assignment: object, record: object) -> None:
        self.tick()

    def tick(self) -> None:
        self.done += 1
        if self.done % self.every == 0:
            seconds = (time.perf_counter() - self.began) / self.every
            cpu_seconds = (time.process_time() - self.began_cpu) / self.every  # of the driver, whatever else runs
            print(f"{self.done:8} {seconds * 1000:13.1f} {cpu_seconds * 1000:7.1f} {rss_mib():11.0f}", flush=True)
            self.began, self.began_cpu = time.perf_counter(), time.process_time()


def rss_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def archsweep(trials: int, epochs: int, every: int) -> None:
    rates = ", ".join(str(0.001 * (number + 1)) for number in range(ARMS))
    text = SWEEP.format(epochs=epochs, rates=rates, seeds=trials // ARMS)
    plan = make_plan(load_sweep_text(text))
    assert plan.num_trials == trials, plan.num_trials
    with tempfile.TemporaryDirectory() as directory:
        run_dir = Path(directory) / "run"
        with LedgerWriter(run_dir) as ledger, ProgressWriter(run_dir, ledger.summaries) as progress:
            write_plan(run_dir, plan.as_run_plan())
            orchestrator = Orchestrator(plan, ledger, observers=[ProgressFile(progress), Watch(every)])
            ray_engine.run_on_ray(orchestrator, run_dir=RunDir(run_dir), worker=Trivial)
            assert len(orchestrator.records) == trials
        files = [path for path in run_dir.rglob("*") if path.is_file()]
        print(f"{len(files)} files, {sum(path.stat().st_size for path in files) / 2**20:.1f} MiB", flush=True)
        began = time.perf_counter()
        run = Run.open(run_dir)
        ablation_table(run.plan, run.records)
        print(f"open and table: {time.perf_counter() - began:.2f} s", flush=True)
        began = time.perf_counter()
        format_status(run_status(run, now=time.time()))
        print(f"status: {time.perf_counter() - began:.2f} s", flush=True)


class _Tick(tune.Callback):
    def __init__(self, every: int) -> None:
        self.watch = Watch(every)

    def on_trial_complete(self, iteration: int, trials: list, trial: object, **info: object) -> None:
        self.watch.tick()


def plain_tune(trials: int, epochs: int, every: int) -> None:
    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, num_cpus=2)
    with tempfile.TemporaryDirectory() as directory:
        tune.Tuner(
            tune.with_resources(Trivial, {"cpu": 1}),
            param_space={"epochs": epochs, "seed": tune.randint(0, 2**30)},
            tune_config=tune.TuneConfig(num_samples=trials, max_concurrent_trials=2, reuse_actors=True),
            run_config=tune.RunConfig(
                storage_path=directory,
                verbose=0,
                callbacks=[_Tick(every)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
        files = [path for path in Path(directory).rglob("*") if path.is_file()]
        print(f"{len(files)} files, {sum(path.stat().st_size for path in files) / 2**20:.1f} MiB", flush=True)
    ray.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000, help=f"a multiple of {ARMS}")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--every", type=int, default=1000, help="print a line after so many trials")
    parser.add_argument("--way", choices=["archsweep", "plain-tune"], default="archsweep")
    arguments = parser.parse_args()
    way = archsweep if arguments.way == "archsweep" else plain_tune
    way(arguments.trials, arguments.epochs, arguments.every)


if __name__ == "__main__":
    main()
