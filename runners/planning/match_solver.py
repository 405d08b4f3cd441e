"""Solver of `match`: the value of one parameter of an architecture that gives a variant the cost of another.

Cost is monotonic in a width, a ratio or a patch size, so a bracket around the target is found by doubling and then
bisected until it contains no further candidate. Candidates that cannot be built or do not meet `require` (a width
that the number of heads does not divide) are skipped, before their cost is measured. Measured costs are cached, here
and by `measure_cost`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from search_space import (
    ImpossibleValue,
    Setting,
    Sweep,
    Variant,
    match_step,
    value_at,
    variant_id,
    with_matched_value,
)

__all__ = ["Unmatched", "match_variant"]

_MAX_TRIED = 2000
_MAX_INDEX = 2**20
_UNITS = {"params_m": "M parameters", "gmacs": "GMACs"}


@dataclass(frozen=True)
class Unmatched:
    """Reason why a variant has no match, with the closest candidate and its cost."""

    reason: str


def match_variant(
    sweep: Sweep,
    variant: Variant,
    target: float,
    *,
    reference: Setting,
    cost_of: Callable[[Variant], float | None],
) -> Variant | Unmatched:
    """Variant with the candidate whose cost is closest to the target; of equally close ones the cheaper.

    Args:
        target: cost in the unit of `sweep.match.cost`.
        reference: setting that the variant's `changes` refer to.
        cost_of: the matched cost of a candidate; None if it cannot be built or does not meet `require`.
    """
    match = sweep.match
    assert match is not None
    own = value_at(variant.setting, match.by)
    if isinstance(own, bool) or not isinstance(own, int | float):
        return Unmatched(f"cannot be matched: it has no number at {match.by}")
    candidates = _Candidates(sweep, variant, reference, cost_of, match_step(sweep))
    start = max(1, round(own / candidates.step))
    best = _closest(candidates, target, start)
    if best is None:
        return Unmatched(f"cannot be matched: no value of {match.by} around {own} can be built and meets `require`")
    cost = candidates.cost(best)
    assert cost is not None
    if abs(cost - target) > match.tolerance * target:
        unit = _UNITS[match.cost]
        return Unmatched(
            f"no {match.by} matches {target:.4g} {unit} within {100 * match.tolerance:g} %: "
            f"the closest, {candidates.value(best)}, has {cost:.4g} ({100 * (cost - target) / target:+.1f} %)"
        )
    return candidates.variants[best]


@dataclass
class _Candidates:
    """Grid of candidates: number i has the value i * step."""

    sweep: Sweep
    variant: Variant
    reference: Setting
    cost_of: Callable[[Variant], float | None]
    step: int | float
    variants: dict[int, Variant] = field(default_factory=dict)
    _costs: dict[int, float | None] = field(default_factory=dict)

    def value(self, index: int) -> int | float:
        # 0.05 * 3 is not 0.15: rounded, so that names and identities are those of the number in a sweep file
        return index * self.step if isinstance(self.step, int) else round(index * self.step, 9)

    def cost(self, index: int) -> float | None:
        if index not in self._costs and len(self._costs) < _MAX_TRIED:
            self._costs[index] = self._measure(index)
        return self._costs.get(index)

    def _measure(self, index: int) -> float | None:
        value = self.value(index)
        own = value_at(self.variant.setting, self.sweep.match.by) if self.sweep.match else None
        try:
            candidate = with_matched_value(
                self.sweep,
                self.variant,
                float(value) if isinstance(own, float) else value,
                reference=self.reference,
            )
        except ImpossibleValue:
            return None
        if variant_id(candidate.setting) == self.variant.variant_id:
            candidate = self.variant
        self.variants[index] = candidate
        return self.cost_of(candidate)

    @property
    def is_exhausted(self) -> bool:
        return len(self._costs) >= _MAX_TRIED


def _closest(candidates: _Candidates, target: float, start: int) -> int | None:
    """Index whose cost is closest to the target, among those with a cost."""
    first = _nearest(candidates, start, 1, 2 * start + 64)
    if first is None:
        return None
    known = {first}
    direction = _direction(candidates, first, known)
    if direction == 0:
        return first
    low, high = _bracket(candidates, first, target, direction, known)
    while low is not None and high is not None and abs(high - low) > 1:
        # strictly inside the bracket, from the middle outwards
        inner = _nearest(candidates, (low + high) // 2, min(low, high) + 1, max(low, high) - 1)
        if inner is None:
            break
        known.add(inner)
        if _cost(candidates, inner) < target:
            low = inner
        else:
            high = inner
    return min(known, key=lambda index: (abs(_cost(candidates, index) - target), _cost(candidates, index), index))


def _direction(candidates: _Candidates, first: int, known: set[int]) -> int:
    """Sign of the cost's slope: +1 if it grows with the value, -1 if it falls, 0 if it is constant."""
    for other in (2 * first, max(1, first // 2), 8 * first):
        found = _nearest(candidates, other, max(1, other - other // 4), other + max(8, other // 4))
        if found is None or found == first:
            continue
        known.add(found)
        change = (_cost(candidates, found) - _cost(candidates, first)) * (found - first)
        if change:
            return 1 if change > 0 else -1
    return 0


def _bracket(
    candidates: _Candidates, first: int, target: float, direction: int, known: set[int]
) -> tuple[int | None, int | None]:
    """Bracket: an index that costs less than the target and one that does not; None where there is none."""
    low = first if _cost(candidates, first) < target else None
    high = first if low is None else None
    edge = first
    grows = (low is not None) == (direction > 0)  # towards larger values
    while (low is None or high is None) and not candidates.is_exhausted:
        if grows:
            following = _nearest(candidates, 2 * edge, edge + 1, 4 * edge + 64)
        else:
            following = _nearest(candidates, max(1, edge // 2), 1, edge - 1)
        if following is None or following > _MAX_INDEX:
            break
        known.add(following)
        if _cost(candidates, following) < target:
            low = following
        else:
            high = following
        edge = following
    return low, high


def _nearest(candidates: _Candidates, middle: int, least: int, most: int) -> int | None:
    """Index nearest to `middle` within bounds that has a cost, the smaller of two equally near ones."""
    for index in _outwards(middle, least, most):
        if candidates.cost(index) is not None:
            return index
        if candidates.is_exhausted:
            return None
    return None


def _outwards(middle: int, least: int, most: int) -> Iterator[int]:
    if least > most:
        return
    middle = min(max(middle, least), most)
    yield middle
    for distance in range(1, max(middle - least, most - middle) + 1):
        if middle - distance >= least:
            yield middle - distance
        if middle + distance <= most:
            yield middle + distance


def _cost(candidates: _Candidates, index: int) -> float:
    cost = candidates.cost(index)
    assert cost is not None, "only measured indices are kept"
    return cost
