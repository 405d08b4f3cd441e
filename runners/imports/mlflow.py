"""MLflow: a folder `mlruns`, or the SQLite file of a tracking server, through MLflow's own client.

The file is read from a copy, because the client would write to it.
"""

from __future__ import annotations

import datetime
import shutil
import tempfile
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# An extra; only who imports from it needs it.
import mlflow
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from runners.imports.source_run import EPOCH, Points, SourceRun, SourceRuns, value_of_text
from runners.imports.sources import DATABASES
from runners.machine.environment import environment_variable
from search_space.parsing.errors import Problem, SpecError, reason_of

__all__ = ["database_in", "read_mlflow"]

_PAGE, _MOST_EXPERIMENTS = 1000, 50_000  # MLflow refuses more
_ALLOW = "MLFLOW_ALLOW_FILE_STORE"
"""Newer versions of MLflow open a folder of files only where it is set: its switch for old runs."""
_ENDED = {"FAILED": "MLflow says FAILED", "KILLED": "MLflow says KILLED"}


def database_in(path: Path) -> Path | None:
    """The SQLite file of a source; None where it is a folder of files."""
    if path.is_file():
        return path
    return next((each for each in (path / name for name in DATABASES) if each.is_file()), None)


def read_mlflow(path: Path, keys: Collection[str]) -> SourceRuns:
    """All runs that are not deleted. Params and the user's tags are the configuration; parents of other runs, which
    group them, are left out.

    Raises:
        SpecError: MLflow cannot open it, or there is no run.
    """
    try:
        with _client(path) as client:
            found = list(_runs(client))
            parents = {run.data.tags.get("mlflow.parentRunId") for run in found}
            runs = tuple(_run(client, run, path, {*keys, EPOCH}) for run in found if run.info.run_id not in parents)
    except (MlflowException, SQLAlchemyError) as err:
        reason = f"MLflow cannot read it: {reason_of(err).splitlines()[0]}"
        hint = "if it is of an older MLflow: mlflow db upgrade, on a copy" if database_in(path) else ""
        raise SpecError(Problem(reason, where=str(path), hint=hint)) from err
    if not runs:
        raise SpecError(Problem("has no run of MLflow", where=str(path)))
    database = database_in(path)
    files = [database] if database else [each for each in path.rglob("*") if each.is_file()]
    files = [each for each in files if "artifacts" not in each.parts]
    left = len(found) - len(runs)
    notes = (f"{left} {'run that is the parent' if left == 1 else 'runs that are parents'} of others",) if left else ()
    return SourceRuns(runs, tuple(sorted(files)), f"mlflow {mlflow.__version__}", notes)


@contextmanager
def _client(path: Path) -> Iterator[mlflow.MlflowClient]:
    database = database_in(path)
    with tempfile.TemporaryDirectory(prefix="archsweep-import-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own use of SQLAlchemy, and its plans for the folder of files
        if database is None:
            with environment_variable(_ALLOW, "true"):
                yield mlflow.MlflowClient(path.resolve().as_uri())
            return
        copy = Path(folder) / "copy.db"
        for suffix in ("", "-wal", "-shm"):
            if (part := database.with_name(database.name + suffix)).is_file():
                shutil.copyfile(part, f"{copy}{suffix}")
        yield mlflow.MlflowClient(f"sqlite:///{copy}")


def _runs(client: mlflow.MlflowClient) -> Iterator[Any]:
    experiments = [each.experiment_id for each in client.search_experiments(max_results=_MOST_EXPERIMENTS)]
    token: str | None = None
    while experiments:
        page = client.search_runs(experiments, "", ViewType.ACTIVE_ONLY, _PAGE, ["start_time ASC"], token)
        yield from page
        token = page.token
        if not token:
            return


def _run(client: mlflow.MlflowClient, run: Any, path: Path, keys: Collection[str]) -> SourceRun:
    data, info = run.data, run.info
    tags = {key: value for key, value in data.tags.items() if not key.startswith("mlflow.")}
    history: dict[str, Points] = {
        key: [(point.step, point.value) for point in client.get_metric_history(info.run_id, key)]
        for key in data.metrics
        if key in keys
    }
    ended = info.end_time
    place = f"run {info.run_id[:8]}" + (f" ({info.run_name})" if info.run_name else "")
    return SourceRun(
        place=place,
        where=f"{path}: {place}",
        config={key: value_of_text(str(value)) for key, value in {**tags, **data.params}.items()},
        metrics=dict(data.metrics),
        history=history,
        failure=_ENDED.get(info.status, ""),
        is_unfinished=info.status in ("RUNNING", "SCHEDULED"),
        finished_at=datetime.datetime.fromtimestamp(ended / 1000, datetime.UTC).isoformat(timespec="seconds")
        if ended
        else "",
    )
