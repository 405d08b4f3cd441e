"""Experiment trackers that watch a run: explicit table, loaded only in the process that needs them.

A tracker is its own client library behind the contract of `contract.py`. It runs in a process of its own
(`process.py`), to which the driver sends events without waiting (`tracking.py`):
docs/decisions/0007-trackers-observe.md.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

from runners.trackers.contract import TrackedSweep, Tracker
from search_space import Problem, SweepFile
from search_space.schema.tracking import OptunaSpec

__all__ = ["LIBRARIES", "TRACKERS", "library_problems"]


def _mlflow(options: Any, sweep: TrackedSweep) -> Tracker:
    from runners.trackers.mlflow import MlflowTracker

    return MlflowTracker(options, sweep)


def _optuna(options: Any, sweep: TrackedSweep) -> Tracker:
    from runners.trackers.optuna import OptunaTracker

    return OptunaTracker(options, sweep)


def _tensorboard(options: Any, sweep: TrackedSweep) -> Tracker:
    from runners.trackers.tensorboard import TensorBoardTracker

    return TensorBoardTracker(options, sweep)


def _wandb(options: Any, sweep: TrackedSweep) -> Tracker:
    from runners.trackers.wandb import WandbTracker

    return WandbTracker(options, sweep)


TRACKERS: dict[str, Callable[[Any, TrackedSweep], Tracker]] = {
    "mlflow": _mlflow,
    "optuna": _optuna,
    "tensorboard": _tensorboard,
    "wandb": _wandb,
}
_INSTALLED_AS = {"MySQLdb": "mysqlclient", "psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary"}
LIBRARIES = {"mlflow": "mlflow", "optuna": "optuna", "tensorboard": "tensorboardX", "wandb": "wandb"}
"""The module that each tracker imports; the extra that installs it has the tracker's name. Optuna needs none."""


def library_problems(file: SweepFile) -> list[Problem]:
    """The trackers of a sweep whose library is not installed here."""
    found = [
        file.problem(
            ("track", index),
            f"the tracker {tracker.name!r} needs the package {LIBRARIES[tracker.name]!r}, which is not installed",
            f"pip install 'archsweep[{tracker.name}]'",
        )
        for index, tracker in enumerate(file.sweep.track)
        if importlib.util.find_spec(LIBRARIES[tracker.name]) is None
    ]
    for index, tracker in enumerate(file.sweep.track):
        if isinstance(tracker, OptunaSpec) and (driver := _missing_driver(tracker.storage or "")):
            # Without a line of the file: `--optuna-storage` may have named it.
            message = f"{tracker.storage} needs the package {driver!r}, which is not installed"
            hint = f"pip install '{_INSTALLED_AS.get(driver, driver)}'"
            found.append(Problem(message, path=f"track[{index}]", hint=hint))
    return found


def _missing_driver(storage: str) -> str:
    """The driver package of a database, if it is not installed."""
    if "://" not in storage:
        return ""
    from sqlalchemy.engine import make_url

    try:
        make_url(storage).get_dialect().import_dbapi()
    except ImportError as err:
        return err.name or ""
    return ""
