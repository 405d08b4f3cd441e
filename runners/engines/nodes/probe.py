"""Remote collection of facts about nodes of the connected cluster. The answers are judged in `checks.py`."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from results.store.files import readable_write_errors
from results.store.run_layout import RunDir
from runners.engines.nodes import facts as node_facts
from search_space import Resources

__all__ = ["NodeProbe", "NodeReport", "data_dir_of", "local_packages"]

_TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True)
class NodeReport:
    """Answer of a node. `node` is its readable name."""

    node: str
    packages: Mapping[str, str | None]
    missing: Sequence[str] = ()
    run_dir: str = node_facts.SEEN
    has_data: bool = True


class NodeProbe:
    """Pending query of some nodes.

    Args:
        nodes: as Ray describes them.
    """

    def __init__(self, nodes: Sequence[Mapping[str, Any]], run_dir: RunDir, resources: Resources) -> None:
        # A new file with new content: a directory of the same name on the node's own disk cannot have it.
        token = secrets.token_hex(16)
        self._marker = RunDir(run_dir.path.resolve()).visibility_marker(token[:8])
        with readable_write_errors(self._marker), open(self._marker, "x", encoding="utf-8") as stream:
            stream.write(token)
        self._asked: dict[ray.ObjectRef, str] = {}
        # By value: a node without archsweep could not import it, and it is such a node that has to answer.
        cloudpickle.register_pickle_by_value(node_facts)
        try:
            task = ray.remote(num_cpus=0, max_retries=0)(node_facts.local_facts)
            for node in nodes:
                there = NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False)
                asked = task.options(scheduling_strategy=there).remote(str(self._marker), token, data_dir_of(resources))
                self._asked[asked] = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        finally:
            cloudpickle.unregister_pickle_by_value(node_facts)

    @property
    def is_answered(self) -> bool:
        """Whether every node has answered, or will not."""
        return not self._waiting(0)

    def answers(self) -> tuple[list[NodeReport], list[str]]:
        """Wait for the answers, two minutes at most; also returns warnings about nodes without one."""
        try:
            self._waiting(_TIMEOUT_SECONDS)
        finally:
            self._marker.unlink(missing_ok=True)
        reports, silent = [], []
        for reference, name in self._asked.items():
            try:
                facts: Any = ray.get(reference, timeout=0)
            except (GetTimeoutError, RayError) as err:
                first = str(err).strip().splitlines()[0] if str(err).strip() else type(err).__name__
                silent.append(f"node {name}: did not say which versions it has: {first}")
                continue
            reports.append(NodeReport(name, facts["packages"], facts["missing"], facts["run_dir"], facts["data_dir"]))
        return reports, silent

    def _waiting(self, timeout: float) -> list[ray.ObjectRef]:
        return ray.wait(list(self._asked), num_returns=len(self._asked), timeout=timeout)[1] if self._asked else []


def data_dir_of(resources: Resources) -> str:
    """Dataset folder that must exist on every node; empty if none must."""
    return "" if resources.data_dir is None or resources.download else str(Path(resources.data_dir).resolve())


def local_packages() -> dict[str, str | None]:
    """Packages and versions of the driver."""
    return node_facts.local_facts("", "", "")["packages"]
