"""Fractional factorial design: a subset of all combinations of on/off components, for many components in few variants.

    design: {name: fractional, resolution: 4}                 the smallest 2^(k-p) fraction of at least that resolution
    design: {name: fractional, generators: [D=ABC]}           this fraction; A, B, C, D are the components in file order
    design: {name: fractional, kind: plackett_burman}         screening: n components in the next multiple of 4 runs

`alias_structure` computes from the runs which effects are aliased.
"""

from __future__ import annotations

from collections.abc import Iterator

from search_space.designs.aliasing import AliasStructure, alias_structure
from search_space.designs.components import component_candidate, component_issues, components_of
from search_space.designs.two_level import (
    LETTERS,
    MAX_PLACKETT_BURMAN,
    Generator,
    Runs,
    find_generators,
    fraction,
    parse_generator,
    plackett_burman,
)
from search_space.schema.sweep import Sweep
from search_space.settings.candidates import CandidateRow, Issue

__all__ = ["AliasStructure", "Fractional", "alias_structure"]

_FORMS = "write  resolution: 3 (or 4, 5),  generators: [D=ABC]  or  kind: plackett_burman"
_MAX_RUNS = 4096


class Fractional:
    """Design `fractional`: the runs of the fraction, in standard order after the reference.

    The reference is the run with every component off (`baseline`) if it is in the fraction, else the one with every
    component on (`full`), else the first run. A run outside of the fraction would not contribute to any effect.
    """

    def issues(self, sweep: Sweep) -> Iterator[Issue]:
        yield from component_issues(sweep)
        design, num = sweep.design, len(sweep.space)
        given = [name for name in ("resolution", "generators", "kind") if getattr(design, name)]
        if len(given) > 1:
            message = f"{' and '.join(f'`{name}`' for name in given)} each choose the fraction"
            yield Issue(("design", given[1]), message, "keep one of them", at_key=True)
        elif not given:
            yield Issue(("design",), "the design 'fractional' does not state which fraction", _FORMS)
        elif design.kind and num > MAX_PLACKETT_BURMAN:
            message = (
                f"Plackett-Burman designs are known here for {MAX_PLACKETT_BURMAN} components, but `space` has {num}"
            )
            yield Issue(("design", "kind"), message)
        elif design.generators:
            yield from _generator_issues(sweep)
        elif design.resolution and num and find_generators(num, design.resolution) is None:
            message = f"no fraction of resolution {design.resolution} is known for {num} components"
            few = "`factorial` runs every combination" if num < 6 else "choose a lower resolution, or give `generators`"
            yield Issue(("design", "resolution"), message, few)

    def candidates(self, sweep: Sweep) -> Iterator[CandidateRow]:
        names = tuple(components_of(sweep))
        runs = list(_runs(sweep))
        off, on = (-1,) * len(names), (1,) * len(names)
        reference = off if off in runs else on if on in runs else runs[0]
        runs.remove(reference)
        shown = -1 if reference == on else 1
        for run in (reference, *runs):
            states = {name: sign > 0 for name, sign in zip(names, run, strict=True)}
            word = "+" if shown > 0 else "-"
            listed = " ".join(f"{word} {name}" for name, sign in zip(names, run, strict=True) if sign == shown)
            yield component_candidate(sweep, states, listed or ("baseline" if shown > 0 else "full"))

    def count(self, sweep: Sweep) -> int:
        return len(_runs(sweep))


def _runs(sweep: Sweep) -> Runs:
    design, num = sweep.design, len(sweep.space)
    if design.kind == "plackett_burman":
        return plackett_burman(num)
    if design.generators:
        return fraction(num, [parsed for text in design.generators if (parsed := parse_generator(text))])
    assert design.resolution, "checked before"
    found = find_generators(num, design.resolution)
    assert found is not None, "checked before"
    return fraction(num, found)


def _generator_issues(sweep: Sweep) -> Iterator[Issue]:
    num = len(sweep.space)
    letters = LETTERS[:num]
    if num > len(LETTERS):
        message = f"a fraction has at most {len(LETTERS)} components, but `space` has {num}"
        yield Issue(("design", "generators"), message)
        return
    legend = ", ".join(f"{letter} {name}" for letter, name in zip(letters, components_of(sweep), strict=True))
    parsed: list[Generator] = []
    for index, text in enumerate(sweep.design.generators):
        place = ("design", "generators", index)
        generator = parse_generator(text)
        if generator is None:
            yield Issue(place, f"{text!r} is not a generator", f"write  D=ABC  or  D=-ABC;  here {legend}")
            continue
        unknown = sorted(set(generator.factor + generator.word) - set(letters))
        if unknown:
            yield Issue(place, f"{text!r} has unknown letters: {', '.join(unknown)}", f"the letters are {legend}")
            continue
        parsed.append(generator)
    if len(parsed) < len(sweep.design.generators):
        return
    made = [generator.factor for generator in parsed]
    for index, generator in enumerate(parsed):
        place, text = ("design", "generators", index), sweep.design.generators[index]
        if generator.factor in made[:index]:
            yield Issue(place, f"{generator.factor} is generated twice")
        elif any(letter in made for letter in generator.word):
            yield Issue(place, f"{text!r} uses a generated component", "generators multiply the others only")
        elif any(generator.word == other.word for other in parsed[:index]):
            yield Issue(place, f"{text!r} repeats a word", "two components would always change together")
    if num - len(made) > _MAX_RUNS.bit_length() - 1:
        yield Issue(("design", "generators"), f"the fraction has 2^{num - len(made)} runs", "add generators")
