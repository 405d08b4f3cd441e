"""Data-parallel training of one trial in several processes, one GPU each or a share of its CPUs; or in one of its own.

Why not Ray Train inside Tune: docs/decisions/0004-processes-of-a-trial.md. All processes are on one node. They are
spawned, because a process that has used threads or a GPU cannot be forked; they rendezvous through a file and
communicate over the loopback device or the GPUs' own links. This process only supervises: it forwards the messages of
rank 0, and when one process dies it kills the others, which would wait for it permanently.
"""

from __future__ import annotations

import dataclasses
import datetime
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from archsweep import own_packages
from results.plan.stored import Origin
from results.store.records import Failure
from runners.data.fingerprint import check_data
from runners.data.first_weights import WEIGHTS_MARK, check_weights
from runners.machine.scratch import scratch_folder
from runners.machine.signals import die_with_parent, listen_to_sigterm
from runners.training.device import device_of_trial, hide_gpus
from runners.training.foreign.files import check_files
from runners.training.foreign.trial import run_foreign_trial
from runners.training.loop import Report
from runners.training.process_group import ProcessGroup
from runners.training.trial import ReportOther, run_trial
from runners.trials.outcome import Outcome, TrialFailed, failure_of
from search_space import Checkpoints, Resources, TrialSpec
from search_space.plugins import load_shipped, shipped_plugins
from search_space.schema.task import ForeignSpec

__all__ = ["run_trial_in_processes"]

_LOOK_EVERY_SECONDS = 0.2
_LAST_WORDS_SECONDS = 1.0
_LONGEST_WAIT = datetime.timedelta(minutes=30)
"""Timeout of collectives: a process that is alive but does not answer for so long fails the trial."""


def run_trial_in_processes(
    spec: TrialSpec,
    *,
    also: Sequence[TrialSpec] = (),
    report: Report,
    report_other: ReportOther = lambda key, point: None,
    resources: Resources,
    directory: Path | None = None,
    checkpoints: Checkpoints = Checkpoints(),
    metric: str = "top1",
    keep_predictions: bool = False,
    keep_samples: int = 0,
    origin: Origin = Origin(),
    on_resume: Callable[[list[dict[str, float]]], None] = lambda curve: None,
    is_preempted: Callable[[], bool] = lambda: False,
    spawns: bool = False,
) -> Outcome:
    """`run_trial` in `resources.num_processes` processes: in this one if that is 1, else in spawned ones.

    Args:
        spawns: train in a spawned process also if it is the only one.
        origin: data, code and software that the driver records; without data, whatever is here is trained on.

    Raises:
        DataChanged: the data here is not that of `origin`.
        TrialFailed: one of the processes failed or died; the failure says which one and why.
    """
    data = ""
    if origin.data and isinstance(spec.task, ForeignSpec):
        check_files(spec.task, resources, origin.data)
    elif origin.data:
        data, _, weights = origin.data.partition(WEIGHTS_MARK)
        check_data(spec.task, resources, data)
        if weights:
            check_weights(spec, resources, weights)
    options: dict[str, Any] = {
        "also": tuple(also),
        "directory": directory,
        "checkpoints": checkpoints,
        "metric": metric,
        "keep_predictions": keep_predictions,
        "keep_samples": keep_samples,
        "origin": " ".join(filter(None, (origin.data, origin.code, origin.software))),
        "fingerprint": data,
    }
    if isinstance(spec.task, ForeignSpec):  # whatever GPUs there are, it uses them as it likes
        return run_foreign_trial(
            spec,
            report=report,
            resources=resources,
            directory=directory,
            checkpoints=checkpoints,
            metric=metric,
            origin=options["origin"],
            on_resume=on_resume,
            is_preempted=is_preempted,
        )
    size = resources.num_processes
    if size == 1 and not spawns:
        callbacks = {
            "report": report,
            "report_other": report_other,
            "on_resume": on_resume,
            "is_preempted": is_preempted,
        }
        return run_trial(spec, resources=resources, **options, **callbacks)
    with scratch_folder("processes") as meeting:
        # As plain values: a spawned process knows the specs of plug-ins only after it has loaded these.
        options["also"] = [each.model_dump(mode="json") for each in also]
        written = {"spec": spec.model_dump(mode="json"), "plugins": shipped_plugins()}
        processes = _Processes(size, meeting / "store", {**options, **written, "resources": resources})
        try:
            return processes.watch(
                report=report, report_other=report_other, on_resume=on_resume, is_preempted=is_preempted
            )
        finally:
            processes.end()


