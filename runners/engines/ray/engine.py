"""The `ray` engine: Ray Tune places trials, keeps workers warm and restarts them when a node is lost. It owns no state.

Two thin classes connect Tune to the driver's orchestrator: a `Searcher` that asks it for trials and reports their ends,
and a `TrialScheduler` that reports each epoch and stops the trials it wants stopped. Why not `OptunaSearch`,
`Tuner.restore` or function trainables: docs/decisions/0001-ray-executes-the-ledger-remembers.md.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from archsweep.own_packages import FirstImport
from results.store.records import Failure
from results.store.run_layout import RunDir
from runners.driver.orchestrator import Orchestrator
from runners.engines.forkserver.start import node_forkserver
from runners.engines.nodes.autoscaling import await_node, placeholders
from runners.engines.nodes.capacity import demand_of
from runners.engines.nodes.checks import JoiningNodes, check_nodes
from runners.engines.nodes.cluster import cluster
from runners.engines.ray.gpu_memory import GpuShares, check_shares
from runners.engines.ray.handed_out import HandedOut, worker_config
from runners.engines.ray.lost_cluster import LostCluster
from runners.engines.ray.placement import Placement, living_nodes, request_of
from runners.engines.ray.worker import REPORTS, TrialWorker
from runners.machine.scratch import scratch_folder
from runners.trials.assignment import Assignment, Place
from runners.trials.out_of_memory import says_out_of_memory
from runners.trials.outcome import Outcome
from search_space import Resources

__all__ = ["DriverError", "run_on_ray"]

_GUESS = "node failure or out of memory"  # all that is known where Ray saw a worker's connection end
_MOST_TRIALS_AT_ONCE = 10_000  # the searcher counts the free room itself


class _OrchestratorSearcher(Searcher):
    """Searcher that passes Tune's requests for trials, and their ends, to the orchestrator."""

    def __init__(self, orchestrator: Orchestrator, placement: Placement, run_dir: RunDir, error: DriverError) -> None:
        super().__init__(metric=None, mode=None)
        self._orchestrator = orchestrator
        self._placement = placement
        self._run_dir = run_dir
        self._error = error
        self._given: dict[str, HandedOut] = {}  # by Tune's trial id
        self._taken: dict[str, dict[str, float]] = {}  # the CPUs and GPUs of each
        self._trials: dict[str, Any] = {}  # Tune's own

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searcher; the orchestrator holds locks and must not be pickled

    def suggest(self, trial_id: str) -> Any:
        if self._given and not self._error.guard(self._has_room, otherwise=False):
            self._placement.request_capacity(
                len(self._given), 0 if self._orchestrator.is_stopping else self._orchestrator.num_startable
            )
            return None  # Tune asks again
        config = self._error.guard(lambda: self._next(trial_id))
        if config is None and self._given and self._error.caught is None:
            return None  # one of these may have to run again
        return config or Searcher.FINISHED

    def _has_room(self) -> bool:
        return self._placement.has_room(self._taken.values())

    def _next(self, trial_id: str) -> dict[str, Any] | None:
        trials = self._orchestrator.ask_group(self._placement.num_at_once())
        if not trials:
            self._placement.request_capacity(len(self._given), 0)
            return None
        placed = self._placement.config(trials[0])
        group = self._given[trial_id] = HandedOut(trials, self._run_dir.group_answers(trial_id))
        self._taken[trial_id] = placed["demand"]
        config = worker_config(group, self._orchestrator, self._run_dir, gpus=placed["demand"]["GPU"])
        return {**config, **placed}

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        group = self._given.pop(trial_id)
        self._taken.pop(trial_id)
        self._error.guard(lambda: self._finish_all(group, result, error))
        trial = self._trials.pop(trial_id)
        if not error:
            _empty(trial)

    def added(self, trial: Any) -> None:
        """Note the trial that Tune has made for what was suggested."""
        self._trials[trial.trial_id] = trial

    def _finish_all(self, group: HandedOut, result: dict | None, error: bool) -> None:
        """Record the end of every trial that the worker trained and that has not ended before."""
        for assignment in group.trials:
            key = assignment.trial_id
            if not self._orchestrator.is_running(key):
                continue
            if self._orchestrator.is_pruned(key):
                self.finish(assignment, None)
                continue
            if result:
                self._placement.record_node(key, result["node"])
            self.finish(assignment, _trial_result(self._orchestrator, key, result, error))
        group.close()

    def finish(self, assignment: Assignment, ended: Outcome | Failure | None) -> None:
        """Record the end of a trial, and what it says of its node."""
        may_retry = ended is not None and self._placement.may_run_exclusively(assignment)
        record = self._orchestrator.finish(assignment.trial_id, ended, may_retry_exclusively=may_retry)
        for failed in self._placement.record_result(record):
            self._orchestrator.run_again(failed.trial_id)

    def group_of(self, trial_id: str) -> HandedOut:
        """What one worker trains, by Tune's id of the trial that it is to Tune."""
        return self._given[trial_id]

    def on_trial_result(self, trial_id: str, result: dict) -> None:
        pass  # the scheduler reports: it is the one that may stop a trial

    def save(self, checkpoint_path: str) -> None:
        pass  # the ledger remembers

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("run the sweep again instead: the ledger continues it")


