"""Capacity of the nodes of a cluster: whether a trial fits on any of them, and how many fit at once.

Counted node by node: four nodes with one GPU each hold no trial of two GPUs, although the sum says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from search_space import Problem, Resources, SpecError

__all__ = ["Node", "check_fits", "demand_of", "fits", "has_room"]

_NAMES = {"cpus": "CPU", "gpus": "GPU"}


@dataclass(frozen=True)
class Node:
    """Living node: its Ray id, its host name, and its total resources."""

    id: str
    host: str
    total: Mapping[str, float]

    def holds(self, demand: Mapping[str, float]) -> bool:
        """Whether such a trial fits when nothing else is there."""
        return fits(demand, self.total)


def demand_of(resources: Resources) -> dict[str, float]:
    """CPUs and GPUs by Ray's names."""
    return {"CPU": resources.cpus, "GPU": resources.num_gpus}


def fits(demand: Mapping[str, float], room: Mapping[str, float]) -> bool:
    """Whether every requested resource is available; a request for nothing always fits."""
    return all(room.get(kind, 0.0) + 1e-9 >= amount for kind, amount in demand.items() if amount > 0)


def check_fits(resources: Resources, nodes: Sequence[Node], *, section: str = "resources") -> None:
    """Refuse trials that no node can hold.

    Args:
        section: of the sweep file, where they get these resources.

    Raises:
        SpecError: states the request of a trial, and the most that a node has.
    """
    asked = demand_of(resources)
    if any(node.holds(asked) for node in nodes):
        return
    most = {kind: max((node.total.get(kind, 0.0) for node in nodes), default=0.0) for kind in asked}
    whose = "the cluster" if len(nodes) == 1 else "its largest node"
    problems = [
        Problem(
            f"a trial asks for {asked[kind]:g} {kind}s, {whose} has {most[kind]:g}",
            path=f"{section}.{path}",
            hint=f"lower it, or --set resources.{path}=..." if section == "resources" else "lower it",
        )
        for path, kind in _NAMES.items()
        if asked[kind] > most[kind]
    ]
    if not problems:
        asked_for = " and ".join(f"{asked[kind]:g} {kind}s" for kind in asked)
        problems = [
            Problem(
                f"a trial asks for {asked_for}, and no node has both",
                path=section,
                hint="lower one of them; `ray status` shows what each node has",
            )
        ]
    raise SpecError(problems)


def has_room(asked: Mapping[str, float], taken: Iterable[Mapping[str, float]], nodes: Sequence[Node]) -> bool:
    """Whether a trial that asks for this fits beside those under way, if they stand as close as can be (first fit,
    the largest first). Not if one of those still waits for room itself."""
    free = [dict(node.total) for node in nodes]

    def place(demand: Mapping[str, float]) -> bool:
        for left in free:
            if fits(demand, left):
                left.update({kind: left.get(kind, 0.0) - amount for kind, amount in demand.items()})
                return True
        return False

    largest_first = sorted(taken, key=lambda demand: (demand["GPU"], demand["CPU"]), reverse=True)
    return all(map(place, largest_first)) and place(asked)
