"""The report of runs, with the importances of a search, which need Optuna."""

from __future__ import annotations

import os
from collections.abc import Sequence

from results import Run
from results.report import Report, Subject, make_report
from results.store.ledger import gc_paused
from results.store.provenance import read_sessions
from search_space import Problem, SpecError, Sweep, load_studies

__all__ = ["report_of", "report_subject"]


def report_of(run_dirs: Sequence[str | os.PathLike[str]]) -> Report:
    """The report of one run or of several as it is now: HTML and figures.

    Raises:
        SpecError: there is no such run.
    """
    with gc_paused():
        return make_report([report_subject(Run.open(path)) for path in run_dirs])


def report_subject(run: Run) -> Subject:
    """The run, with the importances of its parameters or the reason why there are none."""
    if run.plan.design != "search":
        return Subject(run)
    # Optuna, and with it a second of imports, only for a search.
    from runners.search.importance import parameter_importances

    try:
        return Subject(run, parameter_importances(run.deciding.values(), _sweep_of(run)))
    except SpecError as err:
        return Subject(run, remarks=tuple(f"importances: {problem.message}" for problem in err.problems))


def _sweep_of(run: Run) -> Sweep:
    """The sweep as the latest start read it: the kept file, with that start's profile and overrides.

    Raises:
        SpecError: the run has no such file, or it is not of this sweep.
    """
    sessions = read_sessions(run.files)
    latest = sessions[-1] if sessions else {}
    path = run.files.sweep
    files = load_studies(path, profile=latest.get("profile") or None, overrides=latest.get("overrides") or ())
    for file in files:
        if file.sweep.name == run.plan.sweep:
            return file.sweep
    raise SpecError(Problem(f"holds no sweep named {run.plan.sweep!r}", where=str(path)))
