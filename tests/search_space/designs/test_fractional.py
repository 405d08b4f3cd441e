"""Fractional designs against published tables: matrices, generators, resolution, aliases, orthogonality."""

from __future__ import annotations

import itertools

import pytest

from search_space import SpecError, load_sweep_text, variants
from search_space.designs.fractional import alias_structure
from search_space.designs.two_level import (
    LETTERS,
    find_generators,
    fraction,
    parse_generator,
    plackett_burman,
)

BASELINE = "name: t\nbaseline: {arch: {depth: 4, embed_dim: 40, num_heads: 4}}\n"
FOUR = "space: {arch.qkv_bias: [true, false], arch.mlp_ratio: [4, 3], train.mixup: [0, 0.2], train.lr: [1e-3, 2e-3]}\n"


def generators(text: str) -> list:
    return [parse_generator(part) for part in text.split()]


def signs(runs) -> list[str]:
    return ["".join("+" if sign > 0 else "-" for sign in run) for run in runs]


def states(runs) -> list[dict[str, bool]]:
    return [{letter: sign > 0 for letter, sign in zip(LETTERS, run, strict=False)} for run in runs]


def aliases(runs, effect: str) -> list[str]:
    found = alias_structure(states(runs)).aliases[tuple(effect)]
    return sorted("".join(alias.effect) for alias in found)


def test_half_fraction_of_four_factors_is_the_published_matrix() -> None:
    """Montgomery, Design and Analysis of Experiments, the 2^(4-1) design with D = ABC."""
    published = ["----", "+--+", "-+-+", "++--", "--++", "+-+-", "-++-", "++++"]
    assert signs(fraction(4, generators("D=ABC"))) == published
    assert signs(fraction(4, find_generators(4, 4) or ())) == published


def test_saturated_fraction_of_seven_factors_is_the_published_matrix() -> None:
    """Box, Hunter & Hunter's 2^(7-4) of resolution III: D = AB, E = AC, F = BC, G = ABC."""
    assert signs(fraction(7, find_generators(7, 3) or ())) == [
        "---+++-",
        "+----++",
        "-+--+-+",
        "++-+---",
        "--++--+",
        "+-+-+--",
        "-++--+-",
        "+++++++",
    ]


def test_negative_generator_gives_the_other_half() -> None:
    both = fraction(4, generators("D=ABC")) + fraction(4, generators("D=-ABC"))
    assert set(both) == set(itertools.product((-1, 1), repeat=4))


def test_plackett_burman_of_eleven_factors_is_the_published_matrix() -> None:
    """Plackett & Burman 1946, N = 12: the first row, each row after it shifted by one, and the row of minus signs."""
    assert signs(plackett_burman(11)) == [
        "++-+++---+-",
        "-++-+++---+",
        "+-++-+++---",
        "-+-++-+++--",
        "--+-++-+++-",
        "---+-++-+++",
        "+---+-++-++",
        "++---+-++-+",
        "+++---+-++-",
        "-+++---+-++",
        "+-+++---+-+",
        "-----------",
    ]


