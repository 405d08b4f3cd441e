"""The Ray side of a trial: a Tune `Trainable` that stays warm and runs each trial in a forked child.

A fresh actor costs seconds of imports per trial and a shared process leaks state from one trial into the next. Here the
actor is reused and imports no torch; each trial is forked by a forkserver that has it loaded, the one of this node or
its own. Tune sees one `step` per epoch; the last `step` carries the outcome and `done`.
"""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.result import DONE

from runners.engines.forkserver.client import ForkedProcess
from runners.engines.forkserver.start import spawned_forkserver
from runners.engines.forkserver.trial_target import VARIABLE, trial_request
from runners.engines.ray.group_answers import answer_to, latest_answer
from runners.machine.node_files import node_files_kept
from runners.trials.form import group_limit
from runners.trials.outcome import Outcome, too_slow

__all__ = ["REPORTS", "TrialWorker"]

REPORTS = ("epoch", "other", "resumed", "epochs", "member_resumed", "member_ended")
"""Kinds of a child's messages after which it goes on."""

_GRACE_SECONDS = 5.0
_LOOK_EVERY_SECONDS = 0.2


class TrialWorker(tune.Trainable):
    """config: `job` (JSON text, see `main`), `keys` (trial ids), `stop_file` (path, see `StopRequest`), `answers` (path
    of a group, see `GroupAnswers`; empty for a trial by itself)."""

    def setup(self, config: dict[str, Any]) -> None:
        # setup also runs on actors that never train: the child starts in the first step.
        self._child: ForkedProcess | None = None
        self._forkserver = os.environ.get(VARIABLE, "")
        self._unanswered = ""  # name of a report that the child waits to be answered
        self._time_limit: float | None = None
        self._deadline: float | None = None
        self._keys: set[str] = set()  # of all trials that the child was given
        self._node = ray.get_runtime_context().get_node_id()
        self._is_stopping = False
        self._shared = ExitStack()
        self._shared.enter_context(node_files_kept())  # also on nodes without a driver

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
        child = self._child
        try:
            if self._unanswered:  # Tune called again, so its scheduler said CONTINUE
                child.connection.send(self._group_answer() if self.config["answers"] else False)
                self._unanswered = ""
            kind, content = self._next_message(child)
        except (EOFError, OSError):
            kind, content = self._exit_description(child)
        if kind == "epoch":
            self._unanswered = "epoch"
        if kind == "epochs":
            self._unanswered = content["report"]
        if kind in REPORTS:
            return {"kind": kind, "content": json.dumps(content), "node": self._node}
        self._end_child()
        return {"kind": kind, "content": json.dumps(content), "node": self._node, DONE: True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._end_child()
        self.config = new_config
        return True

    def cleanup(self) -> None:
        self._end_child()
        self._shared.close()

    def _next_message(self, child: ForkedProcess) -> tuple[str, Any]:
        """Next message of the child; checks meanwhile for the time limit and for a stop request."""
        while True:
            if not self._is_stopping and os.path.exists(self.config["stop_file"]):
                child.terminate()
                self._is_stopping = True
            left = self._seconds_left()
            if child.connection.poll(min(_LOOK_EVERY_SECONDS, left)):
                return child.connection.recv()
            if left <= _LOOK_EVERY_SECONDS:
                child.kill()
                return "failure", too_slow(self._time_limit).model_dump()

    def _start_child(self) -> None:
        job = json.loads(self.config["job"])
        self._keys = set(self.config["keys"])
        if self.config["answers"]:
            known = latest_answer(Path(self.config["answers"]))
            job["ended"] = sorted(known.ended)
            job["members"] += known.joined.values()
            self._keys.update(known.joined, known.ended)
        self._is_stopping = False
        self._time_limit = job["resources"]["time_limit"]
        limit = group_limit(self._time_limit, len(self._keys))
        self._deadline = None if limit is None else time.monotonic() + limit
        request = trial_request(job, os.environ)
        try:
            self._child = ForkedProcess(self._forkserver, request)
        except OSError:  # none was named, or it was killed
            own = spawned_forkserver(job["trial"]["task"]["name"])
            self._forkserver = self._shared.enter_context(own)
            self._child = ForkedProcess(self._forkserver, request)

    def _group_answer(self) -> tuple[list[str], list[dict[str, Any]]]:
        """The driver's answer to the group: the members that are to stop, and the specs of those that join."""
        answer = answer_to(Path(self.config["answers"]), self._unanswered)
        joins = {key: spec for key, spec in answer.joined.items() if key not in self._keys}
        self._keys.update(joins)
        more = group_limit(self._time_limit, len(joins))
        if self._deadline is not None and more is not None:
            self._deadline += more
        return answer.stop, list(joins.values())

    def _seconds_left(self) -> float:
        return math.inf if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def _end_child(self) -> None:
        child = self._child
        if child is None:
            return
        try:
            if self._unanswered:
                child.connection.send((sorted(self._keys), []) if self.config["answers"] else True)
        except OSError:
            pass  # it has ended already
        child.connection.close()
        if child.exit_code(_GRACE_SECONDS) is None:
            child.kill()
            child.exit_code()
        child.close()
        self._child, self._unanswered = None, ""

    def _exit_description(self, child: ForkedProcess) -> tuple[str, dict[str, Any]]:
        code = child.exit_code(_GRACE_SECONDS)
        if child.refusal:
            return "failure", {"type": "WorkerDied", "message": f"the trial's process could not start: {child.refusal}"}
        if child.is_lost:
            return "failure", {"type": "WorkerDied", "message": "the trial's process was lost with its forkserver"}
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
