"""Shapley design: combinations of components (coalitions), from which each component's Shapley value is computed.

    design: shapley                                        every coalition: exact, 2^k variants for k components
    design: {name: shapley, orders: 20, order_seed: 0}     the coalitions that 20 sampled orders of adding them pass

Sources: Shapley, A Value for n-Person Games (Contributions to the Theory of Games II, 1953); orders instead of all
         coalitions: Castro, Gomez & Tejada (Computers & Operations Research 36, 2009); each with its reverse
         (antithetic): Mitchell, Cooper, Frank & Holmes, Sampling Permutations for Shapley Value Estimation (JMLR 23,
         2022).
Differs: no order is drawn twice, so that as many orders as there are give the exact values.

The reference is the empty coalition, so that a row's difference is what its components contribute together, and the
values of all components add up to the difference of the last row. `results/effects/shapley.py` computes them.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Collection, Iterator, Sequence

from search_space.designs.components import component_candidate, component_issues, components_of, idle_components
from search_space.schema.parameters import Range
from search_space.schema.sweep import Sweep
from search_space.settings.candidates import CandidateRow, Issue

__all__ = ["Shapley", "coalition_name", "orders_of", "sampled_orders"]

_MOST_EXACT, _MOST_ASKED = 6, 12
_NUM_ORDERS = 20
_FEWEST_ORDERS = 4
_MOST_DRAWN = 100_000


class Shapley:
    """Design `shapley`: the coalitions by their size, in file order; every one up to 6 components, else sampled."""

    def issues(self, sweep: Sweep) -> Iterator[Issue]:
        found = list(component_issues(sweep))
        yield from found
        are_components = not found and not any(isinstance(each, Range) for each in sweep.space.values())
        yield from _order_issues(sweep, are_components)
        if are_components:
            yield from idle_components(sweep, "value")

    def candidates(self, sweep: Sweep) -> Iterator[CandidateRow]:
        names = tuple(components_of(sweep))
        for coalition in _coalitions(sweep, names):
            states = {name: name in coalition for name in names}
            yield component_candidate(sweep, states, coalition_name(name for name in names if name in coalition))

    def count(self, sweep: Sweep) -> int:
        num = len(sweep.space)
        if _num_orders(sweep) is None:
            return 2**num
        at_most = 2 + (_num_orders(sweep) or 0) * (num - 1)
        return at_most if at_most > _MOST_DRAWN else sum(1 for _ in _coalitions(sweep, tuple(components_of(sweep))))


def orders_of(sweep: Sweep) -> tuple[tuple[str, ...], ...]:
    """The sampled orders of a sweep of this design, each followed by its reverse; none where it is exact."""
    num = _num_orders(sweep)
    return () if num is None else sampled_orders(tuple(components_of(sweep)), num, sweep.design.order_seed or 0)


def sampled_orders(names: Sequence[str], num: int, seed: int) -> tuple[tuple[str, ...], ...]:
    """`num` different orders, each followed by its reverse; more of them with the same seed begin with these.

    Drawn by Fisher and Yates' shuffle from `random()` alone, whose numbers Python keeps between its versions.
    """
    assert num <= math.factorial(len(names)), "checked before"
    generator = random.Random(seed)
    found: dict[tuple[str, ...], None] = {}
    while len(found) < num:
        order = list(names)
        for last in range(len(order) - 1, 0, -1):
            chosen = int(generator.random() * (last + 1))
            order[last], order[chosen] = order[chosen], order[last]
        found |= dict.fromkeys((tuple(order), tuple(reversed(order))))
    return tuple(found)


def coalition_name(on: Iterator[str] | Sequence[str]) -> str:
    """`baseline`, or `+ a + b` of the components that are on."""
    return " ".join(f"+ {name}" for name in on) or "baseline"


def _num_orders(sweep: Sweep) -> int | None:
    """Number of sampled orders; None where every coalition is trained."""
    given = sweep.design.orders
    if given == "all" or (given is None and len(sweep.space) <= _MOST_EXACT):
        return None
    return _NUM_ORDERS if given is None else given


def _coalitions(sweep: Sweep, names: Sequence[str]) -> Iterator[Collection[str]]:
    """By size, those of one size in file order: the empty one first, the full one last."""
    if _num_orders(sweep) is None:
        for size in range(len(names) + 1):
            yield from itertools.combinations(names, size)
        return
    passed = {frozenset(order[:size]) for order in orders_of(sweep) for size in range(len(names) + 1)}
    place = {name: index for index, name in enumerate(names)}
    yield from sorted(passed, key=lambda coalition: (len(coalition), sorted(place[name] for name in coalition)))


def _order_issues(sweep: Sweep, are_components: bool) -> Iterator[Issue]:
    design, num = sweep.design, len(sweep.space)
    place, orders = ("design", "orders"), design.orders
    if orders == "all" and num > _MOST_ASKED:
        message = f"every combination of {num} components is 2^{num} variants"
        yield Issue(place, message, f"`all` is for up to {_MOST_ASKED} components; write a number of sampled orders")
    elif isinstance(orders, int) and num < 3:
        message = f"{num} component{'s have' if num != 1 else ' has'} too few orders to sample"
        yield Issue(place, message, "remove `orders`: every combination is trained then", at_key=True)
    elif isinstance(orders, int) and (orders % 2 or orders < _FEWEST_ORDERS):
        message = f"each sampled order comes with its reverse, and an error needs two such pairs, but got {orders}"
        yield Issue(place, message, f"write an even number from {_FEWEST_ORDERS} on")
    elif isinstance(orders, int) and orders > math.factorial(num):
        message = f"{num} components have {math.factorial(num)} orders, but got {orders}"
        yield Issue(place, message, "write  orders: all  for every combination, which needs no more trials")
    elif isinstance(orders, int) and are_components and _passes_every_coalition(sweep):
        message = f"{orders} sampled orders of {num} components pass all of their {2**num} combinations"
        yield Issue(place, message, "write  orders: all  for exact values of as many trials")
    if design.order_seed is not None and _num_orders(sweep) is None:
        message = "`order_seed` has no effect: every combination is trained, and no order is sampled"
        yield Issue(("design", "order_seed"), message, "remove it, or add  orders: 20", at_key=True)


def _passes_every_coalition(sweep: Sweep) -> bool:
    num, orders = len(sweep.space), _num_orders(sweep) or 0
    return 2**num <= min(_MOST_DRAWN, 2 + orders * (num - 1)) and Shapley().count(sweep) == 2**num
