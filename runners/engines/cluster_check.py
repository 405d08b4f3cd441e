"""Before the first trial on a cluster of others: has every node the same versions, and does it see our directories?

A node with another torch or an older archsweep gives numbers of another experiment, and one that does not see the
data fails every trial it gets; both falsify a table quietly. So the driver asks each node that can run a trial, once.
"""

from __future__ import annotations

import secrets
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from results.durable_files import write_errors_in_words
from runners.engines import node_facts
from search_space import Problem, Resources, SpecError

__all__ = ["NodeReport", "check_nodes", "data_problems", "requirement_problems", "run_dir_warnings", "version_problems"]

_TIMEOUT_SECONDS = 120.0
_MOST_NAMES = 3


@dataclass(frozen=True)
class NodeReport:
    """What a node answered. `node` names it for people."""

    node: str
    packages: Mapping[str, str | None]
    missing: Sequence[str] = ()
    run_dir: str = node_facts.SEEN
    has_data: bool = True


def check_nodes(run_dir: Path, resources: Resources) -> None:
    """Asks every node of the connected cluster that has room for a trial; warns on stderr about the run directory.

    Raises:
        SpecError: versions differ, or the dataset's folder is not there; every node and package is named.
    """
    data_dir = "" if resources.data_dir is None or resources.download else str(Path(resources.data_dir).resolve())
    # A new file with new content: a directory of the same name on the node's own disk cannot have it.
    token = secrets.token_hex(16)
    marker = run_dir.resolve() / f".visible-{token[:8]}"
    with write_errors_in_words(marker):
        marker.write_text(token, encoding="utf-8")
    try:
        reports, silent = _ask(str(marker), token, data_dir, resources)
    finally:
        marker.unlink(missing_ok=True)
    here = node_facts.facts_here(str(marker), token, "")["packages"]
    for text in run_dir_warnings(run_dir, reports) + silent:
        # While trials run, stdout and stderr belong to `driver.log`; this is for the person at the terminal.
        print(f"archsweep: warning: {text}", file=sys.__stderr__, flush=True)
    problems = version_problems(here, reports) + requirement_problems(reports) + data_problems(data_dir, reports)
    if problems:
        raise SpecError(problems)


def version_problems(here: Mapping[str, str | None], reports: Sequence[NodeReport]) -> list[Problem]:
    """One problem for each package and version that differs from the driver's; nodes that agree are put together."""
    found: dict[tuple[str, str | None], list[str]] = {}
    for report in reports:
        for package, version in here.items():
            if report.packages.get(package) != version:
                found.setdefault((package, report.packages.get(package)), []).append(report.node)
    problems = []
    for (package, there), nodes in found.items():
        came = f"{there} there" if there else "not installed there"
        hint = "install the same on every node (`pip install -c constraints.txt ...`), or give all nodes one image"
        if package == node_facts.SOURCE:
            hint = "Ray was connected before archsweep was called, so its code did not travel: "
            hint += "install the same copy everywhere"
        text = f"{package}: {came}, {here[package] or 'not installed'} here (on {socket.gethostname()})"
        problems.append(Problem(text, where=_names(nodes), hint=hint))
    return problems


def requirement_problems(reports: Sequence[NodeReport]) -> list[Problem]:
    """One problem for the nodes that lack the same packages."""
    lacking: dict[tuple[str, ...], list[str]] = {}
    for report in reports:
        if report.missing:
            lacking.setdefault(tuple(report.missing), []).append(report.node)
    hint = "archsweep travels there by itself, what it needs does not: `pip install archsweep` on every node"
    return [
        Problem(f"not installed there: {', '.join(missing)}", where=_names(nodes), hint=hint)
        for missing, nodes in lacking.items()
    ]


def data_problems(data_dir: str, reports: Sequence[NodeReport]) -> list[Problem]:
    nodes = [report.node for report in reports if not report.has_data]
    if not nodes:
        return []
    hint = "every trial there would fail: put the data at the same path on every node, or on a shared file system"
    return [Problem(f"resources.data_dir {data_dir!r} is not there", where=_names(nodes), hint=hint)]


def run_dir_warnings(run_dir: Path, reports: Sequence[NodeReport]) -> list[str]:
    """Trials train without the run directory, the driver alone keeps records; what workers write is lost."""
    missing = [report.node for report in reports if report.run_dir == node_facts.MISSING]
    read_only = [report.node for report in reports if report.run_dir == node_facts.READ_ONLY]
    texts = []
    if missing:
        texts.append(
            f"{_names(missing)}: the run directory {run_dir} is not the driver's (a path on the node's own disk?); "
            "train.log and checkpoints of trials there stay there. Choose a shared directory with --out"
        )
    if read_only:
        texts.append(
            f"{_names(read_only)}: the run directory {run_dir} cannot be written; "
            "trials there leave no train.log and no checkpoint"
        )
    return texts


def _names(nodes: Sequence[str]) -> str:
    unique = list(dict.fromkeys(nodes))
    shown = ", ".join(unique[:_MOST_NAMES])
    more = len(unique) - _MOST_NAMES
    return ("node " if len(unique) == 1 else "nodes ") + shown + (f" and {more} more" if more > 0 else "")


def _ask(marker: str, token: str, data_dir: str, resources: Resources) -> tuple[list[NodeReport], list[str]]:
    """The answers, and a warning for each node that gave none in time (it may have been lost a moment ago)."""
    # By value: a node without archsweep could not import it, and it is such a node that has to answer.
    cloudpickle.register_pickle_by_value(node_facts)
    try:
        task = ray.remote(num_cpus=0, max_retries=0)(node_facts.facts_here)
        asked = {}
        for node in ray.nodes():
            if node["Alive"] and _has_room(node, resources):
                strategy = NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False)
                name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
                asked[task.options(scheduling_strategy=strategy).remote(marker, token, data_dir)] = name
    finally:
        cloudpickle.unregister_pickle_by_value(node_facts)
    if asked:
        ray.wait(list(asked), num_returns=len(asked), timeout=_TIMEOUT_SECONDS)
    reports, silent = [], []
    for reference, name in asked.items():
        try:
            facts: Any = ray.get(reference, timeout=0)
        except (GetTimeoutError, RayError) as err:
            first = str(err).strip().splitlines()[0] if str(err).strip() else type(err).__name__
            silent.append(f"node {name}: did not say which versions it has: {first}")
            continue
        reports.append(NodeReport(name, facts["packages"], facts["missing"], facts["run_dir"], facts["data_dir"]))
    return reports, silent


def _has_room(node: Mapping[str, Any], resources: Resources) -> bool:
    """Whether a trial can ever be placed there; a head node without CPUs need not have the data."""
    total = node["Resources"]
    return total.get("CPU", 0.0) >= resources.cpus and total.get("GPU", 0.0) >= resources.gpus
