"""Checks of devices before the first trial: what the engine cannot place, and what this machine does not have.

On Ray the GPUs of the nodes are counted by the engine itself (`nodes/capacity.py`), which knows them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from runners.machine.gpus import num_gpus_here
from runners.planning.plan import Plan
from runners.training.device import PRETENDED_GPUS, has_device, kind_of_device
from search_space import Problem, Resources, SpecError
from search_space.variants.per_variant import needs_float64

__all__ = ["check_devices"]


def check_devices(engine: str, plan: Plan) -> None:
    """Refuse trials whose device the engine does not place or this machine does not have.

    Raises:
        SpecError: it names the device, what is here and what to do.
    """
    problems = list(_device_problems(engine, plan))
    if engine == "in-process":
        problems += _count_problems(plan)
    if problems:
        raise SpecError(problems)


def _device_problems(engine: str, plan: Plan) -> Iterator[Problem]:
    device = plan.sweep.resources.device
    if device not in ("mps", "xpu"):
        return
    path = "resources.device"
    if engine != "in-process":
        hint = "--engine in-process, which trains one trial at a time"
        yield Problem(f"Ray places no trials on {device!r}", path=path, hint=hint)
    elif not has_device(device):
        yield Problem(f"this PyTorch finds no {device!r}", path=path, hint="--device cpu trains on the CPU")
    settings = [variant.setting for variant in plan.variants] or [plan.sweep.baseline]
    for needs in dict.fromkeys(filter(None, (needs_float64(setting.task) for setting in settings))):
        hint = "only classification without `task.probes` trains there"
        yield Problem(f"{needs} computes in float64, which {device!r} lacks", path=path, hint=hint)


def _count_problems(plan: Plan) -> Iterator[Problem]:
    wanted = max(plan.kinds_of_resources, key=_gpus)
    if kind_of_device(wanted) != "cuda" or os.environ.get(PRETENDED_GPUS) == "1":
        return
    here = num_gpus_here()
    if here < _gpus(wanted):
        usual = plan.sweep.resources.under()
        section = "resources" if wanted == usual else "resources.per_variant"
        key = "gpus" if wanted.gpu_memory is None else "gpu_memory"
        text = f"a trial asks for {_gpus(wanted):g} GPUs, this machine has {here} that PyTorch can use"
        hint = "lower it (--gpus-per-trial 0: trials train on the CPU); `archsweep doctor` says what is here"
        yield Problem(text, path=f"{section}.{key}", hint=hint)


def _gpus(resources: Resources) -> float:
    return 1.0 if resources.gpu_memory is not None else resources.num_gpus
