"""Resolution and alias structure of a two-level design.

Computed from the runs instead of the generators, so that it also holds for Plackett-Burman designs with their partial
aliasing and for a design of which some runs are missing.

An effect is a tuple of factor names: `("a",)` is a main effect, `("a", "b")` an interaction. An effect is aliased with
another one with weight w if a change of 1 in the other shifts its estimate by w; with +1 or -1 the two cannot be
separated.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Alias", "AliasStructure", "Effect", "alias_structure"]

Effect = tuple[str, ...]
_LONGEST_WORD = 8
_MAX_WORDS = 200_000


@dataclass(frozen=True)
class Alias:
    """Aliased effect with its weight in an estimate."""

    effect: Effect
    weight: float


@dataclass(frozen=True)
class AliasStructure:
    """Aliases among main effects and two-factor interactions.

    Attributes:
        resolution: Length of the shortest word of the defining relation. 1: a main effect is aliased with the mean;
            2: main effects with each other; 3: main effects with two-factor interactions; 4: two-factor interactions
            with each other; 5: neither. None if no word of up to 8 factors was found (full factorials).
        aliases: Effect -> its aliased effects, strongest first; empty for effects without aliases.
    """

    factors: tuple[str, ...]
    num_runs: int
    resolution: int | None
    aliases: dict[Effect, tuple[Alias, ...]]

    @property
    def is_orthogonal(self) -> bool:
        """Whether every main effect is estimated independently of the mean and of the other main effects."""
        return self.resolution is None or self.resolution >= 3

    def lines(self) -> list[str]:
        """Readable aliases of the main effects, one line each: `depth = depth + 0.33 (width x heads)`."""
        return [
            f"{name} = {name}{''.join(_term(alias) for alias in self.aliases[(name,)])}"
            for name in self.factors
            if self.aliases[(name,)]
        ]

    def __str__(self) -> str:
        size = f"{len(self.factors)} factors in {self.num_runs} runs"
        if self.resolution is None:
            return f"{size}, no aliases"
        return f"{size}, resolution {_ROMAN[self.resolution]}: {_MEANING[min(self.resolution, 5)]}"


_ROMAN = {1: "I", 2: "II", 3: "III", 4: "IV", 5: "V", 6: "VI", 7: "VII", 8: "VIII"}
_MEANING = {
    1: "some main effect is aliased with the mean",
    2: "some main effects are aliased with each other",
    3: "main effects are aliased with two-factor interactions",
    4: "main effects are clear of two-factor interactions, which are aliased with each other",
    5: "main effects and two-factor interactions are clear of each other",
}


def alias_structure(runs: Sequence[Mapping[str, bool]]) -> AliasStructure:
    """Resolution and aliases of a set of runs, each a mapping factor -> on (as `Variant.components`)."""
    factors = tuple(runs[0]) if runs else ()
    # A column of the design matrix is an integer with one bit per run, so a product of columns is an exclusive or.
    columns = {name: sum(1 << place for place, run in enumerate(runs) if not run[name]) for name in factors}
    effects: list[Effect] = [*((name,) for name in factors), *itertools.combinations(factors, 2)]
    contrasts = {effect: _product(columns, effect) for effect in effects}
    aliases = {
        effect: tuple(
            sorted(
                (
                    Alias(other, weight)
                    for other in effects
                    if other != effect and (weight := _mean(contrasts[effect] ^ contrasts[other], len(runs)))
                ),
                key=lambda alias: (-abs(alias.weight), len(alias.effect)),
            )
        )
        for effect in effects
    }
    return AliasStructure(factors, len(runs), _resolution(columns, len(runs)), aliases)


def _product(columns: Mapping[str, int], effect: Effect) -> int:
    product = 0
    for name in effect:
        product ^= columns[name]
    return product


def _mean(contrast: int, num_runs: int) -> float:
    """Mean of a contrast column of +1 (bit 0) and -1 (bit 1)."""
    return (num_runs - 2 * contrast.bit_count()) / num_runs


def _resolution(columns: Mapping[str, int], num_runs: int) -> int | None:
    looked_at = 0
    for length in range(1, min(len(columns), _LONGEST_WORD) + 1):
        for word in itertools.combinations(columns, length):
            if _mean(_product(columns, word), num_runs):
                return length
            looked_at += 1
            if looked_at > _MAX_WORDS:
                return None
    return None


def _term(alias: Alias) -> str:
    size = "" if abs(alias.weight) == 1 else f"{abs(alias.weight):.2g} "
    name = " x ".join(alias.effect)
    return f" {'+' if alias.weight > 0 else '-'} {size}{f'({name})' if len(alias.effect) > 1 else name}"
