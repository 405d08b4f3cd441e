"""In-process engine: one trial after the other in this process, for debuggers, profilers and comparison with Ray.

A trial that kills its process (a segfault, the kernel's out-of-memory killer) kills the run; the ledger keeps its
records. One that kills the CUDA context of this process (a device-side assert) ends with its own failure: every later
call of CUDA here would fail, too, so each later trial gets a process of its own.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch

from results.store.records import Failure
from results.store.run_layout import RunDir
from runners.driver.orchestrator import Orchestrator
from runners.engines.forkserver.trial_target import TRIAL_ENV
from runners.engines.ray.engine import DriverError
from runners.machine.gpus import num_gpus_here
from runners.training.device import kind_of_device
from runners.training.distributed_trial import run_trial_in_processes
from runners.training.stacked.group import run_group
from runners.training.stacked.member import GroupOptions
from runners.trials.assignment import Assignment, GroupAnswer, Place
from runners.trials.form import group_limit
from runners.trials.outcome import Outcome, TimeLimit, failure_of, too_slow
from search_space import Resources, TrialSpec

__all__ = ["run_in_process"]


def run_in_process(orchestrator: Orchestrator, *, run_dir: RunDir) -> None:
    """Train the trials of the orchestrator. KeyboardInterrupt passes through; the trial it hit leaves no record."""
    os.environ["CUDA_DEVICE_ORDER"] = TRIAL_ENV["CUDA_DEVICE_ORDER"]  # before CUDA starts
    gpu = _Gpu()
    with orchestrator.stop.listening() if orchestrator.stop else nullcontext():
        while group := orchestrator.ask_group():
            assignment = group[0]
            directory = run_dir.trial(assignment.trial_id).path
            resources = orchestrator.plan.resources_of(assignment.variant)
            torch.set_num_threads(max(1, int(resources.cpus)))
            _placed(orchestrator, group, resources)
            if assignment.numerics == "fused":
                _train_group(orchestrator, group, resources, run_dir)
                continue
            result, error = _train(orchestrator, assignment, resources, directory, gpu)
            error.raise_caught()
            orchestrator.finish(assignment.trial_id, result)


def _train(
    orchestrator: Orchestrator, assignment: Assignment, resources: Resources, directory: Path, gpu: _Gpu
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
                spawns=gpu.is_lost and kind_of_device(resources) == "cuda",
            )
            return outcome, error
    except TimeLimit:
        return too_slow(resources.time_limit), error
    except Exception as err:
        failure = failure_of(err)
        gpu.look_at(err, failure)
        return failure, error
    finally:
        gpu.return_memory(resources)


def _train_group(
    orchestrator: Orchestrator, group: Sequence[Assignment], resources: Resources, run_dir: RunDir
) -> None:
    """Train the trials of a group on the CPU; each ends with a record of its own."""
    error = DriverError()
    running = [each.trial_id for each in group]

    def answer(points: dict[str, dict[str, float]]) -> GroupAnswer:
        found = orchestrator.report_group(points)
        running.extend(each.trial_id for each in found.joined)
        _placed(orchestrator, found.joined, resources)
        return found

    def report(points: dict[str, dict[str, float]]) -> tuple[tuple[str, ...], list[TrialSpec]]:
        found = error.guard(lambda: answer(points), otherwise=GroupAnswer(stop=tuple(points)))
        extend(group_limit(resources.time_limit, len(found.joined)))
        return found.stop, [each.spec for each in found.joined]

    def ended(key: str, result: Outcome | Failure) -> None:
        running.remove(key)
        error.guard(lambda: orchestrator.finish(key, result))

    sweep = orchestrator.plan.sweep
    options = GroupOptions(
        resources=resources,
        checkpoints=sweep.checkpoints,
        metric=sweep.metric,
        keep_predictions=sweep.keep_predictions,
        keep_samples=sweep.keep_samples,
        origin=orchestrator.origin_of(group[0]),
    )
    try:
        with _alarm(group_limit(resources.time_limit, len(group))) as extend:
            run_group(
                [each.spec for each in group],
                options=options,
                report=report,
                ended=ended,
                folder_of=lambda key: run_dir.trial(key).path,
                on_resume=lambda key, curve: error.guard(lambda: orchestrator.resume(key, curve)),
                is_preempted=lambda: orchestrator.is_stopping or error.caught is not None,
            )
    except TimeLimit:
        for key in list(running):
            ended(key, too_slow(resources.time_limit))
    except Exception as err:
        for key in list(running):
            ended(key, failure_of(err))
    error.raise_caught()


def _placed(orchestrator: Orchestrator, group: Sequence[Assignment], resources: Resources) -> None:
    for each in group:
        orchestrator.placed(each.trial_id, Place(socket.gethostname(), _gpus(resources)))


class _Gpu:
    """CUDA in this process, between trials.

    Attributes:
        is_lost: whether its context has ended by an error, after which CUDA answers this process with errors only.
    """

    def __init__(self) -> None:
        self.is_lost = False

    def look_at(self, err: BaseException, failure: Failure) -> None:
        """Find out whether the error of a trial has ended the context; says so once."""
        if self.is_lost or failure.type == "OutOfMemory" or not (_is_of_device(err) or _is_context_lost()):
            return
        self.is_lost = True
        text = "an error has ended CUDA in this process; each later trial trains in a process of its own"
        print(f"archsweep: warning: {text}", file=sys.stderr, flush=True)

    def return_memory(self, resources: Resources) -> None:
        """Return the memory that PyTorch keeps of the last trial: the next one may need another division of it."""
        device = kind_of_device(resources)
        if device == "cpu" or self.is_lost or (device == "cuda" and not torch.cuda.is_initialized()):
            return
        gc.collect()  # a network is a circle of references, above all one whose training ended by an exception
        torch.get_device_module(device).empty_cache()


def _is_of_device(err: BaseException | None) -> bool:
    """Whether an exception, or one that it came from, is CUDA's own."""
    while err is not None:
        if isinstance(err, torch.AcceleratorError):
            return True
        err = err.__cause__ or err.__context__
    return False


def _is_context_lost() -> bool:
    """Whether CUDA, once started here, still answers: a library may have reported its error as one of its own."""
    if not torch.cuda.is_initialized():
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False


def _gpus(resources: Resources) -> tuple[str, ...]:
    """GPUs that a trial in this process uses, by CUDA's numbers or ids: the first of those that it sees."""
    if kind_of_device(resources) != "cuda":
        return ()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    ids = named.split(",") if named else [str(index) for index in range(num_gpus_here())]
    return tuple(ids[: resources.num_processes])


@contextmanager
def _alarm(seconds: float | None) -> Iterator[Callable[[float | None], None]]:
    """Raise TimeLimit in the trial at its time limit; gives a function that extends it by so many seconds. Signals
    reach the main thread only, and exist on POSIX only."""
    if seconds is None or not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield lambda more: None
        return

    def ring(number: int, frame: object) -> None:
        raise TimeLimit

    def extend(more: float | None) -> None:
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        if more and left:
            signal.setitimer(signal.ITIMER_REAL, left + more)

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield extend
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
