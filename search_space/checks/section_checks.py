"""What a well-typed section `track` can still get wrong: a tracker named twice, an impossible place, a secret."""

from __future__ import annotations

import re
from collections.abc import Iterator

from search_space.schema.sweep import Sweep
from search_space.schema.tracking import MlflowSpec, OptunaSpec
from search_space.settings.candidates import Complaint

__all__ = ["storage_complaint", "track_complaints"]

_DATABASES = ("sqlite", "postgresql", "mysql")
_SCHEMES = ("databricks", "http", "https", "mssql", "mysql", "postgresql", "sqlite")


def track_complaints(sweep: Sweep) -> Iterator[Complaint]:
    """What is wrong with the section `track`."""
    seen: set[str] = set()
    for index, tracker in enumerate(sweep.track):
        if tracker.name in seen:
            yield Complaint(("track", index), f"the tracker {tracker.name!r} is given twice", "remove one of them")
        seen.add(tracker.name)
        if isinstance(tracker, MlflowSpec) and tracker.tracking_uri is not None:
            yield from _uri(index, tracker.tracking_uri)
        if isinstance(tracker, OptunaSpec) and tracker.storage is not None:
            complaint = storage_complaint(tracker.storage, ("track", index, "storage"))
            yield from [complaint] if complaint else []


def storage_complaint(storage: str, place: tuple[str | int, ...] = ()) -> Complaint | None:
    """What is wrong with a place for an Optuna study."""
    scheme = re.match(r"([a-z0-9]+)(\+[a-z0-9]+)?://", storage)
    if scheme is not None and scheme[1] not in _DATABASES:
        hint = f"write a file, or a URL that begins with {', '.join(_DATABASES)}"
        return Complaint(place, f"{storage!r} is no place that Optuna can write to", hint)
    if re.search(r"://[^/@]*:[^/@]*@", storage):
        message = "a password has no place in what is copied into the run directory"
        return Complaint(place, message, "leave it out: libraries read it from PGPASSWORD, ~/.pgpass or ~/.my.cnf")
    return None


def _uri(index: int, uri: str) -> Iterator[Complaint]:
    place = ("track", index, "tracking_uri")
    scheme = re.match(r"([a-z]+)(\+[a-z0-9]+)?://", uri)
    if uri != "databricks" and (scheme is None or scheme[1] not in _SCHEMES):
        message = f"{uri!r} is no place that MLflow can write to (it gave up plain folders)"
        yield Complaint(place, message, "write  sqlite:////absolute/path/mlflow.db  or  http://HOST:PORT")
    elif re.search(r"://[^/@]*:[^/@]*@|^https?://[^/@]*@", uri):
        message = "a password has no place in a file that is copied into every run directory"
        hint = "remove `tracking_uri` and set MLFLOW_TRACKING_URI, or MLFLOW_TRACKING_USERNAME and _PASSWORD"
        yield Complaint(place, message, hint)
