"""Autoscaling: placeholder placement groups that request nodes for waiting trials, and a wait for large nodes.

Ray's autoscaler adds nodes for placement groups that find no room. Trials are handed out only where there is room, so
their placement groups never wait; placeholders of a trial's size wait instead. They are kept off every present node, so
that they take no room from trials. They end with the driver's connection, even if it is killed, and with them the
request for nodes; a call of `ray.autoscaler.sdk.request_resources` would persist, and keep
unused nodes. Without an autoscaler they have no effect and cost nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from runners.engines.nodes.capacity import Node

__all__ = ["NODE_ID_LABEL", "Placeholders", "await_node", "may_grow", "placeholders"]

NODE_ID_LABEL = "ray.io/node-id"
"""A label that Ray gives to every node."""
_NODE_GROUP_LABEL = "ray.io/node-group"
_BOOTSTRAP = "~/ray_bootstrap_config.yaml"
_MOST_WAITING = 16
_PATIENCE_SECONDS = 900.0  # a cloud takes minutes to start a machine with GPUs and to pull an image
_SECONDS_BETWEEN_LOOKS = 2.0


class Placeholders:
    """Placement groups that wait for nodes."""

    def __init__(self) -> None:
        self._groups: list[PlacementGroup] = []
        self._key: object = None

    def request_capacity(self, demand: Mapping[str, float], number: int, nodes: Sequence[Node]) -> None:
        """Request room for this many more trials than these nodes hold. Replaces the previous request."""
        here = sorted(node.id for node in nodes)
        key = (dict(demand), here)
        if key != self._key:
            self.withdraw()
            self._key = key
        number = min(number, _MOST_WAITING)
        for group in self._groups[number:]:
            remove_placement_group(group)
        del self._groups[number:]
        bundle = {kind: amount for kind, amount in demand.items() if amount > 0}
        elsewhere = [{NODE_ID_LABEL: f"!in({','.join(here)})"}] if here else None
        while bundle and len(self._groups) < number:
            self._groups.append(placement_group([bundle], bundle_label_selector=elsewhere))  # type: ignore[arg-type]

    def withdraw(self) -> None:
        for group in self._groups:
            remove_placement_group(group)
        self._groups.clear()
        self._key = None


@contextmanager
def placeholders() -> Iterator[Placeholders]:
    """Placeholders, withdrawn at the end."""
    waiting = Placeholders()
    try:
        yield waiting
    finally:
        if ray.is_initialized():
            waiting.withdraw()


def may_grow() -> bool:
    """Whether something may add nodes to the connected cluster.

    Ray does not report it. What `ray up` starts has a file on its head; the nodes of KubeRay and of the newer
    autoscaler belong to node groups. A KubeRay cluster of fixed size is taken for one that grows.
    """
    groups = (node["Labels"].get(_NODE_GROUP_LABEL) for node in ray.nodes() if node["Alive"])
    return any(groups) or Path(_BOOTSTRAP).expanduser().exists()


def await_node(
    demand: Mapping[str, float],
    look: Callable[[], Sequence[Node]],
    waiting: Placeholders,
    *,
    is_stopping: Callable[[], bool] = lambda: False,
    patience: float = _PATIENCE_SECONDS,
) -> None:
    """Waits until a node could hold such a trial, `patience` seconds at most; not at all where no node may come.

    Args:
        look: the living nodes.
    """
    end = time.monotonic() + patience
    nodes = look()
    if any(node.holds(demand) for node in nodes) or not may_grow():
        return
    asked = " and ".join(f"{amount:g} {kind}s" for kind, amount in demand.items() if amount > 0)
    # While trials run, stdout and stderr belong to `driver.log`; this is for the person at the terminal.
    print(
        f"archsweep: no node holds a trial ({asked}); the autoscaler is asked for one, {patience / 60:.0f} min at most",
        file=sys.__stderr__,
        flush=True,
    )
    while not any(node.holds(demand) for node in nodes) and time.monotonic() < end and not is_stopping():
        waiting.request_capacity(demand, 1, nodes)
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        nodes = look()
    waiting.withdraw()