class _OrchestratorScheduler(FIFOScheduler):
    """FIFO scheduler that reports each epoch to the orchestrator, whose pruner may stop the trial."""

    _supports_buffered_results = False

    def __init__(
        self, orchestrator: Orchestrator, searcher: _OrchestratorSearcher, placement: Placement, error: DriverError
    ) -> None:
        super().__init__()
        self._orchestrator = orchestrator
        self._searcher = searcher
        self._placement = placement
        self._error = error
        self._turns: dict[str, int] = {}  # Tune's trial id -> when it came, of those that have not ended
        self._count = itertools.count()

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The first waiting trial; Tune's own scheduler searches all trials of the run, several times for each."""
        waiting = [trial for trial in tune_controller.get_live_trials() if trial.status == trial.PENDING]
        return min(waiting, key=lambda trial: self._turns.get(trial.trial_id, 0), default=None)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict) -> None:
        self._turns.pop(trial.trial_id, None)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self._turns[trial.trial_id] = next(self._count)
        self._searcher.added(trial)
        if self._orchestrator.variant_keeps_failing(trial.config["key"]):
            trial.max_failures = 0  # it would take as many workers again
        super().on_trial_add(tune_controller, trial)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        reason = Path(trial.error_file)  # on this machine; `trial.get_error()` looks where Tune would store it
        text = reason.read_text(errors="replace") if reason.is_file() else ""
        for each in self._searcher.group_of(trial.trial_id).trials:
            if self._orchestrator.is_running(each.trial_id):
                self._orchestrator.record_lost_worker(each.trial_id, text.rpartition("Failure # ")[2])
        super().on_trial_error(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict) -> str:
        if result.get("kind") not in ("placed", *REPORTS):
            return TrialScheduler.CONTINUE
        content = json.loads(result["content"])
        group = self._searcher.group_of(trial.trial_id)
        stop = self._error.guard(lambda: self._heard(group, result["kind"], content, result["node"]), otherwise=True)
        return TrialScheduler.STOP if stop else TrialScheduler.CONTINUE

    def _heard(self, group: HandedOut, kind: str, content: Any, node: str) -> bool:
        """Pass a report of a worker to the orchestrator; True if the worker is to stop."""
        running = [each.trial_id for each in group.trials if self._orchestrator.is_running(each.trial_id)]
        if kind == "placed":
            group.place = Place(content["host"], tuple(content["gpus"]))
            for key in running:
                self._orchestrator.placed(key, group.place)
            return False
        for key in running:
            self._placement.record_node(key, node)
        if kind == "epoch":
            return self._orchestrator.report(group.key, content)
        if kind == "resumed":
            self._orchestrator.resume(group.key, content)
        elif kind == "other":
            self._orchestrator.report_other(content["key"], content["metrics"])
        elif kind == "member_resumed":
            self._orchestrator.resume(content["key"], content["curve"])
        elif kind == "epochs":
            answer = self._orchestrator.report_group(content["points"])
            assert group.place is not None, "a worker says first where it is"
            for each in answer.joined:
                self._orchestrator.placed(each.trial_id, group.place)
                self._placement.record_node(each.trial_id, node)
            group.answer(content["report"], answer)
        else:
            assert group.answers is not None, "a trial by itself ends with its worker's last message"
            self._searcher.finish(group.trial(content["key"]), _result_of(content["kind"], content["content"]))
            group.answers.note_end(content["key"])
        return False


