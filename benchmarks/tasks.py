"""What small models of every task reach in about two CPU minutes, with chance beside: a check that the tasks learn.

One trial each, one seed, on the built-in data; CPU seconds of one thread, evaluation included.

    OMP_NUM_THREADS=1 python benchmarks/tasks.py [NAME ...]
"""

from __future__ import annotations

import sys
import time
from typing import Any

import torch

from runners.training.trial import run_trial
from search_space.schema.resources import Resources
from search_space.schema.trial import TrialSpec

GROUPMIX = {
    "model": "groupmixformer_tiny_224",
    "img_size": 64,
    "options": {"embed_dims": [40, 40, 80, 80], "depths": [1, 1, 1, 1]},
}
SCHEDULE = {"opt": "adamw", "weight_decay": 0.05, "sched": "cosine", "warmup_prefix": True, "min_lr": 1e-6}
SEGMENT = {"epochs": 4, "batch_size": 16, "lr": 2e-3, "warmup_epochs": 1, "hflip": 0.5, **SCHEDULE}
TASKS: dict[str, dict[str, Any]] = {
    # name: setting; metric; what must be reached; what a constant answer reaches
    "upernet": {
        "arch": GROUPMIX,
        "task": {"name": "segmentation", "head_dim": 32, "aux_dim": 32},
        "train": {"steps": 480, **SEGMENT},
        "metric": "miou",
        "floor": 45.0,
        "trivial": "all background 21.7",
    },
    "semantic_fpn": {
        "arch": GROUPMIX,
        "task": {"name": "segmentation", "head": "semantic_fpn", "head_dim": 32, "pyramid_dim": 64},
        "train": {"steps": 320, **SEGMENT},
        "metric": "miou",
        "floor": 33.0,
        "trivial": "all background 21.7",
    },
}


def main() -> None:
    torch.set_num_threads(1)
    missed = []
    for name in sys.argv[1:] or TASKS:
        entry = dict(TASKS[name])
        metric, floor, trivial = (entry.pop(key) for key in ("metric", "floor", "trivial"))
        spec = TrialSpec.model_validate({**entry, "seed": 0})
        start = time.process_time()
        outcome = run_trial(spec, report=_shown, resources=Resources(), device="cpu", metric=metric)
        seconds = time.process_time() - start
        value = outcome.metrics[metric]
        missed += [name] if value < floor else []
        print(f"{name}: {metric} {value:.1f} (at least {floor:g}; {trivial}), {seconds:.0f} CPU s", flush=True)
    if missed:
        raise SystemExit(f"below what is expected: {', '.join(missed)}")


def _shown(entry: dict[str, float]) -> bool:
    print("  " + ", ".join(f"{key} {value:.4g}" for key, value in entry.items()), flush=True)
    return False


if __name__ == "__main__":
    main()
