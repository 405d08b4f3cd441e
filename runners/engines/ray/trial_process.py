"""Forked process of one trial, and its messages to the actor that asked for it.

This module imports torch and timm but never ray: a forkserver imports it once per node, so that every trial starts
in milliseconds with everything imported and nothing shared but code. A crash of the child is one failed trial.

Messages, child to parent: ("resumed", curve), ("other", {key, metrics}) of a trial that is measured in this training,
("epoch", metrics), ("outcome", dict), ("failure", dict). Parent to child, after each epoch: True to stop, False to go
on. SIGTERM asks the trial to save itself and end as `preempted`.

Several trials that train as one stacked model have messages of their own: ("member_resumed", {key, curve}), ("epochs",
{report, points}), ("member_ended", {key, kind, content}), and ("group_ended", {}) at the end. Parent to child, after
each epoch: the keys that are to stop, and the specs of the trials that join.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import secrets
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from results.plan.stored import Origin
from results.store.links import folder_within, opener_within
from results.store.records import Failure
from results.store.run_layout import TrialDir
from runners.machine.signals import die_with_parent, listen_to_sigterm
from runners.planning.gpu_share import allocator_fraction
from runners.training.device import hide_gpus
from runners.training.distributed_trial import run_trial_in_processes
from runners.training.stacked.group import run_group
from runners.training.stacked.member import GroupOptions
from runners.trials.outcome import Outcome, TrialFailed, failure_of
from search_space import Checkpoints, Resources, TrialSpec, trial_id
from search_space.plugins import load_shipped

__all__ = ["main"]


def main(connection: Connection, job: dict[str, Any]) -> None:
    """Train one trial, or several as one stacked model, and send the outcomes. Never raises: a failure is a message.

    Args:
        job: `trial`, `also`, `members` (trials that train together, else empty) and `ended` (those of them that have
            ended), `resources`, `checkpoints`, `origin` and `plugins` as plain values, `metric`,
            `keep_predictions`, `keep_samples`, and `log`, the path of the trial's log.
    """
    die_with_parent()
    is_preempted = listen_to_sigterm(job["checkpoints"]["grace_seconds"])
    try:
        _redirect_output(job["log"])
        limits = Resources.model_validate(job["resources"])
        hide_gpus(limits)
        load_shipped(job["plugins"])  # before the trial's spec is read, which may name what they add
        _use_threads(max(1, int(limits.cpus)))
        _hold_to_share(limits)
        if job["members"]:
            _train_group(connection, job, limits, is_preempted)
        else:
            _train(connection, job, limits, is_preempted)
    except (EOFError, BrokenPipeError):
        os._exit(1)  # the parent is gone
    except BaseException as err:
        failure: Failure = failure_of(err)
        print(failure.traceback, file=sys.stderr, flush=True)
        connection.send(("failure", failure.model_dump()))


def _train(connection: Connection, job: dict[str, Any], limits: Resources, is_preempted: Callable[[], bool]) -> None:
    epoch = 0

    def report(metrics: dict[str, float]) -> bool:
        nonlocal epoch
        epoch = int(metrics["epoch"])
        try:
            connection.send(("epoch", metrics))
            return bool(connection.recv())
        except (EOFError, OSError):
            if is_preempted():  # the worker died of the same SIGTERM: go on as far as the next checkpoint
                return False
            raise

    def report_other(key: str, metrics: dict[str, float]) -> None:
        try:
            connection.send(("other", {"key": key, "metrics": metrics}))
        except OSError:
            if not is_preempted():
                raise

    try:
        outcome = run_trial_in_processes(
            TrialSpec.model_validate(job["trial"]),
            also=[TrialSpec.model_validate(each) for each in job["also"]],
            report=report,
            report_other=report_other,
            resources=limits,
            directory=Path(job["log"]).parent if job["log"] else None,
            checkpoints=Checkpoints.model_validate(job["checkpoints"]),
            metric=job["metric"],
            keep_predictions=job["keep_predictions"],
            keep_samples=job["keep_samples"],
            origin=Origin.model_validate(job["origin"]),
            on_resume=lambda curve: connection.send(("resumed", curve)),
            is_preempted=is_preempted,
        )
        connection.send(("outcome", dataclasses.asdict(outcome)))
    except (EOFError, BrokenPipeError, TrialFailed):
        raise
    except Exception as err:
        raise TrialFailed(failure_of(err, epoch=epoch + 1)) from err


def _train_group(
    connection: Connection, job: dict[str, Any], limits: Resources, is_preempted: Callable[[], bool]
) -> None:
    specs = [TrialSpec.model_validate(each) for each in job["members"]]
    session = secrets.token_hex(8)
    count = itertools.count()

    def report(points: dict[str, dict[str, float]]) -> tuple[list[str], list[TrialSpec]]:
        try:
            connection.send(("epochs", {"report": f"{session}-{next(count)}", "points": points}))
            stop, joins = connection.recv()
        except (EOFError, OSError):
            if is_preempted():
                return [], []
            raise
        return stop, [TrialSpec.model_validate(each) for each in joins]

    def ended(key: str, result: Outcome | Failure) -> None:
        is_outcome = isinstance(result, Outcome)
        content = dataclasses.asdict(result) if is_outcome else result.model_dump()
        kind = "outcome" if is_outcome else "failure"
        try:
            connection.send(("member_ended", {"key": key, "kind": kind, "content": content}))
        except OSError:
            if not is_preempted():
                raise

    run_group(
        [each for each in specs if trial_id(each) not in job["ended"]],
        options=GroupOptions(
            resources=limits,
            checkpoints=Checkpoints.model_validate(job["checkpoints"]),
            metric=job["metric"],
            keep_predictions=job["keep_predictions"],
            keep_samples=job["keep_samples"],
            origin=Origin.model_validate(job["origin"]),
        ),
        report=report,
        ended=ended,
        folder_of=lambda key: Path(job["log"]).parent.with_name(key) if job["log"] else None,
        on_resume=lambda key, curve: connection.send(("member_resumed", {"key": key, "curve": curve})),
        is_preempted=is_preempted,
    )
    connection.send(("group_ended", {}))


def _use_threads(number: int) -> None:
    torch.set_num_threads(number)
    if number > 1:  # NumPy's, which a forkserver loads with one: a trial may be a function that computes with it
        threadpool_limits(number, user_api="blas")


def _hold_to_share(limits: Resources) -> None:
    """Limit GPU memory to the share: a trial that needs more than measured or given fails, not its neighbours.

    Of this GPU, because shares are made for the smallest one of the cluster.
    """
    if 0 < limits.num_gpus < 1 and torch.cuda.is_available():
        total_gib = torch.cuda.get_device_properties(0).total_memory / 2**30
        torch.cuda.set_per_process_memory_fraction(allocator_fraction(limits.num_gpus, total_gib))


def _redirect_output(log_path: str) -> None:
    if not log_path:
        return
    trial = TrialDir(Path(log_path).parent)
    folder_within(trial.path, trial.run_dir())
    descriptor = opener_within(trial.run_dir())(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
