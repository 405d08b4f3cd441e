"""What a forkserver imports, and what it calls in each process that it forks. Import-light itself: workers of Ray and
the command line import it where neither torch nor ray is loaded yet, nor may be.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any

from runners.trials.outcome import failure_of

__all__ = ["TRIAL_ENV", "VARIABLE", "preload", "run_forked_trial", "trial_request"]

VARIABLE = "ARCHSWEEP_FORKSERVER"
"""Environment variable: the socket of the forkserver that workers of this node use."""

_PRELOAD = ["runners.engines.ray.trial_process"]
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


def preload(*tasks: str) -> list[str]:
    """Modules that a forkserver imports before it forks trials of these tasks."""
    return [*_PRELOAD, *(module for task in dict.fromkeys(tasks) for module in _OF_A_TASK.get(task, ()))]


def trial_request(job: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """The first message to a forked process: its job (see `trial_process.main`), and the environment, the working
    directory and the module path of the worker that asks for it, which it has instead of the forkserver's."""
    given = {**environment, **TRIAL_ENV}
    given.pop(VARIABLE, None)  # a program that a trial starts may be an archsweep of its own
    return {"job": dict(job), "environment": given, "directory": os.getcwd(), "path": list(sys.path)}


def run_forked_trial(connection: Connection) -> None:
    """Take over the worker's surroundings and run `main`, which the forkserver has imported.

    An import error is reported to the driver like any failure.
    """
    try:
        request = connection.recv()
    except (EOFError, OSError):  # the worker is gone
        return
    try:
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["directory"])
        sys.path[:] = request["path"]
        # What the forkserver was started as is none of the trial's: processes that it spawns would import it again.
        sys.argv[1:] = []
        sys.modules["__main__"] = ModuleType("__main__")
        from runners.engines.ray.trial_process import main
    except Exception as err:
        connection.send(("failure", failure_of(err).model_dump()))
        return
    main(connection, request["job"])
