"""Checks of the nodes of a cluster before the first trial: equal versions, and visible directories.

A node with another torch or an older archsweep gives numbers of another experiment, and one that does not see the
data fails every trial it gets; both falsify a table silently. So the driver asks each node that can run a trial, once.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import ray

from results.store.run_layout import RunDir
from runners.engines.nodes import facts as node_facts
from runners.engines.nodes.capacity import demand_of, fits
from runners.engines.nodes.probe import NodeProbe, NodeReport, data_dir_of, local_packages
from search_space import Problem, Resources, SpecError
from search_space.parsing.errors import first_of

__all__ = [
    "JoiningNodes",
    "check_nodes",
    "data_problems",
    "judge",
    "living",
    "requirement_problems",
    "run_dir_warnings",
    "version_problems",
    "warn",
]

_MOST_NAMES = 3


def check_nodes(run_dir: RunDir, resources: Resources) -> frozenset[str]:
    """Ask every node of the connected cluster that has room for a trial; warns on stderr about the run directory.

    Returns:
        The ids of the nodes that were there.

    Raises:
        SpecError: versions differ, or the dataset's folder is not there; every node and package is named.
    """
    nodes = living(resources)
    reports, silent = NodeProbe(nodes, run_dir, resources).answers()
    warnings, problems = judge(run_dir, resources, reports)
    warn(silent + warnings)
    if problems:
        raise SpecError(problems)
    return frozenset(node["NodeID"] for node in nodes)


def living(resources: Resources) -> list[Mapping[str, Any]]:
    """The nodes of the connected cluster, as Ray describes them, that can ever hold a trial; a head node without CPUs
    need not have the data."""
    asked = demand_of(resources)
    return [node for node in ray.nodes() if node["Alive"] and fits(asked, node["Resources"])]


def judge(run_dir: RunDir, resources: Resources, reports: Sequence[NodeReport]) -> tuple[list[str], list[Problem]]:
    """Warnings about the nodes, and problems that forbid training there."""
    problems = version_problems(local_packages(), reports) + requirement_problems(reports)
    return run_dir_warnings(run_dir, reports), problems + data_problems(data_dir_of(resources), reports)


def warn(texts: Sequence[str]) -> None:
    """Print to the user's terminal: while trials run, stdout and stderr are redirected to `driver.log`."""
    for text in texts:
        print(f"archsweep: warning: {text}", file=sys.__stderr__, flush=True)


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


def run_dir_warnings(run_dir: RunDir, reports: Sequence[NodeReport]) -> list[str]:
    """Warnings for nodes that do not see the run directory: the driver keeps the records, files of workers are lost."""
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
    return ("node " if len(unique) == 1 else "nodes ") + first_of(unique, _MOST_NAMES)


class JoiningNodes:
    """Nodes that join a cluster while trials run: they get trials once they have answered what `check_nodes` asks.

    An autoscaler, a colleague's `ray start` or a node that came back may bring another torch in the middle of a sweep,
    and half of a table's numbers would be of another experiment.

    Args:
        known: the ids of the nodes that `check_nodes` has found fit.

    Attributes:
        refused: the ids of the nodes that were found unfit.
    """

    def __init__(self, run_dir: RunDir, resources: Resources, *, known: Collection[str]) -> None:
        self._run_dir = run_dir
        self._resources = resources
        self._known = set(known)
        self._asked: dict[str, NodeProbe] = {}
        self.refused: set[str] = set()

    @property
    def unusable(self) -> frozenset[str]:
        """Nodes without an answer yet, and those found unfit."""
        return frozenset(self._asked) | self.refused

    def poll(self) -> None:
        """Ask nodes that have joined, and process answers that have arrived; never waits."""
        for node in living(self._resources):
            if node["NodeID"] not in self._known:
                self._known.add(node["NodeID"])
                self._asked[node["NodeID"]] = NodeProbe([node], self._run_dir, self._resources)
        for node_id in [node_id for node_id, probe in self._asked.items() if probe.is_answered]:
            reports, silent = self._asked.pop(node_id).answers()
            warnings, problems = judge(self._run_dir, self._resources, reports)
            if problems:
                self.refused.add(node_id)
            unfit = [f"no trials are given to a node that joined: {problem}" for problem in problems]
            warn(silent + warnings + unfit)
