"""What rounds of seeds are expected to cost and to find, and what tests at any number of seeds cost in power.

By simulation of the design (`results/stats/sequential/simulation.py`), with the named effect in one variant and none in
the others: the worst case for the correction, and the usual one of a study with one finding.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from results.plan.comparison import Analysis, Rounds
from results.stats.sequential.simulation import Simulated, simulate
from runners.planning.stored_plan import rounds_of
from search_space import Sweep

__all__ = ["RoundsAhead", "rounds_ahead"]

_USUAL_EFFECT = 1.5
"""In standard deviations of the differences, where the sweep names no effect."""


@dataclass(frozen=True)
class RoundsAhead:
    """A sequential design before it begins; trainings are those of the baseline and all variants.

    Attributes:
        looks: numbers of seeds; of seeds without rounds their number alone.
        is_anytime: whether tests hold at any number of seeds.
        most: trainings if no variant stops.
        without_effect: expected trainings if no variant differs from the baseline.
        effect: the named effect, in standard deviations of the differences.
        with_effect: expected trainings if one variant has that effect.
        power: of finding it.
        power_at_once: the same if all seeds were tested once, at the end.
    """

    looks: tuple[int, ...]
    is_anytime: bool
    most: int
    without_effect: float
    effect: float
    with_effect: float
    power: float
    power_at_once: float
    num_studies: int


def rounds_ahead(sweep: Sweep, num_arms: int, std: float | None) -> RoundsAhead | None:
    """What is to be expected; None for tests of all seeds at once, without a variant, or without 3 seeds.

    Args:
        std: standard deviation of same-seed differences, for an effect in the metric's unit; None: unknown.
    """
    rounds, analysis = rounds_of(sweep), Analysis(**sweep.analysis.model_dump())
    if num_arms < 1 or (rounds is None and analysis.sequential is None) or len(sweep.seeds) < 3:
        return None
    if rounds is None:
        rounds = Rounds(looks=[len(sweep.seeds)])
    effect = rounds.effect
    if rounds.smallest is not None:
        if std is None:
            return None
        effect = rounds.smallest / std
        rounds = rounds.model_copy(update={"smallest": effect})
    effect = _USUAL_EFFECT if effect is None else effect
    designs = rounds.model_dump_json(), analysis.model_dump_json()
    at_once = Rounds(looks=[rounds.looks[-1]]).model_dump_json(), _once(analysis)
    none, one = (0.0,) * num_arms, (effect, *(0.0,) * (num_arms - 1))
    ahead = _simulated(*designs, one)
    return RoundsAhead(
        looks=tuple(rounds.looks),
        is_anytime=analysis.sequential is not None,
        most=rounds.looks[-1] * (num_arms + 1),
        without_effect=_simulated(*designs, none).trainings,
        effect=effect,
        with_effect=ahead.trainings,
        power=ahead.found[0],
        power_at_once=_simulated(*at_once, one).found[0],
        num_studies=ahead.num_studies,
    )


def _once(analysis: Analysis) -> str:
    return analysis.model_copy(update={"sequential": None}).model_dump_json()


@functools.cache
def _simulated(rounds: str, analysis: str, effects: tuple[float, ...]) -> Simulated:
    return simulate(Rounds.model_validate_json(rounds), Analysis.model_validate_json(analysis), effects)
