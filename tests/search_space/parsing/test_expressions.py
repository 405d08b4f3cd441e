"""Bounds of the evaluator behind `require` and `--filter`: no expression takes long, or much memory, whatever it says.

Their meaning is tested where they are used: test_requirements.py and test_views.py.
"""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from search_space.parsing.expressions import MAX_LENGTH, Expression, ExpressionError

BIG = 10**300
"""About the largest number that a value can have and take part in arithmetic."""
VALUES: dict[str, Any] = {
    "n": 7,
    "big": BIG,
    "huge": 10**4000,  # a number of a foreign ledger
    "x": 1.7e308,
    "inf": float("inf"),
    "nan": float("nan"),
    "text": "a" * 2**20,
    "many": tuple(range(2**16)),
    "flag": True,
    "nothing": None,
}


@contextmanager
def bounded(*, seconds: float = 5.0, mib: float = 4.0) -> Iterator[None]:
    """Refuses more time and memory. A process that computes 9 ** 9 ** 9 would need minutes and hundreds of MiB."""
    tracemalloc.start()
    begin = time.process_time()
    try:
        yield
        assert time.process_time() - begin < seconds
        assert tracemalloc.get_traced_memory()[1] < mib * 2**20
    finally:
        tracemalloc.stop()


def attempt(text: str) -> Any:
    """The value of the expression; None where it is refused or undefined, with the errors that callers expect."""
    with suppress(ExpressionError, ArithmeticError, KeyError, TypeError, ValueError):
        return Expression.parse(text, legal="").evaluate(VALUES.__getitem__)
    return None


@pytest.mark.parametrize(
    "text",
    [
        # powers, also of values
        "9 ** 9 ** 9 ** 9 > 0",
        "n ** 10 ** 9 > 0",
        "(0 - n) ** 999999999 > 0",
        "big ** big > 0",
        "huge ** huge > 0",
        "huge ** 2 > 0",
        "2 ** -(10 ** 18) > 0",
        "x ** x > 0",
        "flag ** 10 ** 18 > 0",
        "(2 ** 1000) ** (2 ** 1000) > 0",
        # products that grow with the length of the text
        " * ".join(["big"] * 40) + " > 0",
        "huge * huge * huge > 0",
        "huge % big + huge // 3 > 0",
        # repetitions and joins of text and lists, formats
        "'a' * 10 ** 9 == 'b'",
        "10 ** 9 * 'a' == 'b'",
        "text * n == 'b'",
        "[1] * 10 ** 9 == []",
        "(1, 2) * n * n == ()",
        "many * 100 == []",
        "text + text == 'b'",
        "[many, many] + [many] == []",
        "'%1000000000d' % n == 'b'",
        "('%1000000000d' % n) in text",
        "'a' - text == 3",
        # long lists, texts that nearly match
        f"n in ({','.join(['8'] * 240)})",
        f"n in [{'[' * 20}{']' * 20}, 7]",
        "'" + "a" * 400 + "b' in text",
        "many in (many, many, many)",
        "max(many) > n and min(many) == 0",
        "max(text) == 'a'",
        "len(text) == 1048576",
        # numbers that are none
        "round(inf) > 0",
        "round(nan) > 0",
        "round(huge, -15) > 0",
        "round(x, 15) > 0",
        "round(n, 10 ** 9) > 0",
        "abs(huge) > x",
        "huge / n > 0",
        # the shape of the text
        "(" * 240 + "n" + ")" * 240 + " > 0",
        "-" * 490 + "n > 0",
        "not " * 120 + "n",
        "n" + ".n" * 240 + " > 0",
        "n < " * 120 + "n",
        "n if n else " * 40 + "n",
        "max(" * 98 + "n" + ")" * 98 + " > 0",
        "[" * 248 + "]" * 248,
        "[" * 499,
        "n == (" * 80,
        "{" * 499,
        "f'" * 240,
        "\\" * 499,
        "n and " * 80 + "n",
    ],
)
def test_no_expression_takes_long_or_much_memory(text: str) -> None:
    assert len(text) <= MAX_LENGTH
    with bounded():
        attempt(text)


@pytest.mark.parametrize("text", ["n" * 10**7, "(" * 10**7, "n > 0 and " * 10**6, "9" * 10**7])
def test_a_long_text_is_refused_before_it_is_read(text: str) -> None:
    with bounded(seconds=2, mib=1), pytest.raises(ExpressionError, match="at most 500 are allowed"):
        Expression.parse(text, legal="")


def test_values_of_the_limits_are_computed() -> None:
    """The bounds refuse no expression that a sweep needs."""
    assert attempt("2 ** 511 * 2 ** 511 > 0") is True
    assert attempt("2 ** 512 * 2 ** 512 * 2 > 0") is None
    assert attempt("n ** 3 == 343 and (0 - n) ** 2 == 49 and n ** -1 < 0.2") is True
    assert attempt("round(3.14159, 2) == 3.14") is True
    assert attempt(f"n in ({','.join(map(str, range(150)))})") is True
    assert attempt("65535 in many") is True


def test_a_message_shortens_a_long_value() -> None:
    with pytest.raises(TypeError) as caught:
        Expression.parse("text * 2 == 'b'", legal="").evaluate(VALUES.__getitem__)
    assert str(caught.value) == "arithmetic needs numbers, but got 'aaaaaaaaaaaa...aaaaaaaaaaaaa'"


def test_random_expressions_are_bounded() -> None:
    """Of the whole grammar, with the values above: more than the list above."""
    draw = random.Random(0)
    names = list(VALUES)

    def make(depth: int) -> str:
        if depth == 0 or draw.random() < 0.1:
            return draw.choice([*names, str(draw.randint(0, 99)), "9" * draw.randint(1, 25), "1e300", "'a'", "true"])
        sub = [make(depth - 1) for _ in range(3)]
        return draw.choice(
            [
                f"({sub[0]} {draw.choice(['+', '-', '*', '/', '//', '%', '**', '**'])} {sub[1]})",
                f"({sub[0]} {draw.choice(['<', '==', '!=', '>=', 'in', 'not in'])} {sub[1]})",
                f"({sub[0]} {draw.choice(['and', 'or'])} {sub[1]})",
                f"({sub[0]}, {sub[1]}, {sub[2]})",
                f"({sub[0]} if {sub[1]} else {sub[2]})",
                f"{draw.choice(['max', 'min', 'round'])}({sub[0]}, {sub[1]})",
                f"{draw.choice(['abs', 'len', 'max', '-', 'not '])}({sub[0]})",
            ]
        )

    evaluated = 0
    for _ in range(1000):
        text = f"{make(draw.randint(1, 4))} == {make(2)}"
        with bounded():
            evaluated += attempt(text) is not None
    assert evaluated > 100
