"""What the nodes of a cluster can hold: whether a trial fits anywhere, and how many fit at once.

Counted node by node: four nodes with one GPU each hold no trial of two GPUs, although the sum says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search_space import Problem, Resources, SpecError

__all__ = ["Node", "check_fits", "slots"]

_NAMES = {"cpus": "CPU", "gpus": "GPU"}


@dataclass(frozen=True)
class Node:
    """A living node: its Ray id, the name of its host, and what it has in all."""

    id: str
    host: str
    total: Mapping[str, float]

    def holds(self, demand: Mapping[str, float]) -> int:
        """How many such trials fit at once; one that asks for nothing fits once."""
        fits = [int(self.total.get(kind, 0.0) / asked + 1e-9) for kind, asked in demand.items() if asked > 0]
        return min(fits) if fits else 1


def check_fits(resources: Resources, nodes: Sequence[Node]) -> None:
    """Refuses trials that no node could ever hold.

    Raises:
        SpecError: what a trial asks for, and the most that a node has.
    """
    asked = {kind: getattr(resources, path) for path, kind in _NAMES.items()}
    if any(node.holds(asked) for node in nodes):
        return
    most = {kind: max((node.total.get(kind, 0.0) for node in nodes), default=0.0) for kind in asked}
    whose = "the cluster" if len(nodes) == 1 else "its largest node"
    problems = [
        Problem(
            f"a trial asks for {asked[kind]:g} {kind}s, {whose} has {most[kind]:g}",
            path=f"resources.{path}",
            hint=f"lower it, or --set resources.{path}=...",
        )
        for path, kind in _NAMES.items()
        if asked[kind] > most[kind]
    ]
    if not problems:
        wish = " and ".join(f"{asked[kind]:g} {kind}s" for kind in asked)
        problems = [
            Problem(
                f"a trial asks for {wish}, and no node has both",
                path="resources",
                hint="lower one of them; `ray status` shows what each node has",
            )
        ]
    raise SpecError(problems)


def slots(demand: Mapping[str, float], nodes: Sequence[Node], *, at_most: int | None) -> int:
    """How many such trials fit at once, never more than `at_most` and never none: Ray queues what must wait."""
    fits = max(1, sum(node.holds(demand) for node in nodes))
    return fits if at_most is None else min(fits, at_most)
