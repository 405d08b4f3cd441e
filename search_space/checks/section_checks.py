"""Semantic checks of single sections: `track`, `search`, `prune`, `retune`, `table`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from search_space.checks.space_checks import parameter_issues
from search_space.parsing.errors import did_you_mean
from search_space.parsing.secrets import masked
from search_space.schema.design import Design
from search_space.schema.metrics import COST_NAMES, OF_A_CLASS, RANKED
from search_space.schema.sweep import Search, Sweep
from search_space.schema.tracking import MlflowSpec, OptunaSpec
from search_space.schema.trial import Setting
from search_space.settings.candidates import Issue
from search_space.settings.naming import touched_paths
from search_space.settings.paths import is_path, leaf_paths, overlap, path_hint
from search_space.settings.table_columns import table_issues
from search_space.variants.blocks import blocks_of

__all__ = [
    "is_of_a_class",
    "issue_of_a_class",
    "objective_issues",
    "prune_issues",
    "retune_issues",
    "storage_issue",
    "table_section_issues",
    "track_issues",
    "tuning_sweep",
]

_DATABASES = ("sqlite", "postgresql", "mysql")
_SCHEMES = ("databricks", "http", "https", "mssql", "mysql", "postgresql", "sqlite")


def table_section_issues(sweep: Sweep) -> Iterator[Issue]:
    """Issues of the section `table`."""
    paths = {path for path in touched_paths(sweep) if is_path(path)}
    measured = {*sweep.baseline.task.measured, sweep.metric}
    components = [key for key in sweep.space if not is_path(key)]
    blocks = [block.name for block in blocks_of(sweep)]
    for issue in table_issues(sweep.table, metrics=measured, components=components, paths=paths, blocks=blocks):
        yield replace(issue, path=("table", *issue.path))


def track_issues(sweep: Sweep) -> Iterator[Issue]:
    """Issues of the section `track`."""
    seen: set[str] = set()
    for index, tracker in enumerate(sweep.track):
        if tracker.name in seen:
            yield Issue(("track", index), f"the tracker {tracker.name!r} is given twice", "remove one of them")
        seen.add(tracker.name)
        if isinstance(tracker, MlflowSpec) and tracker.tracking_uri is not None:
            yield from _uri(index, tracker.tracking_uri)
        if isinstance(tracker, OptunaSpec) and tracker.storage is not None:
            issue = storage_issue(tracker.storage, ("track", index, "storage"))
            yield from [issue] if issue else []


def storage_issue(storage: str, place: tuple[str | int, ...] = ()) -> Issue | None:
    """Issue of the storage of an Optuna study, if there is one."""
    scheme = re.match(r"([a-z0-9]+)(\+[a-z0-9]+)?://", storage)
    if scheme is not None and scheme[1] not in _DATABASES:
        hint = f"write a file, or a URL that begins with {', '.join(_DATABASES)}"
        return Issue(place, f"{storage!r} is not a storage that Optuna can write to", hint)
    if masked(storage) != storage:
        message = "the storage is copied into the run directory, so it must not contain a password or token"
        return Issue(place, message, "remove it: database drivers read it from PGPASSWORD, ~/.pgpass or ~/.my.cnf")
    return None


def _uri(index: int, uri: str) -> Iterator[Issue]:
    place = ("track", index, "tracking_uri")
    scheme = re.match(r"([a-z]+)(\+[a-z0-9]+)?://", uri)
    if uri != "databricks" and (scheme is None or scheme[1] not in _SCHEMES):
        message = f"{uri!r} is not a tracking URI that MLflow can write to (it no longer supports plain folders)"
        yield Issue(place, message, "write  sqlite:////absolute/path/mlflow.db  or  http://HOST:PORT")
    elif masked(uri) != uri:
        message = "the sweep file is copied into every run directory, so it must not contain a password or token"
        hint = "remove it and set MLFLOW_TRACKING_URI, or MLFLOW_TRACKING_USERNAME and _PASSWORD (or _TOKEN)"
        yield Issue(place, message, hint)


def retune_issues(sweep: Sweep) -> Iterator[Issue]:
    """Issues of the section `retune`."""
    retune = sweep.retune
    if retune is None:
        return
    if sweep.design.name == "search":
        yield Issue(("retune",), "`retune` has no effect in a search", "put its parameters into `space`")
    varied = touched_paths(sweep)
    for path, parameter in retune.parameters.items():
        place = ("retune", "parameters", path)
        if not is_path(path):
            yield Issue(place, f"unknown path {path!r}", path_hint(path), at_key=True)
        elif not path.startswith("train.") or path not in leaf_paths():
            message = f"only training parameters can be retuned, not {path!r}"
            yield Issue(place, message, "a changed architecture would be another variant; for example  train.lr", True)
        elif path in ("train.epochs", "train.steps"):
            hint = "all variants must train equally long, or the longer ones would win"
            yield Issue(place, f"the number of {path.removeprefix('train.')} cannot be retuned", hint, at_key=True)
        elif any(overlap(path, other) for other in varied):
            yield Issue(place, f"{path!r} is also varied by the sweep", "remove it here or there", at_key=True)
        else:
            yield from parameter_issues(sweep, path, place, parameter)
    for key in ("objectives", "warm_start"):
        if key in retune.options:
            yield Issue(("retune", key), f"unknown key {key!r} in `retune`", "it belongs to `search`", at_key=True)
    for index, seed in enumerate(retune.seeds):
        if seed in sweep.seeds:
            message = f"the seed {seed} is also reported: the trials that select a setting must not evaluate it"
            free = max(*sweep.seeds, *retune.seeds) + 1
            yield Issue(("retune", "seeds", index), message, f"choose another one, for example {free}")
    if sweep.baseline.task.val_fraction == 0:
        message = "needs a validation split: selecting settings on the test split would bias its metrics upwards"
        yield Issue(("retune",), message, "set  task.val_fraction: 0.1  (or more) in the baseline")


def tuning_sweep(sweep: Sweep, variant: Setting) -> Sweep:
    """Sweep that searches the training parameters of one variant: its setting as baseline, `retune.parameters` as
    space."""
    retune = sweep.retune
    assert retune is not None
    search = Search(sampler=retune.sampler, num_trials=retune.num_trials, seed=retune.seed, **retune.options)
    return Sweep(
        name=sweep.name,
        baseline=variant,
        space=dict(retune.parameters),
        design=Design(name="search"),
        seeds=retune.seeds,
        metric=sweep.metric,
        search=search,
        resources=sweep.resources,
        checkpoints=sweep.checkpoints.model_copy(update={"keep": "none"}),
    )


def is_of_a_class(metric: str) -> bool:
    """Whether a name is the accuracy of one class, `accuracy/cat` or `val_accuracy/cat`."""
    return metric.removeprefix("val_").startswith(OF_A_CLASS)


def issue_of_a_class(sweep: Sweep, place: tuple[str | int, ...], metric: str) -> Issue:
    """Why the accuracy of one class ranks no variants, and what to write instead."""
    text = f"{metric!r} is the accuracy of one class: it is measured once, after the last epoch, and ranks no variants"
    measured = sweep.baseline.task.measured
    first = "balanced_accuracy, the mean over classes" if "balanced_accuracy" in measured else measured[0]
    columns = f"variant,{measured[0]},{metric.removeprefix('val_')}"
    return Issue(
        place,
        text,
        f"write {first}; the class is a column of the table: --columns '{columns}'\n"
        "to rank by one class, make it a metric of yours: archsweep new metric NAME",
    )


def objective_issues(sweep: Sweep) -> Iterator[Issue]:
    """Issues of the objectives of a search."""
    if sweep.search is None or not sweep.search.objectives:
        return
    names, place = sweep.search.objectives, ("search", "objectives")
    known = (*sweep.baseline.task.measured, *COST_NAMES)
    for index, name in enumerate(names):
        if is_of_a_class(name):
            yield issue_of_a_class(sweep, (*place, index), name)
        elif name not in known:
            yield Issue((*place, index), f"unknown objective {name!r}", did_you_mean(name, known))
        elif name in names[:index]:
            yield Issue((*place, index), f"the objective {name!r} is given twice")
    if len(names) == 1:
        hint = "remove `objectives`, or name two or more: the search then looks for their Pareto front"
        yield Issue(place, "a search for one objective optimises `metric`", hint)
    elif sweep.metric not in names and sweep.metric in RANKED:
        message = f"the metric of the sweep, {sweep.metric!r}, is none of the objectives"
        yield Issue(place, message, "the pruner uses `metric`: add it here, or set it to one of these")


def prune_issues(sweep: Sweep) -> Iterator[Issue]:
    """Issues of `prune`: what the pruner compares, epochs or seeds."""
    prune = sweep.prune
    if prune is None:
        return
    place = ("prune", "pruner") if prune.over is None else ("prune", "over")
    if prune.is_paired_test and not prune.is_over_seeds:
        message = "`wilcoxon` compares trials seed by seed; the epochs of a curve are not independent pairs"
        yield Issue(place, message, "remove `over`, or choose another pruner, for example `median`")
    elif prune.is_over_seeds and len(sweep.seeds) < 2:
        message = f"pruning over seeds compares variants by their finished seeds, but there is {len(sweep.seeds)} seed"
        yield Issue(place, message, "raise `seeds`, or compare trials by their curves: a pruner with  over: epochs")
