"""Table of the engines that train the trials of an orchestrator, loaded on use: Ray takes a second to import.

Contract: `run(orchestrator, *, run_dir, address)` trains everything `orchestrator.ask()` hands out, shows every epoch
to `orchestrator.report`, ends every trial with `orchestrator.finish`, and lets KeyboardInterrupt pass. A failing trial
is a record, never an exception.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from results.store.files import readable_write_errors
from results.store.links import opener_within
from results.store.run_layout import RunDir
from search_space.parsing.secrets import MaskedOutput

if TYPE_CHECKING:  # a worker imports this package; it must start without torch
    from runners.driver.orchestrator import Orchestrator

__all__ = ["ENGINES", "gpus_of_engine", "run_trials"]

# Read by Ray at import: they are set before any module of this package can import it.
_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SCHEDULER_EVENTS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # Ctrl-C is ours: Tune's own handler would wait for every running epoch.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
}
_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
os.environ.update({key: os.environ.get(key, value) for key, value in _ENVIRONMENT.items()})


def _keep_ray_on_loopback() -> None:
    """Make a private cluster listen on 127.0.0.1 only; by default Ray listens on every interface.

    The variable is named after the systems where this is Ray's default. Ray reads it at import; child processes, which
    may have to reach a real cluster, do not inherit it.
    """
    if "ray" in sys.modules or _LOOPBACK in os.environ:
        return
    os.environ[_LOOPBACK] = "0"
    import ray  # noqa: F401 - reads the variable

    del os.environ[_LOOPBACK]


def _ray(orchestrator: Orchestrator, *, run_dir: RunDir, address: str | None) -> None:
    with _output_in(run_dir.driver_log, run_dir):
        if address in (None, "local"):
            _keep_ray_on_loopback()
        from runners.engines.ray.engine import run_on_ray

        run_on_ray(orchestrator, run_dir=run_dir, address=address)


@contextlib.contextmanager
def _output_in(path: Path, run_dir: RunDir) -> Iterator[None]:
    """Redirect stdout and stderr to `path`: Ray prints to them whatever its settings are."""
    with readable_write_errors(path):
        log = open(path, "a", encoding="utf-8", buffering=1, opener=opener_within(run_dir))  # noqa: SIM115
    shown = MaskedOutput(log)
    with log, contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        yield
    sys.stdout.flush()


def _in_process(orchestrator: Orchestrator, *, run_dir: RunDir, address: str | None) -> None:
    from runners.engines.in_process import run_in_process

    run_in_process(orchestrator, run_dir=run_dir)


ENGINES: dict[str, Callable[..., None]] = {"in-process": _in_process, "ray": _ray}


def gpus_of_engine(engine: str, address: str | None) -> int:
    """GPUs that trials on this engine may use: of the cluster at `address` (of its nodes that are there now), or of a
    cluster that this process is connected to, else of this machine.

    Raises:
        SpecError: there is no cluster at `address`.
    """
    if engine == "ray" and (address not in (None, "local") or _is_connected()):
        from runners.engines.nodes.cluster import num_cluster_gpus

        return num_cluster_gpus(address)
    from runners.machine.gpus import num_gpus_here

    return num_gpus_here()


def _is_connected() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


def run_trials(engine: str, orchestrator: Orchestrator, *, run_dir: RunDir, address: str | None = None) -> None:
    """Train the trials that are left in the orchestrator on the named engine.

    Raises:
        SpecError: a trial needs a device, or more of a node, than the engine has.
    """
    from runners.engines.device_checks import check_devices  # imports torch

    check_devices(engine, orchestrator.plan)
    ENGINES[engine](orchestrator, run_dir=run_dir, address=address)
