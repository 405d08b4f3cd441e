"""A design from a file of the user's: its rows, its options, and what is said of a wrong one."""

from __future__ import annotations

import json
from collections import Counter

import pytest


@pytest.mark.slow
def test_a_plan_has_the_rows_of_the_design(type_, example):
    """A Latin hypercube: each of four rows beside the baseline has another value of each parameter of four."""
    example("latin.yaml")
    plan = json.loads(type_("plan", "latin.yaml", "--plugin", example("my_design.py"), "--json").stdout)
    rows = [each["changes"] for each in plan["plans"][0]["variants"]]
    assert rows[0] == {}
    assert len(rows) == 5
    for path, default in (("arch.depth", 1), ("arch.mlp_ratio", 2)):
        assert Counter(row.get(path, default) for row in rows[1:]) == {1: 1, 2: 1, 3: 1, 4: 1}


def test_wrong_options_and_names(type_, example):
    file = example("my_design.py")
    example("latin.yaml", to="option.yaml", **{"num_rows: 4": "num_rows: 4, sed: 1"})
    err = type_("check", "option.yaml", "--plugin", file, returns=2).stderr
    assert "design.sed: unknown key 'sed' in design 'latin_hypercube'" in err
    assert "known: num_rows, seed.  Did you mean 'seed'?" in err
    example("latin.yaml", to="name.yaml", **{"name: latin_hypercube": "name: latin_hypercub"})
    err = type_("check", "name.yaml", "--plugin", file, returns=2).stderr
    assert "unknown design 'latin_hypercub'" in err
    assert "Did you mean 'latin_hypercube'?" in err


def test_what_the_design_raises_names_its_line(type_, example):
    example("latin.yaml", **{"num_rows: 4": "num_rows: 0"})
    file = example("my_design.py", **{"        yield {}\n": "        yield {'arch.depth': 5 // self.num_rows}\n"})
    line = file.read_text().splitlines().index("        yield {'arch.depth': 5 // self.num_rows}") + 1
    err = type_("check", "latin.yaml", "--plugin", file, returns=2).stderr
    assert f"{file}:{line}: the design 'latin_hypercube' raised ZeroDivisionError: " in err


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{'arch.deph': 2}", "gives a row with the unknown path 'arch.deph'"),
        ("3", "gives a row that is an object of int"),
    ],
)
def test_rows_are_checked(type_, example, row, said):
    example("latin.yaml")
    file = example("my_design.py", **{"        yield {}\n": f"        yield {row}\n"})
    assert f"the design 'latin_hypercube' {said}" in type_("check", "latin.yaml", "--plugin", file, returns=2).stderr


def test_a_function_is_no_design(type_, example):
    example("latin.yaml")
    file = example("my_design.py", **{": LatinHypercube}}": ": len}}"})
    err = type_("check", "latin.yaml", "--plugin", file, returns=2).stderr
    assert (
        f"{file}: PLUGINS: the design 'latin_hypercube' must be a class with the method candidates(sweep), but is the "
        "function len\n  name the class itself, without ()\n"
    ) in err
