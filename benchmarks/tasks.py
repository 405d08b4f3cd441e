"""What small models of every task reach in at most two CPU minutes, with chance beside: a check that the tasks learn.

One trial each, one seed, on the built-in data; CPU seconds of one thread, evaluation included.

    OMP_NUM_THREADS=1 python benchmarks/tasks.py [--only NAME ...] [--seed N]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

import torch

from runners.training.trial import run_trial
from search_space.schema.resources import Resources
from search_space.schema.trial import TrialSpec


@dataclass(frozen=True)
class Check:
    """A training and what it must reach.

    Attributes:
        floor: least value of the metric, or of its difference to the metric `above`.
        ceiling: most of it; for a mechanism that must not be able to do what another one does.
        trivial: what a constant answer, or chance, reaches.
    """

    setting: dict[str, Any]
    metric: str
    trivial: str
    floor: float = 0.0
    above: str = ""
    ceiling: float = 100.0


GROUPMIX = {
    "model": "groupmixformer_tiny_224",
    "img_size": 64,
    "options": {"embed_dims": [40, 40, 80, 80], "depths": [1, 1, 1, 1]},
}
SCHEDULE = {"opt": "adamw", "weight_decay": 0.05, "sched": "cosine", "warmup_prefix": True, "min_lr": 1e-6}
SEGMENT = {"epochs": 4, "batch_size": 16, "lr": 2e-3, "warmup_epochs": 1, "hflip": 0.5, **SCHEDULE}
DETECT = {"name": "detection", "pyramid_dim": 48, "anchor_size": 8}
BERT = {"model": "bert", "depth": 3, "embed_dim": 64, "num_heads": 4}
RECALL = {
    "task": {"name": "text", "dataset": "builtin/recall", "head_dropout": 0},
    "train": {
        **{"epochs": 5, "steps": 500, "batch_size": 64, "lr": 2e-3, "warmup_epochs": 1},
        **{**SCHEDULE, "weight_decay": 0.01, "recalibrate_bn": 8},
    },
}
CHECKS: dict[str, Check] = {
    "upernet": Check(
        {
            "arch": GROUPMIX,
            "task": {"name": "segmentation", "head_dim": 32, "aux_dim": 32},
            "train": {"steps": 480, **SEGMENT},
        },
        metric="miou",
        floor=45,
        trivial="all background 21.7",
    ),
    "semantic_fpn": Check(
        {
            "arch": GROUPMIX,
            "task": {"name": "segmentation", "head": "semantic_fpn", "head_dim": 32, "pyramid_dim": 64},
            "train": {"steps": 320, **SEGMENT},
        },
        metric="miou",
        floor=33,
        trivial="all background 21.7",
    ),
    "mask_rcnn": Check(
        {
            "arch": GROUPMIX,
            "task": {**DETECT, "box_dim": 128, "mask_dim": 48, "mask_layers": 2, "proposals": 50, "box_samples": 32},
            "train": {"epochs": 2, "steps": 300, "batch_size": 8, "lr": 2e-3, **SCHEDULE},
        },
        metric="box_ap",
        floor=25,
        trivial="no detection 0",
    ),
    "retinanet": Check(
        {
            "arch": GROUPMIX,
            "task": {**DETECT, "detector": "retinanet", "finest_stride": 4, "coarse_levels": False},
            "train": {
                **{"epochs": 5, "steps": 350, "batch_size": 8, "lr": 2e-3, "warmup_epochs": 1, "warmup_lr": 1e-4},
                **{"clip_grad": 1.0, **SCHEDULE},
            },
        },
        metric="box_ap",
        floor=10,
        trivial="no detection 0",
    ),
    "recall_softmax": Check({"arch": BERT, **RECALL}, metric="accuracy", ceiling=70, trivial="chance 25"),
    "recall_refiner": Check(
        {"arch": {**BERT, "attention": {"name": "refiner", "expansion": 3, "kernel_size": 3}}, **RECALL},
        metric="accuracy",
        floor=95,
        trivial="chance 25",
    ),
    # Two stages, because four leave one position of these images, and nothing of an orientation.
    "esvit": Check(
        {
            "arch": {
                "model": "groupmixformer_tiny_224",
                "img_size": 32,
                "options": {"embed_dims": [40, 80], "depths": [1, 1], "mlp_ratios": [4, 4]},
            },
            "task": {
                **{"name": "self_supervised", "method": "esvit", "dataset": "builtin/grains"},
                **{"prototypes": 256, "head_hidden_dim": 256, "head_dim": 64},
                **{"teacher_temp": (0.02, 0.02), "momentum": (0.95, 1.0), "linear_epochs": 30},
                **{"local_crops": 2, "local_size": 16, "local_scale": (0.2, 0.5), "aspect": (1, 1)},
                **{"color_jitter": 0, "grayscale": 0, "blur": (0, 0, 0), "solarize": 0},
                **{"channel_jitter": 1, "channel_shift": 1},
            },
            "train": {
                **{"epochs": 3, "steps": 120, "batch_size": 48, "lr": 1e-3, "warmup_epochs": 1},
                **{**SCHEDULE, "weight_decay": 0.04, "clip_grad": 3.0, "clip_mode": "parameter"},
            },
        },
        metric="knn_top1",
        floor=8,
        above="knn_top1_untrained",
        trivial="chance 12.5",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=sorted(CHECKS), default=list(CHECKS), metavar="NAME")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    missed = [name for name in args.only if not _passes(name, CHECKS[name], args.seed)]
    if missed:
        raise SystemExit(f"not as expected: {', '.join(missed)}")


def _passes(name: str, check: Check, seed: int) -> bool:
    spec = TrialSpec.model_validate({**check.setting, "seed": seed})
    start = time.process_time()
    outcome = run_trial(spec, report=_shown, resources=Resources(), device="cpu", metric=check.metric)
    seconds = time.process_time() - start
    metrics = outcome.metrics
    value = metrics[check.metric]
    expected = f"at most {check.ceiling:g}" if check.ceiling < 100 else f"at least {check.floor:g}"
    beside = [check.trivial]
    if check.above:
        expected += f" above {check.above}"
        beside += [f"{key} {metrics[key]:.1f}" for key in sorted(metrics) if key.startswith(f"{check.metric}_")]
    print(f"{name}: {check.metric} {value:.1f} ({expected}; {', '.join(beside)}), {seconds:.0f} CPU s", flush=True)
    for note in outcome.notes:
        print(f"  {note}", flush=True)
    return check.floor <= value - metrics.get(check.above, 0.0) and value <= check.ceiling


def _shown(entry: dict[str, float]) -> bool:
    print("  " + ", ".join(f"{key} {value:.4g}" for key, value in entry.items()), flush=True)
    return False


if __name__ == "__main__":
    main()
