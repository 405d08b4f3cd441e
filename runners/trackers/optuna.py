"""Optuna: the run as a study in a storage of Optuna's own, live, for optuna-dashboard and for Optuna's plots.

One Optuna trial per trial of ours, of any design: RUNNING with its curve while it trains, then COMPLETE, PRUNED or
FAIL. The study is a mirror. It is never read back: a search proposes from the ledger (decision 1).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState, create_trial

from runners.trackers.contract import RunEnd, TrackedRun, TrackedSweep
from runners.trials.objectives import directions, objective, objective_names
from search_space import COST_NAMES, InvalidVariant, Setting, Sweep, params_of, suggest
from search_space.schema.tracking import OptunaSpec

__all__ = ["OptunaTracker"]

_STATES = {"completed": TrialState.COMPLETE, "pruned": TrialState.PRUNED}


class OptunaTracker:
    """Writes to `<run>/optuna/journal.log`, or to the storage that the sweep names."""

    def __init__(self, options: OptunaSpec, sweep: TrackedSweep) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        self._sweep = Sweep.model_validate(_with_tuples(sweep.settings))
        self._storage = _storage(options.storage or str(sweep.run_dir.optuna_journal))
        wanted = options.study or sweep.name
        name = self._own_name(wanted, sweep.token)
        self.notes: Sequence[str] = ()
        if name != wanted:
            self.notes = (f"optuna: the study is {name!r}: there {wanted!r} is of another run",)
        self._study = optuna.create_study(
            storage=self._storage, study_name=name, directions=directions(self._sweep), load_if_exists=True
        )
        self._study.set_user_attr("archsweep", {"run": str(sweep.run_dir), "token": sweep.token})
        self._study.set_metric_names(list(objective_names(self._sweep)))
        self._study_id = self._storage.get_study_id_from_name(name)
        # A trial that was begun before has its Optuna trial already: run id -> id there, the last epoch, whether over.
        self._known: dict[str, tuple[int, int, bool]] = {
            trial.user_attrs["run"]: (trial._trial_id, trial.last_step or 0, trial.state.is_finished())
            for trial in self._study.get_trials(deepcopy=False)
            if "run" in trial.user_attrs
        }

    def start(self, run: TrackedRun) -> int:
        if run.id not in self._known:
            params, distributions = self._drawn(run)
            names = {key: run.config[key] for key in ("variant", "variant_id", "trial_id", "seed", "attempt")}
            trial = create_trial(
                state=TrialState.RUNNING,
                params=params,
                distributions=distributions,
                user_attrs={**names, "run": run.id, **({"role": run.role} if run.role else {})},
            )
            self._known[run.id] = (self._storage.create_new_trial(self._study_id, trial), 0, False)
        return self._known[run.id][1]

    def epoch(self, run: TrackedRun, epoch: int, metrics: Mapping[str, float]) -> None:
        trial, last, is_over = self._known[run.id]
        value = objective(metrics, self._sweep.metric)
        if not is_over and epoch > last and value is not None:
            self._storage.set_trial_intermediate_value(trial, epoch, value)
            self._known[run.id] = (trial, epoch, is_over)

    def end(self, run: TrackedRun, ending: RunEnd) -> None:
        trial, last, is_over = self._known[run.id]
        if is_over or ending.status == "preempted":  # a preempted one runs on later
            return
        for key, value in {**ending.numbers, **ending.words}.items():
            self._storage.set_trial_user_attr(trial, key, value)
        state, values = _STATES.get(ending.status, TrialState.FAIL), self._values(ending)
        if state == TrialState.COMPLETE and values is None:
            state = TrialState.FAIL
        self._storage.set_trial_state_values(trial, state, values if state == TrialState.COMPLETE else None)
        self._known[run.id] = (trial, last, True)

    def interrupt(self, run: TrackedRun) -> None:
        """Do nothing: the trial stays RUNNING until the next start continues it."""

    def table(self, files: Sequence[Path]) -> None:
        """Store the table as the note of the study, where optuna-dashboard is installed, whose function writes it."""
        try:
            from optuna_dashboard import save_note
        except ImportError:
            return
        for file in files:
            if file.suffix == ".md":
                save_note(self._study, file.read_text(encoding="utf-8"))

    def close(self) -> None:
        """Do nothing: every call above is durable when it returns."""

    def _own_name(self, wanted: str, token: str) -> str:
        """The name of this run's study; `wanted`, unless that is a study of another run or of another program."""
        for study in self._storage.get_all_studies():
            if study.study_name == wanted:
                theirs = study.user_attrs.get("archsweep", {})
                return wanted if theirs.get("token") == token else f"{wanted}-{token}"
        return wanted

    def _drawn(self, run: TrackedRun) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
        """Parameters as a search of this space has them, also of the rows of a design; none for rows outside of it."""
        setting = Setting.model_validate({key: run.spec[key] for key in ("arch", "task", "train")})
        params = run.params or params_of(self._sweep, setting)
        if not params:
            return {}, {}
        fixed = optuna.trial.FixedTrial(dict(params))
        try:
            suggest(self._sweep, fixed)
        except InvalidVariant:
            pass
        except ValueError:  # the space was edited since
            return {}, {}
        return {name: params[name] for name in fixed.distributions}, fixed.distributions

    def _values(self, ending: RunEnd) -> list[float] | None:
        found = [
            ending.numbers.get(name) if name in COST_NAMES else objective(ending.numbers, name)
            for name in objective_names(self._sweep)
        ]
        values = [value for value in found if value is not None]
        return values if len(values) == len(found) else None


def _with_tuples(value: Any) -> Any:
    """The value with tuples, as a sweep file is read; JSON has lists only."""
    if isinstance(value, Mapping):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _storage(place: str) -> BaseStorage:
    """A database by its URL, else a journal file."""
    if re.match(r"[a-z0-9+]+://", place):
        return RDBStorage(place)
    path = Path(place).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    _cut_torn_line(path)
    return JournalStorage(JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path))))


def _cut_torn_line(path: Path) -> None:
    """Cut off the half line that a killed writer may leave, after which Optuna could not read the file any more."""
    if not path.exists() or not path.stat().st_size:
        return
    lock = JournalFileOpenLock(str(path))
    lock.acquire()
    try:
        with path.open("r+b") as stream:
            content = stream.read()
            stream.truncate(content.rfind(b"\n") + 1)
    finally:
        lock.release()