@pytest.mark.parametrize("num_factors", range(2, 24))
def test_plackett_burman_designs_are_orthogonal_and_of_minimal_size(num_factors: int) -> None:
    runs = plackett_burman(num_factors)
    assert len(runs) == max(4, 4 * (num_factors // 4 + 1))
    columns = list(zip(*runs, strict=True))
    assert all(sum(column) == 0 for column in columns)
    pairs = itertools.combinations(columns, 2)
    assert all(sum(a * b for a, b in zip(one, two, strict=True)) == 0 for one, two in pairs)


# Box, Hunter & Hunter; NIST/SEMATECH e-Handbook 5.3.3.4.7: factors -> {wanted resolution: (runs, resolution)}.
PUBLISHED = {
    3: {3: (4, 3)},
    4: {3: (8, 4), 4: (8, 4)},
    5: {3: (8, 3), 4: (16, 5), 5: (16, 5)},
    6: {3: (8, 3), 4: (16, 4), 5: (32, 6)},
    7: {3: (8, 3), 4: (16, 4), 5: (64, 7)},
    8: {3: (16, 4), 4: (16, 4), 5: (64, 5)},
    9: {3: (16, 3), 4: (32, 4), 5: (128, 6)},
    10: {3: (16, 3), 4: (32, 4), 5: (128, 5)},
    11: {3: (16, 3), 4: (32, 4), 5: (128, 5)},
}


def shortest_word(num_factors: int, found) -> int:
    """Resolution from the defining relation (all products of the words), a method that does not use the runs."""
    words = [frozenset(generator.word + generator.factor) for generator in found]
    lengths = []
    for count in range(1, len(words) + 1):
        for chosen in itertools.combinations(words, count):
            product: frozenset[str] = frozenset()
            for word in chosen:
                product = product ^ word
            lengths.append(len(product))
    return min(lengths)


@pytest.mark.parametrize(("num_factors", "wanted"), [(k, r) for k, table in PUBLISHED.items() for r in table])
def test_fractions_have_the_published_size_and_resolution(num_factors: int, wanted: int) -> None:
    found = find_generators(num_factors, wanted)
    assert found is not None
    runs = fraction(num_factors, found)
    assert (len(runs), shortest_word(num_factors, found)) == PUBLISHED[num_factors][wanted]
    assert alias_structure(states(runs)).resolution == PUBLISHED[num_factors][wanted][1]
    assert len(set(runs)) == len(runs)


@pytest.mark.parametrize("num_factors", range(12, 26))
@pytest.mark.parametrize("wanted", [3, 4])
def test_fractions_beyond_the_tables_keep_their_resolution_in_the_fewest_runs(num_factors: int, wanted: int) -> None:
    """N runs allow at most N - 1 factors at resolution III and N / 2 at resolution IV: both bounds are classical."""
    found = find_generators(num_factors, wanted)
    assert found is not None
    runs = fraction(num_factors, found)
    most = len(runs) - 1 if wanted == 3 else len(runs) // 2
    assert most >= num_factors > (len(runs) // 2 - 1 if wanted == 3 else len(runs) // 4)
    assert alias_structure(states(runs)).resolution == wanted


def test_aliases_of_the_half_fraction_are_the_published_ones() -> None:
    runs = fraction(4, generators("D=ABC"))
    assert aliases(runs, "A") == []
    assert [aliases(runs, pair) for pair in ("AB", "AC", "AD")] == [["CD"], ["BD"], ["BC"]]


def test_aliases_of_a_quarter_of_six_factors_are_the_published_ones() -> None:
    """Montgomery, 2^(6-2) with E = ABC, F = BCD: I = ABCE = BCDF = ADEF."""
    runs = fraction(6, generators("E=ABC F=BCD"))
    assert {pair: aliases(runs, pair) for pair in ("AB", "AC", "AD", "AE", "AF", "BD", "BF")} == {
        "AB": ["CE"],
        "AC": ["BE"],
        "AD": ["EF"],
        "AE": ["BC", "DF"],
        "AF": ["DE"],
        "BD": ["CF"],
        "BF": ["CD"],
    }


def test_aliases_of_a_quarter_of_five_factors_are_the_published_ones() -> None:
    runs = fraction(5, generators("D=AB E=AC"))
    assert {name: aliases(runs, name) for name in "ABCDE"} == {
        "A": ["BD", "CE"],
        "B": ["AD"],
        "C": ["AE"],
        "D": ["AB"],
        "E": ["AC"],
    }


def test_plackett_burman_main_effects_carry_a_third_of_every_interaction_of_two_others() -> None:
    """The known property of N = 12: weights of +1/3 or -1/3, for all 45 pairs of other factors and no other effect."""
    found = alias_structure(states(plackett_burman(11)))
    assert found.resolution == 3
    for letter in LETTERS[:11]:
        listed = found.aliases[(letter,)]
        assert len(listed) == 45
        assert all(abs(alias.weight) == pytest.approx(1 / 3) for alias in listed)
        assert all(len(alias.effect) == 2 and letter not in alias.effect for alias in listed)


def test_alias_structure_uses_factor_names() -> None:
    found = alias_structure(
        [
            {"depth": False, "width": False, "heads": True},
            {"depth": True, "width": False, "heads": False},
            {"depth": False, "width": True, "heads": False},
            {"depth": True, "width": True, "heads": True},
        ]
    )
    expected = "3 factors in 4 runs, resolution III: main effects are aliased with two-factor interactions"
    assert str(found) == expected
    assert found.lines() == [
        "depth = depth + (width x heads)",
        "width = width + (depth x heads)",
        "heads = heads + (depth x width)",
    ]
    assert found.is_orthogonal


def test_a_missing_run_destroys_orthogonality() -> None:
    """Without one of its eight runs the 2^(4-1) has no clear main effect: weights are 1/7."""
    found = alias_structure(states(fraction(4, generators("D=ABC"))[:-1]))
    assert not found.is_orthogonal
    assert found.resolution == 1
    assert {round(abs(alias.weight), 6) for alias in found.aliases[("A",)]} == {round(1 / 7, 6)}


def rows(design: str, space: str = FOUR) -> list[str]:
    return [variant.name for variant in variants(load_sweep_text(BASELINE + space + f"design: {design}\n").sweep)]


def test_variants_are_named_after_the_components_that_are_on() -> None:
    assert rows("{name: fractional, resolution: 4}") == [
        "baseline",
        "+ qkv_bias + lr",
        "+ mlp_ratio + lr",
        "+ qkv_bias + mlp_ratio",
        "+ mixup + lr",
        "+ qkv_bias + mixup",
        "+ mlp_ratio + mixup",
        "+ qkv_bias + mlp_ratio + mixup + lr",
    ]
    assert rows("{name: fractional, generators: [D=ABC]}") == rows("{name: fractional, resolution: 4}")


def test_reference_is_full_where_the_fraction_lacks_the_baseline() -> None:
    """C = AB has no run with every component off."""
    space = "space: {arch.qkv_bias: [true, false], arch.mlp_ratio: [4, 3], train.mixup: [0, 0.2]}\n"
    assert rows("{name: fractional, resolution: 3}", space) == [
        "full",
        "- qkv_bias - mlp_ratio",
        "- mlp_ratio - mixup",
        "- qkv_bias - mixup",
    ]


def test_plackett_burman_variants_have_their_components() -> None:
    text = BASELINE + FOUR + "design: {name: fractional, kind: plackett_burman}\n"
    found = list(variants(load_sweep_text(text).sweep))
    assert len(found) == 8
    assert found[0].components == {"qkv_bias": False, "mlp_ratio": False, "mixup": False, "lr": False}
    structure = alias_structure([variant.components for variant in found])
    assert structure.is_orthogonal


@pytest.mark.parametrize(
    ("design", "message", "hint"),
    [
        (
            "fractional",
            "the design 'fractional' does not state which fraction",
            "write  resolution: 3 (or 4, 5),  generators: [D=ABC]  or  kind: plackett_burman",
        ),
        (
            "{name: fractional, resolution: 3, kind: plackett_burman}",
            "`resolution` and `kind` each choose the fraction",
            "keep one of them",
        ),
        (
            "{name: fractional, resolution: 5}",
            "no fraction of resolution 5 is known for 4 components",
            "`factorial` runs every combination",
        ),
        (
            "{name: fractional, generators: [D=AXC]}",
            "'D=AXC' has unknown letters: X",
            "the letters are A qkv_bias, B mlp_ratio, C mixup, D lr",
        ),
        (
            "{name: fractional, generators: [lr=AB]}",
            "'lr=AB' is not a generator",
            "write  D=ABC  or  D=-ABC;  here A qkv_bias, B mlp_ratio, C mixup, D lr",
        ),
        (
            "{name: fractional, generators: [C=AB, D=AC]}",
            "'D=AC' uses a generated component",
            "generators multiply the others only",
        ),
        (
            "{name: fractional, generators: [C=AB, D=AB]}",
            "'D=AB' repeats a word",
            "two components would always change together",
        ),
        (
            "{name: factorial, resolution: 3}",
            "`resolution` has no effect in the design 'factorial'",
            "remove it, or write  name: fractional",
        ),
    ],
)
def test_invalid_fractions_are_refused(design: str, message: str, hint: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_sweep_text(BASELINE + FOUR + f"design: {design}\n")
    assert [(problem.message, problem.hint) for problem in caught.value.problems] == [(message, hint)]
