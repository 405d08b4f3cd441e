"""What a plan of the design `shapley` will give: exact values or estimates, from how many coalitions, and how precise.

The noise of a value is that of the seeds alone, relative to the difference of two variants; what sampling the orders
adds is not known before results.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from results.effects.shapley import coalition_of, marginals, noise_factor
from search_space import Sweep, Variant
from search_space.designs.components import components_of
from search_space.designs.shapley import orders_of

__all__ = ["PlannedCoalitions", "planned_coalitions"]


@dataclass(frozen=True)
class PlannedCoalitions:
    """The coalitions of a plan.

    Attributes:
        num_coalitions: those that are trained, of the `num_needed` of the design.
        num_orders: sampled orders, half of them reverses of the others; 0: the values are exact.
        order_seed: seed of the sampled orders.
        noise: standard deviation of the least precise value over that of one difference, if trials err independently.
        not_computable: components of which a coalition is dropped.
    """

    num_components: int
    num_coalitions: int
    num_needed: int
    num_orders: int
    order_seed: int
    noise: float
    not_computable: tuple[str, ...]


def planned_coalitions(sweep: Sweep, kept: Iterable[Variant]) -> PlannedCoalitions | None:
    """Of the variants that are trained; None for sweeps of another design."""
    if sweep.design.name != "shapley":
        return None
    names, orders = tuple(components_of(sweep)), orders_of(sweep)
    terms = marginals(names, orders)
    trained = {coalition_of(each.components) for each in kept}
    needs = {name: {s for term in terms[name] for s in (term.without, term.without | {name})} for name in names}
    return PlannedCoalitions(
        num_components=len(names),
        num_coalitions=len(trained),
        num_needed=len(set().union(*needs.values())),
        num_orders=len(orders),
        order_seed=sweep.design.order_seed or 0,
        noise=max(noise_factor(found) for found in terms.values()),
        not_computable=tuple(name for name in names if not needs[name] <= trained),
    )
