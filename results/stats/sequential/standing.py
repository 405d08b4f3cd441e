"""Which arms of a sequential design get further seeds: a function of the results so far, and of nothing else.

So a driver that was killed at any moment decides the same again, and a table needs no record of decisions. An arm that
has its seeds of a look does not wait for the others where their results cannot change what follows for it: Holm's
correction is applied twice, as if the unknown p-values were as large, and as small, as they can be.

An arm, or a baseline, with a trial that ended without a value is held: it is not tested, and gets no further seeds
until that trial is repeated (`--retry failed`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Literal

from results.plan.comparison import Analysis, Rounds
from results.stats.paired import PairedDelta, paired_delta
from results.stats.sequential.evidence import PValues, corrected, looks_of
from results.stats.sequential.futility import is_futile

__all__ = ["Ends", "Standing", "Stopped", "rejected", "standings"]

Ends = Mapping[int, float | None]
"""Seed -> value of a trial that ended; None: it ended without one."""
Stopped = Literal["", "decided", "futile", "held"]


@dataclass(frozen=True)
class Standing:
    """Where an arm is.

    Attributes:
        num_seeds: with so many it is trained, as far as is decided now.
        stopped: why it gets no further ones; empty: it waits for results, or has all.
    """

    num_seeds: int
    stopped: Stopped = ""


def standings(
    arms: Mapping[str, Ends],
    baseline: Ends,
    seeds: Sequence[int],
    *,
    rounds: Rounds,
    analysis: Analysis,
    num_arms: int | None = None,
) -> dict[str, Standing]:
    """Standing of every arm of one study.

    Args:
        arms: results of each, seed -> value.
        seeds: all, in the order in which they are trained.
        num_arms: size of the family of tests; default: the number of `arms`.
    """
    looks = looks_of(analysis, rounds)
    assert looks is not None
    family = max(len(arms), num_arms or 0)
    found: dict[str, Standing] = {}
    known: dict[str, PValues] = {name: PValues(None) for name in arms}
    active, unsettled = list(arms), set[str]()
    for number in rounds.looks:
        at_look: dict[str, PairedDelta] = {}
        waiting: set[str] = set()
        for name in active:
            found[name] = Standing(number)
            ends = [one.get(seed, _MISSING) for seed in seeds[:number] for one in (arms[name], baseline)]
            if _MISSING in ends:
                waiting.add(name)
                continue
            mine, theirs = _values(arms[name], seeds[:number]), _values(baseline, seeds[:number])
            if len(mine) < number or len(theirs) < number:
                found[name] = Standing(number, "held")
                continue
            delta = paired_delta(mine, theirs)
            assert delta is not None
            at_look[name] = delta
            known[name] = looks.p_values(mine, theirs, seeds[:number], analysis.margin)
        surely = rejected(known, analysis, family)
        perhaps = rejected(known, analysis, family, unknown=waiting | unsettled)
        active = []
        for name, delta in at_look.items():
            if rounds.stop == "decided" and name in surely:
                found[name] = Standing(number, "decided")
            elif number == rounds.looks[-1]:
                continue
            elif is_futile(delta, rounds):
                found[name] = Standing(number, "futile")
            elif rounds.stop == "decided" and name in perhaps:
                unsettled.add(name)
            else:
                active.append(name)
    return found


_MISSING = object()


def _values(ends: Ends, seeds: Sequence[int]) -> dict[int, float]:
    found = {seed: ends[seed] for seed in seeds}
    return {seed: value for seed, value in found.items() if value is not None}


def rejected(
    known: Mapping[str, PValues], analysis: Analysis, family: int, *, unknown: Set[str] = frozenset()
) -> frozenset[str]:
    """Arms with a claim, of a difference or of equivalence, after the correction for all arms.

    Args:
        unknown: arms whose p-values are taken as 0.
    """
    zero = PValues(0.0, None if analysis.margin is None else 0.0)
    after = corrected({name: zero if name in unknown else p for name, p in known.items()}, analysis, family)
    return frozenset(
        name
        for name, each in after.items()
        if any(p is not None and p < analysis.alpha for p in (each.difference, each.equivalence))
    )
