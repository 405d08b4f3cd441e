"""Placement of trials: the share of a node that each takes, the nodes it avoids, and how many run at once.

A trial's demand is fixed when it is handed out. Nodes may join and leave meanwhile, so room is counted again every
few seconds, and a trial is handed out only when there is room for it: a later proposal of a search is better informed.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray import tune

from results.store.records import TrialRecord
from runners.engines.nodes.autoscaling import NODE_ID_LABEL, Placeholders
from runners.engines.nodes.capacity import Node, check_fits, demand_of, has_room
from runners.engines.nodes.checks import JoiningNodes
from runners.engines.nodes.health import NodeHealth
from runners.trials.assignment import Assignment
from search_space import Resources

__all__ = ["Placement", "living_nodes", "request_of"]

_SECONDS_BETWEEN_LOOKS = 2.0


def living_nodes() -> list[Node]:
    """The nodes of the connected cluster."""
    return [
        Node(node["NodeID"], node["NodeManagerHostname"], node["Resources"]) for node in ray.nodes() if node["Alive"]
    ]


@dataclass
class Placement:
    """Placement of the trials of one run.

    Attributes:
        resources_of: what a trial may use; its share of a GPU, where trials pack by memory.
        kinds: all that trials may use, as far as it is known before they are handed out.
        waiting: placeholders for trials without room, where nodes may join.
        joining: checks nodes that join.
    """

    resources: Resources
    kinds: Sequence[Resources]
    resources_of: Callable[[Assignment], Resources]
    waiting: Placeholders | None = None
    joining: JoiningNodes | None = None
    health: NodeHealth = field(default_factory=NodeHealth)
    _node_of: dict[str, str] = field(default_factory=dict)  # trial id -> node
    _demand_of: dict[str, dict[str, float]] = field(default_factory=dict)  # trial id -> CPUs and GPUs
    _nodes: list[Node] = field(default_factory=list)
    _looked: float = 0.0
    _smallest: dict[str, float] = field(default_factory=dict)  # of those that were handed out

    def __post_init__(self) -> None:
        self._poll()
        for kind in self.kinds:
            self._check_fits(kind)

    def has_room(self, taken: Collection[Mapping[str, float]]) -> bool:
        """Whether one more trial fits beside the running ones, which take `taken`."""
        self._poll()
        if self.resources.max_concurrent is not None and len(taken) >= self.resources.max_concurrent:
            return False
        usable = [node for node in self._nodes if node.id not in self._avoided()]
        return has_room(self._least(), taken, usable)

    def num_at_once(self) -> int:
        """Trials that run at a time, as far as the present nodes and the smallest trial tell."""
        self._poll()
        least = {name: amount for name, amount in self._least().items() if amount > 0}
        fits = sum(
            min((int(node.total.get(name, 0.0) / amount + 1e-9) for name, amount in least.items()), default=1)
            for node in self._nodes
        )
        return max(1, fits if self.resources.max_concurrent is None else min(fits, self.resources.max_concurrent))

    def request_capacity(self, num_running: int, num_waiting: int) -> None:
        """Request nodes from an autoscaler: room for as many trials again as are running."""
        if self.waiting is None:
            return
        at_most = self.resources.max_concurrent
        left = num_waiting if at_most is None else min(num_waiting, at_most - num_running)
        self.waiting.request_capacity(self._least(), max(0, min(num_running, left)), self._nodes)

    def demand(self, assignment: Assignment) -> dict[str, float]:
        """CPUs and GPUs of this trial, by Ray's names."""
        found = self.resources_of(assignment)
        if found not in self.kinds:  # several rules together, for a proposal of a search
            self._check_fits(found)
        asked = demand_of(found)
        self._smallest = min(self._smallest or asked, asked, key=_size)
        return self._alone(asked) if assignment.alone else asked

    def config(self, assignment: Assignment) -> dict[str, Any]:
        """Part of a trial's configuration that `request_of` reads."""
        demand = self._demand_of[assignment.trial_id] = self.demand(assignment)
        return {"demand": demand, "avoid": self._avoided()}

    def may_run_exclusively(self, assignment: Assignment) -> bool:
        """Whether the trial shared its device, so that others may have taken the memory it lacked."""
        asked = self.demand(assignment)
        return asked != self._alone(asked)

    def record_node(self, key: str, node: str) -> None:
        """Record the node of a trial that has reported from there."""
        self._node_of[key] = node

    def record_result(self, record: TrialRecord) -> list[TrialRecord]:
        """Record the end of a trial; returns the records whose trials should run again on other nodes."""
        self._poll()
        node, demand = self._node_of.pop(record.trial_id, None), self._demand_of.pop(record.trial_id, {})
        if node is None:  # its worker has never reported
            return []
        alive = frozenset(other.id for other in self._nodes if other.holds(demand))
        if self.joining:
            alive -= self.joining.unusable
        return self.health.record_result(node, record, alive=alive)

    def _avoided(self) -> list[str]:
        return [*self.health.set_aside, *(sorted(self.joining.unusable) if self.joining else ())]

    def _check_fits(self, resources: Resources) -> None:
        if resources.gpu_memory is None:
            is_usual = resources == self.resources.under()
            check_fits(resources, self._nodes, section="resources" if is_usual else "resources.per_variant")

    def _least(self) -> dict[str, float]:
        return self._smallest or min(map(demand_of, self.kinds), key=_size)

    def _alone(self, asked: Mapping[str, float]) -> dict[str, float]:
        """The whole of the GPU, or of a node where there is none."""
        if 0 < asked["GPU"] < 1:
            return {**asked, "GPU": 1.0}
        if asked["GPU"] == 0:
            return {**asked, "CPU": max((node.total.get("CPU", 0.0) for node in self._nodes), default=asked["CPU"])}
        return dict(asked)

    def _poll(self) -> None:
        if time.monotonic() - self._looked > _SECONDS_BETWEEN_LOOKS:
            before, self._nodes, self._looked = self._nodes, living_nodes(), time.monotonic()
            if self.joining:
                self.joining.poll()
            if self.waiting and {node.id for node in before} != {node.id for node in self._nodes}:
                self.waiting.withdraw()  # a node that joined is for trials


def _size(demand: Mapping[str, float]) -> tuple[float, float]:
    return demand["GPU"], demand["CPU"]


def request_of(config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
    """Placement group that Ray reserves for the trial with this configuration."""
    return _request(tuple(config["demand"].items()), tuple(config["avoid"]))


@functools.cache
def _request(demand: tuple[tuple[str, float], ...], avoid: tuple[str, ...]) -> tune.PlacementGroupFactory:
    # One for all trials alike: Tune keeps that of every trial, and each holds a signature that `inspect` made.
    selector = [{NODE_ID_LABEL: f"!in({','.join(avoid)})"}] if avoid else None
    return tune.PlacementGroupFactory([dict(demand)], bundle_label_selector=selector)