def run_on_ray(
    orchestrator: Orchestrator,
    *,
    run_dir: RunDir,
    address: str | None = None,
    worker: type[tune.Trainable] = TrialWorker,
) -> None:
    """Train the trials of the orchestrator on a Ray cluster: a private one on this machine, or the one at `address`.

    A cluster that is already connected in this process is used and left running. `worker` is what trains; benchmarks
    put one there that does nothing.

    Raises:
        SpecError: a trial asks for more than the cluster has, there is no cluster at `address`, or the private one was
            lost.
    """
    resources, kinds = orchestrator.plan.sweep.resources, orchestrator.plan.kinds_of_resources
    # Ray takes SIGTERM for itself when it starts: we listen after that.
    is_private = address in (None, "local")
    starts_cluster = is_private and not ray.is_initialized()
    with (
        # Before its workers, which find it in their environment; what they train is of one task.
        node_forkserver(orchestrator.plan.sweep.baseline.task.name) if starts_cluster else nullcontext(),
        cluster(address),
        orchestrator.stop.listening() if orchestrator.stop else nullcontext(),
        nullcontext() if is_private else placeholders() as waiting,
    ):
        joining = None
        if waiting is not None:
            for kind in kinds:
                await_node(_most(kind), living_nodes, waiting, is_stopping=lambda: orchestrator.is_stopping)
            if orchestrator.is_stopping:
                return
            least = resources.model_copy(
                update={"cpus": min(each.cpus for each in kinds), "gpus": min(each.num_gpus for each in kinds)}
            )
            joining = JoiningNodes(run_dir, least, known=check_nodes(run_dir, least))
        error = DriverError()
        by_memory = any(each.gpu_memory is not None for each in kinds)
        check_shares(kinds, living_nodes())
        shares = None
        if by_memory:
            stopping = {"is_stopping": lambda: orchestrator.is_stopping}
            shares = GpuShares(orchestrator.plan, run_dir, living_nodes(), **stopping)
            if orchestrator.is_stopping:
                return
        placement = Placement(
            resources, kinds, lambda assignment: _resources_of(assignment, orchestrator, shares), waiting, joining
        )
        with scratch_folder("tune") as scratch:
            searcher = _OrchestratorSearcher(orchestrator, placement, run_dir, error)
            tuner = tune.Tuner(
                tune.with_resources(_importing_ours_first(worker), request_of),
                tune_config=tune.TuneConfig(
                    search_alg=searcher,
                    scheduler=_OrchestratorScheduler(orchestrator, searcher, placement, error),
                    num_samples=-1,
                    max_concurrent_trials=_MOST_TRIALS_AT_ONCE,
                    reuse_actors=True,
                    trial_dirname_creator=lambda trial: trial.trial_id,
                ),
                run_config=tune.RunConfig(
                    name="tune",
                    storage_path=str(scratch),
                    verbose=0,
                    # In a notebook Tune's own would clear the cell, with our progress in it, also where it is silent.
                    progress_reporter=tune.CLIReporter(),
                    stop=LostCluster() if starts_cluster else None,
                    checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                    failure_config=tune.FailureConfig(max_failures=resources.max_failures),
                ),
            )
            tuner.fit()
            error.raise_caught()


