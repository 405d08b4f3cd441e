"""What a well-typed section `track` can still get wrong: a tracker named twice, an impossible place, a secret."""

from __future__ import annotations

import re
from collections.abc import Iterator

from search_space.drafts import Complaint
from search_space.sweep import Sweep
from search_space.tracking import MlflowSpec

__all__ = ["track_complaints"]

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
