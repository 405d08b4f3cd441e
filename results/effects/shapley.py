"""Shapley values of components: what each contributes on average over the orders in which components can be added.

Of a game v (coalition -> value of the metric) over k components N,

    phi_i = sum over S without i of |S|! (k - |S| - 1)! / k! (v(S + i) - v(S)),

the mean of i's marginal contribution over all k! orders; with sampled orders, over those. Computed seed by seed, since
every coalition is trained with the same seeds; mean, t-interval and paired t-test are over the seeds. The values of a
seed add up to v(N) - v(empty).

Two errors are kept apart. The interval is that of the seeds, for the orders at hand. `order_error` is what sampling the
orders adds: the standard error of the mean over pairs of an order and its reverse, drawn without repetition, at the
mean over the seeds.

Sources: Shapley 1953; Castro, Gomez & Tejada 2009; Mitchell, Cooper, Frank & Holmes 2022 (docs/statistics.md).
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from results.stats.hypothesis_tests import CORRECTIONS, paired_t_p_value
from results.stats.paired import PairedDelta, paired_delta
from results.table.comparison import budgets
from results.table.table import AblationTable, Row
from search_space.designs.shapley import coalition_name
from search_space.parsing.errors import Problem, SpecError

__all__ = [
    "Coalition",
    "Marginal",
    "Missing",
    "ShapleyValue",
    "ShapleyValues",
    "coalition_of",
    "marginals",
    "noise_factor",
    "shapley",
]

Coalition = frozenset[str]
_Values = Mapping[Coalition, Mapping[int, float]]


@dataclass(frozen=True)
class Marginal:
    """One term of a value: v(`without` + the component) - v(`without`), times the weight."""

    without: Coalition
    weight: Fraction


@dataclass(frozen=True)
class ShapleyValue:
    """The Shapley value of one component, beside what the designs of one component at a time measure.

    Attributes:
        value: over the seeds at which every coalition that it needs is complete; None: there is no such seed.
        p, p_corrected: paired t-test of 0, over the components; None below 3 seeds or without any spread.
        order_error: standard error of sampling the orders; None where it is exact, and without a value.
        alone: gain over no component, as `add_one_in`; None where that row is missing.
        in_full: gain beside all others, as `leave_one_out`.
        beyond_alone, beyond_in_full: the value minus these, over the seeds that have both.
    """

    component: str
    value: PairedDelta | None
    p: float | None
    p_corrected: float | None
    order_error: float | None
    alone: PairedDelta | None
    in_full: PairedDelta | None
    beyond_alone: PairedDelta | None
    beyond_in_full: PairedDelta | None


@dataclass(frozen=True)
class Missing:
    """A coalition that some value needs and that lacks seeds; `seeds` are those that it has."""

    name: str
    reason: str
    num_values: int


@dataclass(frozen=True)
class ShapleyValues:
    """The values of all components of a table.

    Attributes:
        num_orders: sampled orders; 0: exact.
        num_coalitions: those that the values need.
        whole: all components minus none, at the seeds of every value: what the values add up to; None where they have
            not all the same seeds.
        missing: what of the coalitions is missing, in the order of the table.
    """

    values: tuple[ShapleyValue, ...]
    num_orders: int
    num_coalitions: int
    whole: PairedDelta | None
    missing: tuple[Missing, ...]


def marginals(components: Sequence[str], orders: Sequence[Sequence[str]] = ()) -> dict[str, tuple[Marginal, ...]]:
    """Component -> terms of its value, whose weights add up to 1; exact without orders, else their mean."""
    if not orders:
        num = len(components)
        weights = [Fraction(1, num * math.comb(num - 1, size)) for size in range(num)]
        return {
            name: tuple(
                Marginal(frozenset(others), weights[size])
                for size in range(num)
                for others in itertools.combinations([one for one in components if one != name], size)
            )
            for name in components
        }
    counts: dict[str, Counter[Coalition]] = {name: Counter() for name in components}
    for order in orders:
        for size, name in enumerate(order):
            counts[name][frozenset(order[:size])] += 1
    return {
        name: tuple(Marginal(without, Fraction(count, len(orders))) for without, count in found.items())
        for name, found in counts.items()
    }


def noise_factor(terms: Iterable[Marginal]) -> float:
    """Standard deviation of a value over that of the difference of two coalitions, if all err alike, each by itself."""
    # v(S) and v(S + i) of different S are different trials, so their squares add up as those of differences.
    return math.sqrt(sum(float(term.weight) ** 2 for term in terms))


def shapley(table: AblationTable) -> ShapleyValues:
    """The Shapley values of a table of the design `shapley`, on its metric.

    Raises:
        SpecError: the table is of another design, or has blocks.
    """
    if table.design != "shapley" or table.blocks is not None:
        message = f"Shapley values need the design 'shapley' without blocks, not {table.design or 'several designs'!r}"
        raise SpecError(Problem(message, where=table.sweep))
    components, orders = table.components, table.orders
    terms = marginals(components, orders)
    needed = dict.fromkeys(
        coalition for name in components for term in terms[name] for coalition in (term.without, term.without | {name})
    )
    game = _Game(table)
    per_seed = {name: game.means(name, terms[name]) for name in components}
    deltas = {name: game.delta(per_seed[name]) for name in components}
    known = {name: p for name in components if (d := deltas[name]) and (p := paired_t_p_value(d)) is not None}
    adjust = CORRECTIONS[table.analysis.correction]
    corrected = dict(zip(known, adjust(list(known.values()), len(components), None), strict=True))
    seeds = list(dict.fromkeys(map(frozenset, per_seed.values())))
    whole = game.gains(frozenset(), frozenset(components), seeds[0]) if len(seeds) == 1 else {}
    return ShapleyValues(
        values=tuple(
            ShapleyValue(
                component=name,
                value=deltas[name],
                p=known.get(name),
                p_corrected=corrected.get(name),
                order_error=game.order_error(name, orders, per_seed[name]),
                **game.one_at_a_time(name, per_seed[name]),
            )
            for name in components
        ),
        num_orders=len(orders),
        num_coalitions=len(needed),
        whole=game.delta(whole),
        missing=tuple(game.missing(needed)),
    )


class _Game:
    """The trained coalitions of a table, seed by seed."""

    def __init__(self, table: AblationTable) -> None:
        self._table = table
        self._rows = {coalition_of(row.components): row for row in table.rows}
        self._budget = _budget(table)
        self._values: _Values = {key: self._of_row(row) for key, row in self._rows.items()}
        self._scale = max((abs(value) for found in self._values.values() for value in found.values()), default=0.0)

    def _of_row(self, row: Row) -> dict[int, float]:
        return row.values(self._table.metric.name) if budgets(row) == self._budget else {}

    def gains(self, before: Coalition, after: Coalition, seeds: Collection[int] | None = None) -> dict[int, float]:
        """Seed -> v(after) - v(before), at the seeds that both have."""
        lower, upper = self._values.get(before, {}), self._values.get(after, {})
        both = [seed for seed in lower if seed in upper and (seeds is None or seed in seeds)]
        return {seed: upper[seed] - lower[seed] for seed in both}

    def means(self, name: str, terms: Iterable[Marginal]) -> dict[int, float]:
        """Seed -> weighted mean of the component's marginals, at the seeds that have all of them."""
        found = [(float(term.weight), self.gains(term.without, term.without | {name})) for term in terms]
        whole = [seed for seed in self._table.seeds if all(seed in gains for _, gains in found)]
        return {seed: math.fsum(weight * gains[seed] for weight, gains in found) for seed in whole}

    def delta(self, gains: Mapping[int, float]) -> PairedDelta | None:
        """Mean over the seeds and its interval; None without any."""
        alpha = self._table.analysis.alpha
        return paired_delta(gains, dict.fromkeys(gains, 0.0), alpha=alpha, scale=self._scale)

    def one_at_a_time(self, name: str, value: Mapping[int, float]) -> dict[str, PairedDelta | None]:
        """The gains alone and beside all others, and the value minus these."""
        every = frozenset(self._table.components)
        alone, in_full = self.gains(frozenset(), frozenset({name})), self.gains(every - {name}, every)
        beyond = [{seed: value[seed] - gains[seed] for seed in value if seed in gains} for gains in (alone, in_full)]
        names = ("alone", "in_full", "beyond_alone", "beyond_in_full")
        return dict(zip(names, map(self.delta, (alone, in_full, *beyond)), strict=True))

    def order_error(self, name: str, orders: Sequence[Sequence[str]], seeds: Collection[int]) -> float | None:
        """Standard error of the mean over sampled pairs of orders, of a finite number of pairs."""
        if not orders or not seeds:
            return None
        pairs = [
            math.fsum(self._mean_marginal(name, order, seeds) for order in pair) / 2
            for pair in zip(orders[::2], orders[1::2], strict=True)
        ]
        mean = math.fsum(pairs) / len(pairs)
        variance = math.fsum((each - mean) ** 2 for each in pairs) / (len(pairs) - 1)
        left = 1 - 2 * len(pairs) / math.factorial(len(self._table.components))
        return math.sqrt(variance / len(pairs) * left)

    def _mean_marginal(self, name: str, order: Sequence[str], seeds: Collection[int]) -> float:
        without = frozenset(order[: order.index(name)])
        return math.fsum(self.gains(without, without | {name}, seeds).values()) / len(seeds)

    def missing(self, needed: Iterable[Coalition]) -> Iterator[Missing]:
        """What the needed coalitions lack, and why."""
        place = {name: index for index, name in enumerate(self._table.components)}
        by_size = sorted(needed, key=lambda one: (len(one), sorted(place[name] for name in one)))
        dropped = {coalition_of(one.components): one.reason for one in self._table.dropped}
        for coalition in by_size:
            num = len(self._values.get(coalition, {}))
            if num < len(self._table.seeds):
                name = coalition_name(one for one in self._table.components if one in coalition)
                reason = f"dropped: {dropped[coalition]}" if coalition in dropped else self._reason(coalition)
                yield Missing(name, reason, num)

    def _reason(self, coalition: Coalition) -> str:
        row = self._rows.get(coalition)
        if row is None:
            return "not among the variants"
        if row.num_completed and budgets(row) != self._budget:
            return "trained for another number of epochs"
        have = self._values[coalition]
        status = {record.seed: record.status for record in row.records}
        lacking = [
            f"seed {seed} {'without a finite value' if (s := status.get(seed, 'missing')) == 'completed' else s}"
            for seed in self._table.seeds
            if seed not in have
        ]
        return ", ".join(lacking)


def coalition_of(components: Mapping[str, bool]) -> Coalition:
    """The components that are on."""
    return frozenset(name for name, is_on in components.items() if is_on)


def _budget(table: AblationTable) -> frozenset[tuple[int, int | None]]:
    """Epochs of the baseline; where it has none completed, the most common ones."""
    baseline = table.baseline
    if baseline is not None and baseline.num_completed:
        return budgets(baseline)
    found = Counter(budgets(row) for row in table.rows if row.num_completed)
    return found.most_common(1)[0][0] if found else frozenset()
