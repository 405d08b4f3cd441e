"""The operators and functions of requirements: numbers in, numbers out, within bounds.

Arithmetic on text and lists is refused, because `'a' * 10 ** 9` is legal Python. Powers are bounded for the same
reason.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["BINARY", "COMPARE", "FUNCTIONS", "MAX_INTEGER", "Function"]

MAX_INTEGER = 2**63
_MAX_BITS = 1024


class Function(NamedTuple):
    apply: Callable[..., Any]
    arity: tuple[int, int]


def _bounded(apply: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def bounded(left: Any, right: Any) -> Any:
        for number in (left, right):
            if not isinstance(number, int | float):
                raise TypeError(f"arithmetic needs numbers, but got {number!r}")
        result = apply(left, right)
        if isinstance(result, int) and result.bit_length() > _MAX_BITS:
            raise OverflowError("the result is too large")
        return result

    return bounded


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * abs(exponent) > _MAX_BITS:
        raise OverflowError("the power is too large")
    result = base**exponent
    if isinstance(result, complex):
        raise ValueError("a root of a negative number")
    return result


def _round(number: Any, digits: Any = None) -> Any:
    if digits is not None and not (isinstance(digits, int) and abs(digits) <= 15):
        raise ValueError("round takes at most 15 digits")
    return round(number, digits)


BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: _bounded(operator.add),
    ast.Sub: _bounded(operator.sub),
    ast.Mult: _bounded(operator.mul),
    ast.Div: _bounded(operator.truediv),
    ast.FloorDiv: _bounded(operator.floordiv),
    ast.Mod: _bounded(operator.mod),
    ast.Pow: _bounded(_power),
}

COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, container: item in container,
    ast.NotIn: lambda item, container: item not in container,
}

FUNCTIONS: dict[str, Function] = {
    "abs": Function(abs, (1, 1)),
    "len": Function(len, (1, 1)),
    "max": Function(max, (1, 20)),
    "min": Function(min, (1, 20)),
    "round": Function(_round, (1, 2)),
}
