"""What do sequential seeds claim falsely, find, and cost?

Simulated studies, followed by the rules of `results/stats/sequential` through every look: family-wise error without an
effect for several numbers of arms and kinds of values, and power and trainings of one arm with an effect among five
without. Looks with 3, 5, 8 and 12 seeds. `--every-seed`: what looking without a plan does.

    OMP_NUM_THREADS=1 python benchmarks/sequential.py
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np

from results.plan.comparison import Analysis, Rounds
from results.stats.sequential.simulation import Simulated, follow
from results.stats.t_distributions import t_critical

LOOKS = [3, 5, 8, 12]
RULES: dict[str, tuple[Rounds, Analysis]] = {
    "fixed 12": (Rounds(looks=[12]), Analysis()),
    "obf, futility none": (Rounds(looks=LOOKS), Analysis()),
    "obf, futility 1.5 SD": (Rounds(looks=LOOKS, effect=1.5), Analysis()),
    "obf, futility strong": (Rounds(looks=LOOKS, effect=1.5, is_strong=True), Analysis()),
    "pocock, futility none": (Rounds(looks=LOOKS, spending="pocock"), Analysis()),
    "pocock, futility 1.5 SD": (Rounds(looks=LOOKS, spending="pocock", effect=1.5), Analysis()),
    "power, futility 1.5 SD": (Rounds(looks=LOOKS, spending="power", effect=1.5), Analysis()),
    "anytime, futility none": (Rounds(looks=LOOKS), Analysis(sequential="anytime")),
    "anytime, futility 1.5 SD": (Rounds(looks=LOOKS, effect=1.5), Analysis(sequential="anytime")),
}
Values = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def shared_baseline(draw: Values) -> Values:
    """Differences of arms to one baseline, all of one law."""

    def differences(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        studies, seeds, arms = shape
        values = draw(generator, (studies, seeds, arms + 1))
        return values[..., 1:] - values[..., :1]

    return differences


def unequal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Arms with standard deviations from 0.2 to 5, with a baseline of 0.2."""
    studies, seeds, arms = shape
    spreads = np.concatenate([[0.2], np.geomspace(0.2, 5, arms)])
    values = generator.standard_normal((studies, seeds, arms + 1)) * spreads
    return values[..., 1:] - values[..., :1]


KINDS: dict[str, Values] = {
    "normal values": shared_baseline(lambda generator, shape: generator.standard_normal(shape)),
    "t3 values (heavy tails)": shared_baseline(lambda generator, shape: generator.standard_t(3, shape)),
    "lognormal values (differences symmetric)": shared_baseline(
        lambda generator, shape: generator.lognormal(size=shape)
    ),
    "unequal variances": unequal,
    "skewed differences (breaks every t rule)": lambda generator, shape: (
        generator.lognormal(size=shape) - math.exp(0.5)
    ),
}


def studies_of(draw: Values, arms: int, number: int, effect: float = 0.0) -> np.ndarray:
    generator = np.random.default_rng(20_240_229)
    found = draw(generator, (number, LOOKS[-1], arms))
    found[..., 0] += effect
    return found


def errors(number: int) -> None:
    print(f"family-wise error without an effect, {number} studies (error {math.sqrt(0.05 * 0.95 / number):.4f})")
    for kind, draw in KINDS.items():
        print(f"  {kind}")
        studies = {arms: studies_of(draw, arms, number) for arms in (1, 3, 10)}
        for name, (rounds, analysis) in RULES.items():
            found = [follow(rounds, analysis, each, np.ones(arms, bool)).any_false for arms, each in studies.items()]
            print(f"    {name:26s}" + "".join(f"{share:8.4f}" for share in found), flush=True)


def power(number: int) -> None:
    print(f"one arm with an effect among five without: power and trainings of 84, {number} studies")
    print(" " * 28 + "".join(f"{f'{effect:g} SD':>16s}" for effect in (0, 1, 1.5, 3)))
    fixed = 7 * LOOKS[-1]
    for name, (rounds, analysis) in RULES.items():
        cells = []
        for effect in (0.0, 1.0, 1.5, 3.0):
            studies = studies_of(KINDS["normal values"], 6, number) / math.sqrt(2)
            studies[..., 0] += effect
            found: Simulated = follow(rounds, analysis, studies, np.array([effect == 0, *[True] * 5]))
            cells.append(f"{found.found[0]:7.3f} {100 * found.trainings / fixed:5.1f} %")
        print(f"  {name:26s}" + "".join(f"{cell:>16s}" for cell in cells), flush=True)


def unplanned(number: int) -> None:
    """A plain test at several numbers of seeds, stopping at the first claim."""
    generator = np.random.default_rng(20_240_229)
    print(f"looking without a plan: share of studies with a claim, Holm over the arms, {number} studies; 1, 5 arms")
    for name, looks in {"5": [5], "3, 5": [3, 5], "3, 5, 8, 10": [3, 5, 8, 10], "3 to 20": list(range(3, 21))}.items():
        shares = []
        for arms in (1, 5):
            values = generator.standard_normal((number, looks[-1], arms + 1))
            differences = values[..., 1:] - values[..., :1]
            claimed = np.zeros(number, bool)
            for seeds in looks:
                seen = differences[:, :seeds]
                t = np.abs(seen.mean(axis=1) / seen.std(axis=1, ddof=1) * math.sqrt(seeds))
                claimed |= t.max(axis=1) >= t_critical(0.05 / arms, seeds - 1)  # the first step of Holm's decides
            shares.append(f"{100 * claimed.mean():5.1f} %")
        print(f"  after {name:12s} seeds: {', '.join(shares)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=60_000)
    parser.add_argument("--every-seed", action="store_true", help="only what looking without a plan does")
    options = parser.parse_args()
    unplanned(options.studies)
    if not options.every_seed:
        power(options.studies)
        errors(options.studies)


if __name__ == "__main__":
    main()