class _Processes:
    """The processes of one trial, by rank."""

    def __init__(self, size: int, store: Path, job: dict[str, Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self._connections: list[Connection] = []
        self._processes: list[Any] = []
        for rank in range(size):
            ours, theirs = context.Pipe()
            arguments = (_rank_main, theirs, ProcessGroup(rank, size), str(store), job)
            process = context.Process(target=own_packages.call, args=arguments)
            process.start()
            theirs.close()
            self._connections.append(ours)
            self._processes.append(process)

    def watch(
        self,
        *,
        report: Report,
        report_other: ReportOther,
        on_resume: Callable[[Any], None],
        is_preempted: Callable[[], bool],
    ) -> Outcome:
        """Wait for the outcome of rank 0 or the failure of any rank; pass a preemption on to rank 0 once."""
        is_notified = False
        while True:
            if not is_notified and is_preempted():
                self._processes[0].terminate()
                is_notified = True
            for connection in wait(self._connections, timeout=_LOOK_EVERY_SECONDS):
                assert isinstance(connection, Connection)
                rank = self._connections.index(connection)
                try:
                    kind, content = connection.recv()
                except (EOFError, OSError):
                    if is_notified and self._exit_code(0) == -signal.SIGTERM:  # before its handler was set
                        return Outcome("preempted")
                    raise TrialFailed(self._death(rank)) from None
                if kind == "failure":
                    raise TrialFailed(self._cause(Failure.model_validate(content)))
                if kind == "outcome":
                    return Outcome.of(content)
                if kind == "resumed":
                    on_resume(content)
                elif kind == "other":
                    report_other(*content)
                else:
                    connection.send(report(content))

    def end(self) -> None:
        """Kill the processes that still run: their results are not needed any more."""
        for process in self._processes:
            process.kill()
        for process, connection in zip(self._processes, self._connections, strict=True):
            process.join()
            connection.close()

    def _cause(self, failure: Failure) -> Failure:
        """Root cause of a failure: a killed process makes the others fail at their next collective, maybe earlier."""
        if wait([process.sentinel for process in self._processes], timeout=_LAST_WORDS_SECONDS):
            for rank in range(len(self._processes)):
                if (self._exit_code(rank, patience=0) or 0) < 0:
                    return self._death(rank)
        return failure

    def _death(self, rank: int) -> Failure:
        code, size = self._exit_code(rank), len(self._processes)
        who = "the process that trained the trial"
        who = f"process {rank + 1} of the {size} that trained the trial" if size > 1 else who
        if code == -signal.SIGKILL:
            return Failure(type="Killed", message=f"{who} was killed, most likely because memory ran out")
        how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
        return Failure(type="WorkerDied", message=f"{who} ended {how} before the training did")

    def _exit_code(self, rank: int, patience: float = _LAST_WORDS_SECONDS) -> int | None:
        self._processes[rank].join(patience)
        return self._processes[rank].exitcode


def _rank_main(connection: Connection, processes: ProcessGroup, store: str, job: dict[str, Any]) -> None:
    """Entry point of one rank. Only rank 0 reports epochs; any rank may report a failure."""
    die_with_parent()
    is_preempted = listen_to_sigterm(job["checkpoints"].grace_seconds)
    resources: Resources = job["resources"]
    hide_gpus(resources)

    def report(metrics: dict[str, float]) -> bool:
        connection.send(("epoch", metrics))
        return bool(connection.recv())

    try:
        load_shipped(job.pop("plugins"))
        job["spec"] = TrialSpec.model_validate(job["spec"])
        job["also"] = tuple(map(TrialSpec.model_validate, job["also"]))
        torch.set_num_threads(max(1, int(resources.cpus / processes.size)))
        if processes.size > 1:
            _meet(processes, store, device_of_trial(resources, processes))
        outcome = run_trial(
            **job,
            report=report,
            report_other=lambda key, point: connection.send(("other", (key, point))) if processes.is_first else None,
            on_resume=lambda curve: connection.send(("resumed", curve)) if processes.is_first else None,
            is_preempted=is_preempted,
            processes=processes,
        )
        if processes.size > 1:
            dist.barrier()  # rank 0 ends the trial: the other ranks must have finished before
        if processes.is_first:
            connection.send(("outcome", dataclasses.asdict(outcome)))
        connection.recv()  # wait until the parent kills all ranks
    except (EOFError, BrokenPipeError):
        os._exit(1)  # the parent is gone
    except BaseException as err:
        failure = failure_of(err)
        print(failure.traceback, file=sys.stderr, flush=True)
        connection.send(("failure", failure.model_dump()))


def _meet(processes: ProcessGroup, store: str, device: torch.device) -> None:
    has_gpus = device.type == "cuda"
    if sys.platform == "linux":
        for library in ("GLOO", "NCCL"):
            os.environ.setdefault(f"{library}_SOCKET_IFNAME", "lo")  # all on one node: open no port to the outside
    if has_gpus:
        torch.cuda.set_device(device)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if has_gpus else "gloo",
        store=dist.FileStore(store, processes.size),
        rank=processes.rank,
        world_size=processes.size,
        timeout=_LONGEST_WAIT,
    )
