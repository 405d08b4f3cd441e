"""In-process engine: one trial after the other in this process, for debuggers, profilers and comparison with Ray.

A trial that kills its process (a segfault, the kernel's out-of-memory killer) kills the run; the ledger keeps its
records.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch

from results.store.records import Failure
from results.store.run_layout import RunDir
from runners.driver.orchestrator import Orchestrator
from runners.engines.ray.engine import DriverError
from runners.training.distributed_trial import run_trial_in_processes
from runners.trials.assignment import Assignment, Place
from runners.trials.outcome import Outcome, TimeLimit, failure_of, too_slow
from search_space import Resources

__all__ = ["run_in_process"]


def run_in_process(orchestrator: Orchestrator, *, run_dir: RunDir) -> None:
    """Train the trials of the orchestrator. KeyboardInterrupt passes through; the trial it hit leaves no record."""
    with orchestrator.stop.listening() if orchestrator.stop else nullcontext():
        while (assignment := orchestrator.ask()) is not None:
            directory = run_dir.trial(assignment.trial_id).path
            resources = orchestrator.plan.resources_of(assignment.variant)
            torch.set_num_threads(max(1, int(resources.cpus)))
            orchestrator.placed(assignment.trial_id, Place(socket.gethostname(), _gpus(resources)))
            result, error = _train(orchestrator, assignment, resources, directory)
            error.raise_caught()
            orchestrator.finish(assignment.trial_id, result)


def _train(
    orchestrator: Orchestrator, assignment: Assignment, resources: Resources, directory: Path
) -> tuple[Outcome | Failure, DriverError]:
    error = DriverError()

    def report(metrics: dict[str, float]) -> bool:
        return error.guard(lambda: orchestrator.report(assignment.trial_id, metrics), otherwise=True)

    try:
        with _alarm(resources.time_limit):
            outcome = run_trial_in_processes(
                assignment.spec,
                also=[each.spec for each in assignment.also],
                report=report,
                report_other=lambda key, point: error.guard(lambda: orchestrator.report_other(key, point)),
                resources=resources,
                directory=directory,
                checkpoints=orchestrator.plan.sweep.checkpoints,
                metric=orchestrator.plan.sweep.metric,
                keep_predictions=orchestrator.plan.sweep.keep_predictions,
                keep_samples=orchestrator.plan.sweep.keep_samples,
                origin=orchestrator.origin_of(assignment),
                on_resume=lambda curve: error.guard(lambda: orchestrator.resume(assignment.trial_id, curve)),
                is_preempted=lambda: orchestrator.is_stopping,
            )
            return outcome, error
    except TimeLimit:
        return too_slow(resources.time_limit), error
    except Exception as err:
        return failure_of(err), error


def _gpus(resources: Resources) -> tuple[str, ...]:
    """GPUs that a trial in this process uses, whatever it requests."""
    if not torch.cuda.is_available():
        return ()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    ids = named.split(",") if named else [str(index) for index in range(torch.cuda.device_count())]
    return tuple(ids[: resources.num_processes])


@contextmanager
def _alarm(seconds: float | None) -> Iterator[None]:
    """Raise TimeLimit in the trial at its time limit. Signals reach the main thread only, and exist on POSIX only."""
    if seconds is None or not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: object) -> None:
        raise TimeLimit

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
