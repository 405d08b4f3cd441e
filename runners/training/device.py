"""Device of a trial: it follows from the trial's resources, never from what a machine happens to show.

A trial without GPUs trains on the CPU also where there are some: none is reserved for it, its numbers would be those of
another precision, and all such trials would meet on the first GPU. A trial that has reserved one and does not
find it fails, for the same reasons (docs/decisions/0017-device-by-resources.md).
"""

from __future__ import annotations

import os
import socket

import torch

from runners.training.process_group import ALONE, ProcessGroup
from search_space.schema.resources import DeviceKind, Resources

__all__ = ["PRETENDED_GPUS", "DeviceMissing", "device_of_trial", "has_device", "hide_gpus", "kind_of_device"]

PRETENDED_GPUS = "ARCHSWEEP_PRETEND_GPUS"
"""Variable for tests only: at 1, trials train on the CPU where Ray only pretends the GPUs that they reserved."""
_VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


class DeviceMissing(RuntimeError):
    """The trial's process does not find the device that was reserved for it."""


def kind_of_device(resources: Resources) -> DeviceKind:
    """Kind of device that trials with these resources train on; AMD's GPUs are `cuda`, too, as in PyTorch."""
    return resources.device or ("cuda" if resources.asks_for_gpu else "cpu")


def device_of_trial(resources: Resources, processes: ProcessGroup = ALONE) -> torch.device:
    """Device of this process of a trial.

    Raises:
        DeviceMissing: it is not here; the message says what was reserved and why PyTorch finds none.
    """
    kind = kind_of_device(resources)
    if kind == "cpu":
        return torch.device(kind)
    if kind != "cuda":
        if has_device(kind):
            return torch.device(kind)
        raise DeviceMissing(f"`resources.device: {kind}`, but this PyTorch ({torch.__version__}) finds no such device")
    # Not asked in order to decide, but to say what is wrong before the training does.
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if processes.rank < found:
        return torch.device(kind, processes.rank) if processes.size > 1 else torch.device(kind)
    if os.environ.get(PRETENDED_GPUS) == "1":
        return torch.device("cpu")
    here = socket.gethostname()
    raise DeviceMissing(
        f"the trial reserved {_reserved(resources)}, but on {here} its process finds {found or 'none'}: "
        f"{_reason(found)} (CUDA_VISIBLE_DEVICES={os.environ.get(_VISIBLE[0], 'not set')}). `archsweep doctor` there "
        "says more; to train on the CPU: --gpus-per-trial 0"
    )


def has_device(kind: str) -> bool:
    """Whether PyTorch finds such a device (`cuda`, `mps`, `xpu`) in this process. Starts CUDA's driver interface."""
    return {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available, "xpu": torch.xpu.is_available}[
        kind
    ]()


def hide_gpus(resources: Resources) -> None:
    """Hide the machine's GPUs from this process, and from those that it starts, if its trial trains on the CPU.

    Only before PyTorch has touched one. Ray does not do it: what it shows to a worker without GPUs differs between its
    versions. A trial that is not given a GPU may still open a context on one: PyTorch's optimizers ask the accelerator
    whether it records a graph, also for weights on the CPU.
    """
    if kind_of_device(resources) == "cpu":
        os.environ.update(dict.fromkeys(_VISIBLE, ""))


def _reserved(resources: Resources) -> str:
    if resources.gpu_memory is not None:
        return "a GPU by its memory" if resources.gpu_memory == "auto" else f"{resources.gpu_memory:g} GiB of a GPU"
    return f"{resources.num_gpus:g} GPU{'' if resources.num_gpus <= 1 else 's'}"


def _reason(found: int) -> str:
    """What PyTorch says about its lack of GPUs."""
    if found:
        return f"PyTorch finds {found}"
    try:
        torch.cuda.init()
    except (AssertionError, RuntimeError) as err:
        return (str(err).strip().splitlines() or ["no message"])[0]
    return "PyTorch gives no reason"
