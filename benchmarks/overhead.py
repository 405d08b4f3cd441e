"""What archsweep costs per trial beyond its training: against plain Ray Tune and against a plain loop, in one run.

Four ways to train the same N tiny trials (digits, one epoch):

    loop        `run_trial` in a for loop in this process: the floor
    in-process  archsweep, engine `in-process`: the floor + plan, ledger, tables
    ray         archsweep, engine `ray`
    plain-tune  Ray Tune as its documentation shows it: a function trainable, OptunaSearch, a fresh actor per trial
    tune-reuse  the same with `reuse_actors=True`

The figures that matter are ratios within one run and the marginal seconds per trial: (time of N trials - time of N/2
trials) / (N/2), which leaves out start-up. Run on an otherwise idle machine:

    python benchmarks/overhead.py --trials 16
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from runners.planning.make_plan import make_plan
from runners.run_sweep import run_sweep
from runners.training.trial import run_trial
from search_space import Resources, SweepFile, load_sweep_text, variants

SWEEP = """
name: overhead
baseline:
  arch: {{model: vit, depth: 2, embed_dim: 32, num_heads: 2, mlp_ratio: 2, patch_size: 2, class_token: false}}
  task: {{name: classification, dataset: builtin/digits}}
  train: {{epochs: 1, batch_size: 128}}
space: {{}}
design: factorial
seeds: {trials}
metric: top1
resources: {{cpus: 1, gpus: 0}}
"""


def sweep_of(trials: int) -> SweepFile:
    return load_sweep_text(SWEEP.format(trials=trials))


def loop(trials: int) -> None:
    file = sweep_of(trials)
    (baseline,) = variants(file.sweep)
    for seed in file.sweep.seeds:
        run_trial(baseline.setting.with_seed(seed), report=lambda metrics: False, resources=file.sweep.resources)


def archsweep(engine: str) -> Callable[[int], None]:
    def run(trials: int) -> None:
        with tempfile.TemporaryDirectory() as directory:
            result = run_sweep(make_plan(sweep_of(trials)), Path(directory) / "run", engine=engine)
            assert result.counts["completed"] == trials, result

    return run


def plain_tune(*, reuse: bool) -> Callable[[int], None]:
    def run(trials: int) -> None:
        import ray
        from ray import tune
        from ray.tune.search.optuna import OptunaSearch

        (baseline,) = variants(sweep_of(1).sweep)

        def train(config):
            torch.set_num_threads(1)
            spec = baseline.setting.with_seed(int(config["seed"]))
            outcome = run_trial(spec, report=lambda metrics: False, resources=Resources(), device="cpu")
            tune.report({"top1": outcome.metrics["top1"]})

        with tempfile.TemporaryDirectory() as directory, contextlib.redirect_stdout(io.StringIO()):
            ray.init(
                address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, num_cpus=2
            )
            try:
                tune.Tuner(
                    tune.with_resources(train, {"cpu": 1}),
                    param_space={"seed": tune.randint(0, 2**30)},
                    tune_config=tune.TuneConfig(
                        search_alg=OptunaSearch(metric="top1", mode="max"), num_samples=trials,
                        metric="top1", mode="max", max_concurrent_trials=2, reuse_actors=reuse,
                    ),
                    run_config=tune.RunConfig(storage_path=directory, verbose=0),
                ).fit()  # fmt: skip
            finally:
                ray.shutdown()

    return run


WAYS: dict[str, Callable[[int], None]] = {
    "loop": loop,
    "in-process": archsweep("in-process"),
    "ray": archsweep("ray"),
    "tune-reuse": plain_tune(reuse=True),
    "plain-tune": plain_tune(reuse=False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--trials", type=int, default=16, help="an even number")
    parser.add_argument("--only", nargs="*", choices=list(WAYS), default=list(WAYS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    loop(1)  # excludes imports and first-call costs from every way
    half = arguments.trials // 2
    print(f"{'way':12} {'total s':>9} {'per trial s':>12} {'marginal s':>11} {'marginal / loop':>16}")
    floor = None
    for name in arguments.only:
        began = time.perf_counter()
        WAYS[name](half)
        middle = time.perf_counter()
        WAYS[name](arguments.trials)
        total = time.perf_counter() - middle
        marginal = (total - (middle - began)) / (arguments.trials - half)
        floor = floor or marginal
        print(f"{name:12} {total:9.2f} {total / arguments.trials:12.3f} {marginal:11.3f} {marginal / floor:16.2f}")


if __name__ == "__main__":
    main()
