"""Import-light entry point of a forked trial process: imported where neither torch nor ray is loaded, nor may be."""

from __future__ import annotations

from multiprocessing.connection import Connection
from typing import Any

from runners.trials.outcome import failure_of

__all__ = ["TRIAL_ENV", "preload", "run_forked_trial"]

# The forkserver starts in the driver's working directory, which may have a `runners` of its own.
_PRELOAD = ["archsweep.own_packages", "runners.machine.forkserver_start", "runners.engines.ray.trial_process"]
# What a task imports on use, because the others need not have it. Preloaded, it is not imported by every single trial.
_OF_A_TASK = {
    "text": ["runners.tasks.metrics.text"],
    "segmentation": ["runners.data.dense.joint_transforms"],
    "detection": ["runners.data.detection.transforms"],
}

TRIAL_ENV = {
    # Attention maps are large and short-lived: without these, glibc returns their pages to the kernel after every step
    # and the next step faults them in again. They must be in the environment before the process starts.
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "MALLOC_TOP_PAD_": "268435456",
    # Threads that spin while they wait take the cores of the trials beside them.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Ray and `nvidia-smi` number GPUs by their place on the bus, CUDA by their speed unless it is asked not to.
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
}


def preload(task: str) -> list[str]:
    """Modules that a forkserver imports before it forks trials of this task."""
    return [*_PRELOAD, *_OF_A_TASK.get(task, ()), "runners.machine.forkserver_signals"]


def run_forked_trial(connection: Connection, *arguments: Any) -> None:
    """Run `main` in the forked child, where the forkserver has preloaded it.

    An import error is reported to the driver like any failure.
    """
    try:
        from runners.engines.ray.trial_process import main
    except Exception as err:
        connection.send(("failure", failure_of(err).model_dump()))
        return
    main(connection, *arguments)
