"""The `ray` engine: Ray Tune places trials, keeps workers warm and restarts them when a node is lost. It owns no state.

Two thin classes hang on the driver's book: a `Searcher` that asks it for trials and tells it what became of them, and a
`TrialScheduler` that hands it each epoch and stops what it says to stop. Why not `OptunaSearch`, `Tuner.restore` or
function trainables: docs/decisions/0001-ray-executes-the-ledger-remembers.md.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from results.records import Failure
from runners.assignment import Assignment
from runners.book import TrialBook
from runners.outcome import Outcome
from search_space import Problem, Resources, SpecError

# Read by Ray at import: they must be set first.
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
os.environ.update({key: os.environ.get(key, value) for key, value in _ENVIRONMENT.items()})

import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray.tune.schedulers import FIFOScheduler, TrialScheduler  # noqa: E402
from ray.tune.search import Searcher  # noqa: E402

from runners.engines.cluster_check import check_nodes  # noqa: E402
from runners.engines.driver_error import DriverError  # noqa: E402
from runners.engines.worker import TrialWorker  # noqa: E402

__all__ = ["run_on_ray"]

_MAX_WORKER_FAILURES = 2
_SESSIONS = Path("/tmp") if os.name == "posix" else Path(tempfile.gettempdir())
_SESSION_PREFIX = "asw-"


class _BookSearcher(Searcher):
    """Tune asks for trials and tells their end; both go straight to the book."""

    def __init__(self, book: TrialBook, run_dir: Path, error: DriverError) -> None:
        super().__init__(metric=None, mode=None)
        self._book = book
        self._run_dir = run_dir
        self._error = error
        self._keys: dict[str, str] = {}  # Tune's trial id -> ours

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searcher; the book holds locks and is not for keeping

    def suggest(self, trial_id: str) -> Any:
        assignment = self._error.guard(self._book.ask)
        if assignment is None:
            return Searcher.FINISHED
        self._keys[trial_id] = assignment.trial_id
        return _worker_config(assignment, self._book.plan.sweep.resources, self._run_dir)

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        key = self._keys.pop(trial_id)
        self._error.guard(lambda: self._finish(key, result, error))

    def _finish(self, key: str, result: dict | None, error: bool) -> None:
        if not self._book.is_running(key):
            return
        if self._book.is_pruned(key):
            self._book.finish(key, None)
        elif error or not result or result.get("kind") == "epoch":
            message = f"the worker was lost {_MAX_WORKER_FAILURES + 1} times (node failure or out of memory)"
            self._book.finish(key, Failure(type="WorkerDied", message=message, traceback=self._book.lost_workers(key)))
        else:
            content = json.loads(result["content"])
            is_outcome = result["kind"] == "outcome"
            self._book.finish(key, Outcome(**content) if is_outcome else Failure.model_validate(content))

    def on_trial_result(self, trial_id: str, result: dict) -> None:
        pass  # the scheduler reports: it is the one that may stop a trial

    def save(self, checkpoint_path: str) -> None:
        pass  # the ledger remembers

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("run the sweep again instead: the ledger continues it")


class _BookScheduler(FIFOScheduler):
    """First in, first out; each epoch is shown to the book, whose pruner may stop the trial."""

    _supports_buffered_results = False

    def __init__(self, book: TrialBook, error: DriverError) -> None:
        super().__init__()
        self._book = book
        self._error = error

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        error = trial.get_error()
        self._book.note_lost_worker(trial.config["key"], str(error) if error else "")
        super().on_trial_error(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict) -> str:
        if result.get("kind") != "epoch":
            return TrialScheduler.CONTINUE
        content = json.loads(result["content"])
        stop = self._error.guard(lambda: self._book.report(trial.config["key"], content), otherwise=True)
        return TrialScheduler.STOP if stop else TrialScheduler.CONTINUE


def run_on_ray(book: TrialBook, *, run_dir: Path, address: str | None = None) -> None:
    """Trains everything the book asks for on a Ray cluster: a private one on this machine, or the one at `address`.

    A cluster that is already connected in this process is used and left running.

    Raises:
        SpecError: a trial asks for more than the cluster has, or there is no cluster at `address`.
    """
    resources = book.plan.sweep.resources
    with _cluster(address) as total:
        if address not in (None, "local"):
            check_nodes(run_dir, resources)
        slots = _slots(resources, total)
        error = DriverError()
        scratch = tempfile.mkdtemp(prefix="archsweep-tune-")
        try:
            tuner = tune.Tuner(
                tune.with_resources(TrialWorker, {"cpu": resources.cpus, "gpu": resources.gpus}),
                tune_config=tune.TuneConfig(
                    search_alg=_BookSearcher(book, run_dir, error),
                    scheduler=_BookScheduler(book, error),
                    num_samples=-1,
                    max_concurrent_trials=min(slots, book.num_startable),
                    reuse_actors=True,
                    trial_dirname_creator=lambda trial: trial.trial_id,
                ),
                run_config=tune.RunConfig(
                    name="tune",
                    storage_path=scratch,
                    verbose=0,
                    checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                    failure_config=tune.FailureConfig(max_failures=_MAX_WORKER_FAILURES),
                ),
            )
            tuner.fit()
            error.raise_caught()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _worker_config(assignment: Assignment, resources: Resources, run_dir: Path) -> dict[str, Any]:
    return {
        "key": assignment.trial_id,
        "trial": assignment.spec.model_dump_json(),
        "resources": resources.model_dump_json(),
        "log": str(run_dir / "trials" / assignment.trial_id / "train.log"),
    }


def _slots(resources: Resources, total: Mapping[str, float]) -> int:
    """How many trials fit at once."""
    problems, fits = [], []
    for path, asked, kind in (("cpus", resources.cpus, "CPU"), ("gpus", resources.gpus, "GPU")):
        if asked <= 0:
            continue
        have = total.get(kind, 0.0)
        if asked > have:
            text = f"a trial asks for {asked:g} {kind}s, the cluster has {have:g}"
            problems.append(Problem(text, path=f"resources.{path}", hint=f"lower it, or --set resources.{path}=..."))
        fits.append(int(have / asked + 1e-9))
    if problems:
        raise SpecError(problems)
    slots = min(fits) if fits else 1
    return min(slots, resources.max_concurrent) if resources.max_concurrent else slots


@contextmanager
def _cluster(address: str | None) -> Iterator[Mapping[str, float]]:
    for name in ("ray", "ray.tune", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if ray.is_initialized():
        yield dict(ray.cluster_resources())
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    # Unix sockets below this directory may not exceed 107 characters: a short one of our own, removed afterwards.
    _remove_leftovers()
    session = tempfile.mkdtemp(prefix=f"{_SESSION_PREFIX}{os.getpid()}-", dir=_SESSIONS)
    try:
        if address is None or address == "local":
            ray.init(
                address="local", num_cpus=_usable_cpus(), include_dashboard=False, _temp_dir=session,
                object_store_memory=200 * 2**20, **quiet,
            )  # fmt: skip
        else:
            try:
                ray.init(address=address, **quiet)
            except (ConnectionError, ValueError, RuntimeError) as err:
                hint = (
                    "`ray status` on the head node shows its address; a cluster with token authentication also needs "
                    "RAY_AUTH_MODE=token here; without --address archsweep starts a cluster of its own"
                )
                raise SpecError(Problem(f"no Ray cluster at {address!r}: {err}", where="--address", hint=hint)) from err
        yield dict(ray.cluster_resources())
    finally:
        ray.shutdown()
        shutil.rmtree(session, ignore_errors=True)


def _remove_leftovers() -> None:
    """Clears away what drivers that were killed left behind: Ray writes some megabytes per session."""
    for left in _SESSIONS.glob(f"{_SESSION_PREFIX}*-*"):
        pid = left.name.removeprefix(_SESSION_PREFIX).split("-")[0]
        if pid.isdigit() and not _is_alive(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, and alive
    return True


def _usable_cpus() -> int:
    """Cores this process may use; a container or `taskset` may allow fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
