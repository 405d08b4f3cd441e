"""Does the planner choose the faster form of a training? Regret of its choice, and what measuring costs it.

For every shape: the choice, from the steps of each form that a plan times; then both forms again, several times.
Regret is the time of the chosen form over that of the faster one, less 1, by the medians of the later measurements.
Measuring is given in updates of a single trial; a plan measures where there are 1,000 updates at least.

    OMP_NUM_THREADS=1 python benchmarks/form_regret.py
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time

import torch

from runners.data import describe_dataset
from runners.engines.forkserver.trial_target import TRIAL_ENV
from runners.forms.decision import LEAST_GAIN
from runners.forms.timing import StepTimes, measure_steps
from search_space import Resources, Setting
from search_space.schema.trial import ArchSpec, ClassificationSpec, ShapesSpec, TrainSpec

SHAPES = [  # tokens, width, heads, depth, images of a batch
    (16, 60, 4, 2, 32),
    (16, 120, 4, 2, 64),
    (36, 60, 4, 2, 32),
    (64, 60, 4, 2, 32),
    (64, 120, 4, 2, 32),
    (64, 200, 5, 1, 16),
    (100, 120, 4, 1, 16),
]


def setting_of(mechanism: str, tokens: int, width: int, heads: int, depth: int, images: int) -> Setting:
    arch = {"depth": depth, "embed_dim": width, "num_heads": heads, "mlp_ratio": 2, "patch_size": 2}
    shapes = ShapesSpec(img_size=2 * int(tokens**0.5), num_train=4 * images, num_test=images)
    return Setting(
        arch=ArchSpec.model_validate({**arch, "class_token": False, "attention": mechanism}),
        task=ClassificationSpec(dataset=shapes),
        train=TrainSpec(batch_size=images),
    )


def measured(setting: Setting, members: int) -> tuple[StepTimes, float]:
    """Steps of both forms, measured in any case, and the CPU seconds that this took."""
    info = describe_dataset(setting.task, Resources())
    began = time.process_time()
    return measure_steps(setting, info, members), time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mechanisms", default="softmax,reattention,refiner,groupmix")
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    allocator = {name: value for name, value in TRIAL_ENV.items() if name.startswith("MALLOC_")}
    if not allocator.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **allocator})
    torch.set_num_threads(1)
    regrets = []
    print(f"K{options.members}          gain when planned   afterwards   chosen   regret   measuring, in updates")
    for mechanism in options.mechanisms.split(","):
        for shape in SHAPES:
            setting = setting_of(mechanism, *shape)
            first, seconds = measured(setting, options.members)
            name = f"{mechanism:11s} T{shape[0]:<3d} d{shape[1]:<3d} B{shape[4]}"
            if first.fused is None:
                print(f"{name}  not measured: {'a long step' if first.is_exact else 'bits depend on the group'}")
                continue
            chosen = "fused" if first.single / first.fused >= LEAST_GAIN else "single"
            later = [measured(setting, options.members)[0] for _ in range(options.rounds)]
            times = {form: statistics.median(getattr(each, form) for each in later) for form in ("single", "fused")}
            regrets.append(times[chosen] / min(times.values()) - 1)
            gains = f"{first.single / first.fused:6.2f} {times['single'] / times['fused']:16.2f}"
            print(f"{name} {gains}       {chosen:6s} {regrets[-1]:8.1%} {seconds / times['single']:12.0f}", flush=True)
    print(f"regret: at most {max(regrets):.1%}, mean {statistics.fmean(regrets):.1%}, of {len(regrets)} shapes")


if __name__ == "__main__":
    main()
