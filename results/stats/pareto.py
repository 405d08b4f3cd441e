"""Non-dominated sorting: the Pareto front and the fronts behind it."""

from __future__ import annotations

from collections.abc import Sequence

from search_space.schema.metrics import Direction

__all__ = ["pareto_ranks"]


def pareto_ranks(points: Sequence[Sequence[float]], directions: Sequence[Direction]) -> list[int]:
    """Front number of each point: 1 is the Pareto front, 2 the Pareto front of the points not in front 1, ...

    A point dominates another if it is at least as good in every objective and better in one; equal points share a
    front. In the order of the first objective only an earlier point can dominate a later one, so every point belongs to
    the first front without a member that dominates it (X. Zhang et al., An Efficient Approach to Nondominated Sorting,
    2015).

    Args:
        points: one finite value per objective.
        directions: direction of each objective.
    """
    signs = [-1.0 if direction == "maximize" else 1.0 for direction in directions]
    costs = [tuple(sign * value for sign, value in zip(signs, point, strict=True)) for point in points]
    ranks = [0] * len(costs)
    fronts: list[list[tuple[float, ...]]] = []
    for index in sorted(range(len(costs)), key=lambda index: costs[index]):
        cost = costs[index]
        rank = next(
            (number for number, front in enumerate(fronts) if not any(_dominates(other, cost) for other in front)),
            len(fronts),
        )
        if rank == len(fronts):
            fronts.append([])
        fronts[rank].append(cost)
        ranks[index] = rank + 1
    return ranks


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(ours <= theirs for ours, theirs in zip(one, other, strict=True))
