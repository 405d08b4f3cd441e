"""The Ray side of a trial: a Tune `Trainable` that stays warm and runs each trial in a forked child.

A fresh actor costs seconds of imports per trial and a shared process leaks state from one trial into the next. Here the
actor is reused and only starts a forkserver that has torch loaded; each trial is a fork of it. Tune sees one `step` per
epoch; the last `step` carries the outcome and `done`.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import socket
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any

import ray
from ray import tune
from ray.tune.result import DONE

from archsweep import own_packages
from runners.engines.ray.fork_target import TRIAL_ENV, preload, run_forked_trial
from runners.trials.outcome import Outcome, too_slow

__all__ = ["TrialWorker"]

_GRACE_SECONDS = 5.0
_LOOK_EVERY_SECONDS = 0.2


class TrialWorker(tune.Trainable):
    """config: `job` (JSON text, see `main`), `key` (trial id), `stop_file` (path, see `StopRequest`)."""

    def setup(self, config: dict[str, Any]) -> None:
        # setup also runs on actors that never train: the child starts in the first step.
        self._child: Any = None
        self._connection: Connection | None = None
        self._unanswered = False
        self._time_limit: float | None = None
        self._deadline: float | None = None
        self._node = ray.get_runtime_context().get_node_id()
        self._is_stopping = False

    def step(self) -> dict[str, Any]:
        if self._child is None:
            if os.path.exists(self.config["stop_file"]):  # placed, but not begun
                content = json.dumps(asdict(Outcome("preempted")))
                return {"kind": "outcome", "content": content, "node": self._node, DONE: True}
            self._start_child()
            place = {
                "host": socket.gethostname(),
                "gpus": ray.get_runtime_context().get_accelerator_ids().get("GPU", []),
            }
            return {"kind": "placed", "content": json.dumps(place), "node": self._node}
        assert self._connection is not None
        assert self._child is not None
        try:
            if self._unanswered:
                self._connection.send(False)  # Tune called again, so its scheduler said CONTINUE
                self._unanswered = False
            kind, content = self._next_message(self._connection)
        except (EOFError, OSError):
            kind, content = self._exit_description()
        if kind == "epoch":
            self._unanswered = True
        if kind in ("epoch", "other", "resumed"):
            return {"kind": kind, "content": json.dumps(content), "node": self._node}
        self._end_child()
        return {"kind": kind, "content": json.dumps(content), "node": self._node, DONE: True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._end_child()
        self.config = new_config
        return True

    def cleanup(self) -> None:
        self._end_child()

    def _next_message(self, connection: Connection) -> tuple[str, Any]:
        """Next message of the child; checks meanwhile for the time limit and for a stop request."""
        while True:
            if not self._is_stopping and os.path.exists(self.config["stop_file"]):
                self._child.terminate()
                self._is_stopping = True
            left = self._seconds_left()
            if connection.poll(min(_LOOK_EVERY_SECONDS, left)):
                return connection.recv()
            if left <= _LOOK_EVERY_SECONDS:
                self._child.kill()
                return "failure", too_slow(self._time_limit).model_dump()

    def _start_child(self) -> None:
        os.environ.update(TRIAL_ENV)  # before the forkserver starts, which inherits them
        context = multiprocessing.get_context("forkserver")
        job = json.loads(self.config["job"])
        context.set_forkserver_preload(preload(job["trial"]["task"]["name"]))
        ours, theirs = context.Pipe()
        self._is_stopping = False
        self._time_limit = job["resources"]["time_limit"]
        self._deadline = None if self._time_limit is None else time.monotonic() + self._time_limit
        with _no_main_module():
            self._child = context.Process(target=own_packages.call, args=(run_forked_trial, theirs, job), daemon=False)
            self._child.start()
        theirs.close()
        self._connection = ours

    def _seconds_left(self) -> float:
        return math.inf if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def _end_child(self) -> None:
        if self._child is None:
            return
        assert self._connection is not None
        try:
            if self._unanswered:
                self._connection.send(True)
        except OSError:
            pass  # it has ended already
        self._connection.close()
        self._child.join(_GRACE_SECONDS)
        if self._child.is_alive():
            self._child.kill()
            self._child.join()
        self._child, self._connection, self._unanswered = None, None, False

    def _exit_description(self) -> tuple[str, dict[str, Any]]:
        self._child.join(_GRACE_SECONDS)
        code = self._child.exitcode
        if code == -signal.SIGTERM and self._is_stopping:  # before it handled signals: nothing to save yet
            return "outcome", asdict(Outcome("preempted"))
        if code == -signal.SIGKILL:
            message = "the trial's process was killed, most likely because memory ran out"
            return "failure", {"type": "Killed", "message": message}
        if code is not None and code < 0:
            return "failure", {"type": "WorkerDied", "message": f"the trial's process was ended by signal {-code}"}
        return "failure", {
            "type": "WorkerDied",
            "message": f"the trial's process ended with exit code {code} before its training did",
        }


@contextmanager
def _no_main_module():
    """Hide `__main__.__file__` while a child starts, which would otherwise re-import Ray's own worker script."""
    main = sys.modules["__main__"]
    missing = object()
    path, spec = getattr(main, "__file__", missing), getattr(main, "__spec__", None)
    if path is not missing:
        del main.__file__
    main.__spec__ = None
    try:
        yield
    finally:
        if path is not missing:
            main.__file__ = path  # pyright: ignore[reportAttributeAccessIssue]
        main.__spec__ = spec
