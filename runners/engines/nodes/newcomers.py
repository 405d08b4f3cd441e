"""Nodes that join a cluster while trials run get trials once they have said what `cluster_check` asks.

An autoscaler, a colleague's `ray start` or a node that came back may bring another torch in the middle of a sweep, and
half of a table's numbers would be of another experiment.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from runners.engines.nodes.checks import judge, living, warn
from runners.engines.nodes.inquiry import Inquiry
from search_space import Resources

__all__ = ["Newcomers"]


class Newcomers:
    """Looks after them for one run.

    Args:
        known: the ids of the nodes that `check_nodes` has found fit.

    Attributes:
        refused: the ids of the nodes that were found unfit.
    """

    def __init__(self, run_dir: Path, resources: Resources, *, known: Collection[str]) -> None:
        self._run_dir = run_dir
        self._resources = resources
        self._known = set(known)
        self._asked: dict[str, Inquiry] = {}
        self.refused: set[str] = set()

    @property
    def unusable(self) -> frozenset[str]:
        """Nodes that are still asked, and those that have been found unfit."""
        return frozenset(self._asked) | self.refused

    def look(self) -> None:
        """Asks nodes that have joined, and takes the answers that have come; never waits."""
        for node in living(self._resources):
            if node["NodeID"] not in self._known:
                self._known.add(node["NodeID"])
                self._asked[node["NodeID"]] = Inquiry([node], self._run_dir, self._resources)
        for node_id in [node_id for node_id, inquiry in self._asked.items() if inquiry.is_answered]:
            reports, silent = self._asked.pop(node_id).answers()
            warnings, problems = judge(self._run_dir, self._resources, reports)
            if problems:
                self.refused.add(node_id)
            unfit = [f"no trials are given to a node that joined: {problem}" for problem in problems]
            warn(silent + warnings + unfit)
