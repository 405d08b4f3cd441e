"""Whether rows are in the order that a paper published: Kendall's tau-b of our means with the published values.

A small study on other data cannot reproduce a paper's numbers; it may reproduce their order. An order is within one
source: rows of the same text of `source` are of one table and setting, so that they can be compared with each other.

Seeds (or folds) are paired: a row enters with a value at every seed that it is to have, and means are over the seeds
that all these rows have. Every pair of rows has its same-seed differences, a paired t-test (over folds the corrected
resampled t), and Holm's correction over all pairs of the order, so that the level holds for all of them together,
whatever `analysis` has for the differences to the baseline. Pairs below alpha are distinguished; the range of tau is
that of every order which these leave possible (results/stats/rank_agreement.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

from results.plan.comparison import PublishedRow
from results.stats.blocks import delta_over_folds
from results.stats.hypothesis_tests import MIN_SEEDS_TEST, holm, paired_t_p_value
from results.stats.paired import PairedDelta, paired_delta
from results.stats.rank_agreement import sign, tau_b, tau_range
from results.table.table import AblationTable, Row
from search_space.schema.sweep import FEWEST_OF_AN_ORDER
from search_space.settings.table_columns import COSTS

__all__ = ["PublishedOrder", "Reversed", "published_orders"]

Obstacle = Literal["", "rows", "units", "published equal", "ours equal", "looks"]
_Values = Mapping[str, Mapping[int, float]]
"""Values of a row: block (empty without blocks) -> seed -> value."""


@dataclass(frozen=True)
class Reversed:
    """Pair of rows that is not in the published order beyond the noise of the seeds; both are upper minus lower."""

    upper: str
    lower: str
    ours: PairedDelta
    published: float


@dataclass(frozen=True)
class PublishedOrder:
    """Agreement of one metric's order with that of one source.

    Attributes:
        is_order_only: its published values are compared by their order alone.
        rows: the names of those with a published value and all of ours, as published from the largest value down.
        lacking: names of those with a published value that lack some of ours.
        units: seeds (or folds) that all `rows` have.
        tau: of the means over the units; None where `obstacle` says why.
        by_unit: tau in each unit; None where ours are all equal in it.
        low, high: what tau can be; None where pairs are not tested.
        num_pairs: pairs of `rows` with different published values.
        num_as_published: of these, in the published order beyond the noise.
        reversed: of these, in the other order beyond the noise.
        obstacle: why there is no tau; `looks`: why pairs are not tested.
    """

    metric: str
    source: str
    is_order_only: bool
    rows: tuple[str, ...]
    lacking: tuple[str, ...]
    units: tuple[str, ...] = ()
    tau: float | None = None
    by_unit: tuple[float | None, ...] = ()
    low: float | None = None
    high: float | None = None
    num_pairs: int = 0
    num_as_published: int = 0
    reversed: tuple[Reversed, ...] = ()
    obstacle: Obstacle = ""


def published_orders(table: AblationTable) -> tuple[PublishedOrder, ...]:
    """The orders of a table of one run: of every source and metric with two rows and more, of which a row has results.

    A cost has no order here: it has no seeds. Neither has a mean over blocks of different kind.
    """
    if table.blocks is not None and not table.blocks.is_resampled:
        return ()
    groups: dict[tuple[str, str], dict[int, PublishedRow]] = {}
    for index, row in enumerate(table.rows):
        for there in (*row.published, *row.order_only):
            for name in there.values:
                if name not in COSTS:
                    # Of two spellings of one setting the first counts.
                    groups.setdefault((there.source, name), {}).setdefault(index, there)
    return tuple(
        _order(table, source, name, found)
        for (source, name), found in groups.items()
        if len(found) > 1 and any(name in row.metrics for row in table.rows)
    )


def _order(table: AblationTable, source: str, name: str, found: Mapping[int, PublishedRow]) -> PublishedOrder:
    values = {index: _values(table.rows[index], name) for index in found}
    whole = sorted(
        (index for index in found if _is_whole(table, table.rows[index], values[index])),
        key=lambda index: -found[index].values[name],  # stable: equal ones stay in the order of the table
    )
    blocks = table.blocks.names if table.blocks is not None else [""]
    # In every block the seeds that all rows have.
    seeds = {
        block: sorted(set.intersection(*({*values[index][block]} for index in whole))) if whole else []
        for block in blocks
    }
    units = tuple(map(str, seeds[""])) if table.blocks is None else tuple(block for block in blocks if seeds[block])
    order = PublishedOrder(
        metric=name,
        source=source,
        is_order_only=all(there.compare == "order" for there in found.values()),
        rows=tuple(table.rows[index].name for index in whole),
        lacking=tuple(table.rows[index].name for index in found if index not in whole),
        units=units,
    )
    if len(whole) < FEWEST_OF_AN_ORDER:
        return _without_tau(order, "rows")
    if len(units) < 2:
        return _without_tau(order, "units")
    pairs = list(combinations(whole, 2))  # each from the larger published value to the smaller one
    apart = [found[upper].values[name] - found[lower].values[name] for upper, lower in pairs]
    if not any(apart):
        return _without_tau(order, "published equal")
    deltas = [_delta(table, values[upper], values[lower], seeds) for upper, lower in pairs]
    tau = _tau(apart, [delta.mean for delta in deltas])
    if tau is None:
        return _without_tau(order, "ours equal")
    is_tested = len(units) >= MIN_SEEDS_TEST and not table.is_sequential
    shown = _distinguished(deltas, table.analysis.alpha) if is_tested else [0] * len(pairs)
    ends = tau_range([(sign(there), ours) for there, ours in zip(apart, shown, strict=True)]) if is_tested else None
    agreement = [sign(there) * ours for there, ours in zip(apart, shown, strict=True)]
    return replace(
        order,
        tau=tau,
        by_unit=tuple(_tau(apart, [delta.differences[at] for delta in deltas]) for at in range(len(units))),
        low=None if ends is None else ends[0],
        high=None if ends is None else ends[1],
        num_pairs=sum(there != 0 for there in apart),
        num_as_published=agreement.count(1),
        reversed=tuple(
            Reversed(table.rows[upper].name, table.rows[lower].name, delta, there)
            for (upper, lower), delta, there, how in zip(pairs, deltas, apart, agreement, strict=True)
            if how < 0
        ),
        obstacle="looks" if table.is_sequential else "",
    )


def _values(row: Row, name: str) -> _Values:
    return {block: cell.values(name) for block, cell in row.cells.items()}


def _is_whole(table: AblationTable, row: Row, values: _Values) -> bool:
    """Whether the row has a value at every planned seed, in every block of the design."""
    if table.blocks is not None and set(table.blocks.names) - set(row.blocks):
        return False  # dropped in a block
    return all(len(values[block]) == cell.num_planned for block, cell in row.cells.items())


def _delta(table: AblationTable, upper: _Values, lower: _Values, seeds: Mapping[str, Sequence[int]]) -> PairedDelta:
    """Upper minus lower over the seeds, or over the folds with their test."""
    alpha, blocks = table.analysis.alpha, table.blocks

    def within(block: str) -> PairedDelta:
        one, other = ({seed: values[block][seed] for seed in seeds[block]} for values in (upper, lower))
        found = paired_delta(one, other, alpha=alpha)
        assert found is not None, "rows without a seed in common have no order"
        return found

    if blocks is None:
        return within("")
    folds = [within(block) for block in blocks.names if seeds[block]]
    found = delta_over_folds(
        [each.mean for each in folds],
        test_per_train=blocks.test_per_train,
        scale=max(each.scale for each in folds),
        alpha=alpha,
    )
    assert found is not None, "rows without a fold in common have no order"
    return found


def _distinguished(deltas: Sequence[PairedDelta], alpha: float) -> list[int]:
    """Sign of each difference that the test shows, after Holm over all of them; 0 of the others."""
    raw = [paired_t_p_value(delta) for delta in deltas]
    corrected = iter(holm([p for p in raw if p is not None], len(deltas)))
    shown = [p is not None and next(corrected) < alpha for p in raw]
    return [sign(delta.mean) if is_shown else 0 for delta, is_shown in zip(deltas, shown, strict=True)]


def _tau(published: Sequence[float], ours: Sequence[float]) -> float | None:
    return tau_b([(sign(there), sign(here)) for there, here in zip(published, ours, strict=True)])


def _without_tau(order: PublishedOrder, obstacle: Obstacle) -> PublishedOrder:
    return replace(order, obstacle=obstacle)