def _importing_ours_first(worker: type[tune.Trainable]) -> type[tune.Trainable]:
    """The same class for a Ray worker, in which the driver's working directory comes first on `sys.path`: made here,
    it travels by value, and its first base class pins our names before `runners` is imported for the second."""
    return type(worker.__name__, (FirstImport, worker), {})


def _resources_of(assignment: Assignment, orchestrator: Orchestrator, shares: GpuShares | None) -> Resources:
    found = orchestrator.plan.resources_of(assignment.variant)
    if found.gpu_memory is None:
        return found
    assert shares is not None, "a kind of resources that the plan did not foresee"
    return found.model_copy(update={"gpus": shares(assignment)})


def _most(resources: Resources) -> dict[str, float]:
    """The largest request of a trial; its share of a GPU is known only where a GPU is present."""
    return demand_of(resources) if resources.gpu_memory is None else {**demand_of(resources), "GPU": 1.0}


def _trial_result(orchestrator: Orchestrator, key: str, result: dict | None, error: bool) -> Outcome | Failure:
    if error or not result or result.get("kind") not in ("outcome", "failure"):
        reasons = orchestrator.lost_workers(key)
        times = "once" if len(reasons) == 1 else f"{len(reasons)} times"
        cause = _error_in(reasons[-1]) if reasons else ""
        message = f"its worker failed {times}: {cause}" if cause else f"its worker was lost {times} ({_GUESS})"
        kind = "OutOfMemory" if says_out_of_memory(cause) else "WorkerDied"
        return Failure(type=kind, message=message, traceback="\n".join(reasons))
    return _result_of(result["kind"], json.loads(result["content"]))


def _result_of(kind: str, content: dict[str, Any]) -> Outcome | Failure:
    return Outcome.of(content) if kind == "outcome" else Failure.model_validate(content)


def _error_in(reason: str) -> str:
    """Type and message of the exception that a traceback ends with; empty for a worker that died without one."""
    _, frame, rest = reason.rpartition('\n  File "')
    lines = rest.splitlines()[1:] if frame else []
    return next((line for line in lines if line and not line[0].isspace()), "")


def _empty(trial: Any) -> None:
    """Empty a trial of Tune's that has ended, before Tune serialises it: the ledger has its records.

    Tune keeps every trial until the run is over: the means of its metrics over the last 5 and 10 reports, its last
    report, two copies of its configuration, and a JSON text of all that; more memory per trial than everything of ours.

    Its attributes have no underscore; that they may be emptied is not documented. `benchmarks/scale.py` shows whether
    it still helps, and every test of the engine that it does no harm.
    """
    trial.run_metadata.metric_analysis = {}
    trial.run_metadata.metric_n_steps = {}
    trial.run_metadata.last_result = {}
    trial.evaluated_params = {}
    trial.experiment_tag = ""  # the configuration once more, as text
    # In place: Tune holds the same mapping in two attributes. The key stays for our scheduler.
    for name in [name for name in trial.config if name != "key"]:
        del trial.config[name]


class DriverError:
    """First exception of the orchestrator (a full disk, say): an engine must not take it for a failing trial."""

    def __init__(self) -> None:
        self.caught: BaseException | None = None

    def guard(self, action: Callable[[], Any], otherwise: Any = None) -> Any:
        """The answer of `action`, or `otherwise` from the first error on."""
        if self.caught is not None:
            return otherwise
        try:
            return action()
        except Exception as err:
            self.caught = err
            return otherwise

    def raise_caught(self) -> None:
        """Raise the kept exception, if there is one."""
        if self.caught is not None:
            raise self.caught
