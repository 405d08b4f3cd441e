"""The process of one tracker. It reads events from stdin, one JSON object a line, until stdin ends.

A process and not a thread, because a client library may hang, crash, take over signals or print, and because importing
one and writing for it takes time that belongs to the trials. It ends when the driver does, also a killed one, and then
marks the running trials as interrupted.

To stdout it writes messages for the user, again one JSON object a line: {"note": TEXT} or {"problem": TEXT}.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import IO, Any

from filelock import lock_descriptor
from pydantic import TypeAdapter

from results.store.ledger import read_ledger
from results.store.links import opener_within
from results.store.records import TrialRecord
from results.store.run_layout import RunDir
from runners.trackers import TRACKERS
from runners.trackers.contract import TrackedSweep
from runners.trackers.delivery import Delivered, Delivery
from search_space.parsing.secrets import MaskedOutput, masked
from search_space.schema.tracking import TrackerSpec

__all__ = ["main"]

_TABLES = ("md", "csv")
_LAST_SECONDS = 120
"""Longest time to finish after the end of the driver: no process is left that could end one that hangs."""


def main() -> None:
    """Entry point; the first line of stdin names the tracker and the run."""
    for number in (signal.SIGINT, signal.SIGTERM):  # meant for the driver, whose end is ours
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(5)
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # libraries print to stdout; stderr is our log
    sys.stdout, sys.stderr = MaskedOutput(sys.stdout), MaskedOutput(sys.stderr)  # where servers are named
    threading.Thread(target=_outlive_briefly, args=(os.getppid(),), daemon=True).start()
    try:
        _serve(sys.stdin, replies)
    except BaseException as err:
        print(traceback.format_exc(), file=sys.stderr, flush=True)
        _reply(replies, problem=_error_message(err))
        os._exit(1)  # without the library's exit handlers: it has failed
    sys.stderr.flush()


def _outlive_briefly(driver: int) -> None:
    while os.getppid() == driver:
        time.sleep(1)
    time.sleep(_LAST_SECONDS)
    os._exit(1)


def _serve(lines: IO[str], replies: IO[str]) -> None:
    job = json.loads(lines.readline())
    options: Any = TypeAdapter(TrackerSpec).validate_python(job["options"])
    if options.name == "tensorboard":
        # tensorboardX loads torch where it can: 2 seconds and 250 MB for nothing.
        sys.modules.setdefault("torch", None)  # pyright: ignore[reportArgumentType]
    sweep = TrackedSweep(job["sweep"], RunDir(Path(job["run_dir"])), job["token"], job["settings"])
    with _only_one(sweep.run_dir, options.name):
        tracker = TRACKERS[options.name](options, sweep)
        for note in tracker.notes:
            _reply(replies, note=note)
        delivery = Delivery(tracker, sweep, Delivered(options, sweep.run_dir))
        for line in lines:
            if not line.endswith("\n"):  # the driver died while it wrote
                break
            _deliver(delivery, sweep, json.loads(line))
        delivery.close()


def _deliver(delivery: Delivery, sweep: TrackedSweep, event: dict[str, Any]) -> None:
    kind = event["event"]
    if kind == "start":
        delivery.start(event["fields"])
    elif kind == "epoch":
        delivery.epoch(event["fields"], event["metrics"])
    elif kind == "end":
        delivery.end(TrialRecord.model_validate_json(event["record"]))
    elif kind == "catch_up":
        delivery.catch_up(read_ledger(sweep.run_dir.ledger).records)
    else:
        delivery.table([sweep.run_dir.table(each) for each in _TABLES])


@contextlib.contextmanager
def _only_one(run_dir: RunDir, name: str):
    """Waits for the process of a killed driver, which may still deliver its last events."""
    with open(run_dir.tracker(name).lock, "w", opener=opener_within(run_dir)) as lock:
        lock_descriptor(lock.fileno())
        yield


def _reply(replies: IO[str], **said: str) -> None:
    with contextlib.suppress(OSError):  # the driver has gone
        print(json.dumps(said), file=replies, flush=True)


def _error_message(err: BaseException) -> str:
    first = (str(err).strip() or type(err).__name__).splitlines()[0]
    return f"{type(err).__name__}: {masked(first)[:300]}"
