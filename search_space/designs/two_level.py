"""Matrices of two-level designs: 2^(k-p) fractions by generators, and Plackett-Burman screening designs.

Sources: generators of resolution III, IV and V as tabulated by Box, Hunter & Hunter, "Statistics for Experimenters",
         and in the NIST/SEMATECH e-Handbook of Statistical Methods, 5.3.3.4.7; first rows of Plackett & Burman, "The
         design of optimum multifactorial experiments", Biometrika 33 (1946).
Differs: factors beyond the tables (12 and more) take the next free words, shortest first; the tests check resolution
         and orthogonality of every available design.

Letters: factors are A, B, C, ... without I, which denotes the identity. A run is a tuple of +1 (on) and -1 (off), one
         sign per factor. Runs are in Yates' order (A changes fastest), those of Plackett-Burman as published.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "LETTERS",
    "MAX_PLACKETT_BURMAN",
    "Generator",
    "Runs",
    "find_generators",
    "fraction",
    "parse_generator",
    "plackett_burman",
]

LETTERS = "ABCDEFGHJKLMNOPQRSTUVWXYZ"
MAX_PLACKETT_BURMAN = 23
Runs = tuple[tuple[int, ...], ...]

# number of factors -> (resolution, generators), fewest runs first
_PUBLISHED: dict[int, tuple[tuple[int, str], ...]] = {
    3: ((3, "C=AB"),),
    4: ((4, "D=ABC"),),
    5: ((3, "D=AB E=AC"), (5, "E=ABCD")),
    6: ((3, "D=AB E=AC F=BC"), (4, "E=ABC F=BCD"), (6, "F=ABCDE")),
    7: ((3, "D=AB E=AC F=BC G=ABC"), (4, "E=ABC F=BCD G=ACD"), (4, "F=ABCD G=ABDE"), (7, "G=ABCDEF")),
    8: ((4, "E=BCD F=ACD G=ABC H=ABD"), (4, "F=ABC G=ABD H=BCDE"), (5, "G=ABCD H=ABEF")),
    9: (
        (3, "E=ABC F=BCD G=ACD H=ABD J=ABCD"),
        (4, "F=BCDE G=ACDE H=ABDE J=ABCE"),
        (4, "G=ABCD H=ACEF J=CDEF"),
        (6, "H=ACDFG J=BCEFG"),
    ),
    10: (
        (3, "E=ABC F=BCD G=ACD H=ABD J=ABCD K=AB"),
        (4, "F=ABCD G=ABCE H=ABDE J=ACDE K=BCDE"),
        (4, "G=BCDF H=ACDF J=ABDE K=ABCE"),
        (5, "H=ABCG J=BCDE K=ACDF"),
    ),
    11: (
        (3, "E=ABC F=BCD G=ACD H=ABD J=ABCD K=AB L=AC"),
        (4, "F=ABC G=BCD H=CDE J=ACD K=ADE L=BDE"),
        (4, "G=CDE H=ABCD J=ABF K=BDEF L=ADEF"),
        (5, "H=ABCG J=BCDE K=ACDF L=ABCDEFG"),
    ),
}

_FIRST_ROWS = {
    4: "++-",
    8: "+++-+--",
    12: "++-+++---+-",
    16: "++++-+-++--+---",
    20: "++--++++-+-+----++-",
    24: "+++++-+-++--++--+-+----",
}


@dataclass(frozen=True)
class Generator:
    """Generator `D=ABC` or `D=-ABC`: the column of a factor is the (negated) product of the columns of others."""

    factor: str
    word: str
    sign: int = 1

    def __str__(self) -> str:
        return f"{self.factor}={'-' if self.sign < 0 else ''}{self.word}"


def parse_generator(text: str) -> Generator | None:
    """Parse a generator; None if the text is not one."""
    found = re.fullmatch(rf"\s*([{LETTERS}])\s*=\s*([+-]?)\s*([{LETTERS}]{{2,}})\s*", text)
    if found is None or len(set(found[3])) != len(found[3]):
        return None
    return Generator(found[1], "".join(sorted(found[3])), -1 if found[2] == "-" else 1)


def find_generators(num_factors: int, resolution: int) -> tuple[Generator, ...] | None:
    """Generators of the smallest known fraction with at least that resolution (3, 4 or 5).

    None if there is no such fraction (too few factors), or none in the table (resolution 5 with more than 11).
    """
    for found, text in _PUBLISHED.get(num_factors, ()):
        if found >= resolution:
            return tuple(generator for part in text.split() if (generator := parse_generator(part)))
    if num_factors < 12 or num_factors > len(LETTERS) or resolution > 4:
        return None
    # Resolution III needs distinct words, resolution IV distinct words of odd length.
    num_basic = (num_factors - 1).bit_length() + 1 if resolution == 4 else num_factors.bit_length()
    basic = LETTERS[:num_basic]
    lengths = range(3, num_basic + 1, 2) if resolution == 4 else range(num_basic, 1, -1)
    words = ("".join(word) for length in lengths for word in itertools.combinations(basic, length))
    return tuple(Generator(factor, word) for factor, word in zip(LETTERS[num_basic:num_factors], words, strict=False))


def fraction(num_factors: int, generators: Sequence[Generator]) -> Runs:
    """Runs of the fraction that the generators define; the full factorial without generators."""
    letters = LETTERS[:num_factors]
    made = {generator.factor: generator for generator in generators}
    basic = [letter for letter in letters if letter not in made]
    runs: list[tuple[int, ...]] = []
    for number in range(2 ** len(basic)):
        signs = {letter: 1 if number >> place & 1 else -1 for place, letter in enumerate(basic)}
        for generator in generators:
            product = generator.sign
            for letter in generator.word:
                product *= signs[letter]
            signs[generator.factor] = product
        runs.append(tuple(signs[letter] for letter in letters))
    return tuple(runs)


def plackett_burman(num_factors: int) -> Runs:
    """Runs of the smallest Plackett-Burman design for 1 to 23 factors: cyclic shifts of its first run, then all off."""
    assert 1 <= num_factors <= MAX_PLACKETT_BURMAN
    num_runs = max(4, (num_factors // 4 + 1) * 4)
    first = [1 if sign == "+" else -1 for sign in _FIRST_ROWS[num_runs]]
    shifts = [first[-shift:] + first[:-shift] for shift in range(num_runs - 1)]
    return tuple(tuple(row[:num_factors]) for row in [*shifts, [-1] * (num_runs - 1)])
