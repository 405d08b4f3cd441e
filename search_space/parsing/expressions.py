"""Boolean expressions of a sweep file and of `--filter`: `params_m <= 25`, `status == 'failed'`.

An expression is parsed to a Python syntax tree, every node of which must be on the allow list below; a tree-walking
evaluator asks the caller for the value of each name. No code is compiled or executed, and time and memory are bounded:
arithmetic on text and lists is refused, because `'a' * 10 ** 9` is legal Python, and powers are limited.
"""

from __future__ import annotations

import ast
import operator
import reprlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["MAX_INTEGER", "OPERATIONS", "Expression", "ExpressionError", "MissingValueError"]

MAX_LENGTH = 500
MAX_NESTING = 30
MAX_INTEGER = 2**63
_MAX_BITS = 1024


class _Function(NamedTuple):
    apply: Callable[..., Any]
    arity: tuple[int, int]


def _bounded(apply: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def bounded(left: Any, right: Any) -> Any:
        for number in (left, right):
            if not isinstance(number, int | float):
                raise TypeError(f"arithmetic needs numbers, but got {reprlib.repr(number)}")
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


_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: _bounded(operator.add),
    ast.Sub: _bounded(operator.sub),
    ast.Mult: _bounded(operator.mul),
    ast.Div: _bounded(lambda left, right: left / right),
    ast.FloorDiv: _bounded(lambda left, right: left // right),
    ast.Mod: _bounded(operator.mod),
    ast.Pow: _bounded(_power),
}

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, container: item in container,
    ast.NotIn: lambda item, container: item not in container,
}

_FUNCTIONS: dict[str, _Function] = {
    "abs": _Function(abs, (1, 1)),
    "len": _Function(len, (1, 1)),
    "max": _Function(max, (1, 20)),
    "min": _Function(min, (1, 20)),
    "round": _Function(_round, (1, 2)),
}

OPERATIONS = (
    "numbers, 'text', true/false, + - * / // % **,\n"
    "comparisons, and/or/not, in, (lists), A if B else C, " + ", ".join(sorted(_FUNCTIONS))
)
"""Legal operands and operations besides names, for error messages."""

_TRUTHS = {"true": True, "false": False}


class ExpressionError(ValueError):
    """Invalid expression; `hint` lists what is legal."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class MissingValueError(Exception):
    """Missing value of a name, raised by `value_of`.

    `and` and `or` still return a result if another operand decides it, so that the order of operands does not matter.
    """


@dataclass(frozen=True)
class Expression:
    """Validated expression; `names` are the dotted names it refers to, in order of appearance."""

    text: str
    tree: ast.expr
    names: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, *, legal: str) -> Expression:
        """Parse and validate a boolean expression.

        Args:
            legal: Hint of error messages, lists what is legal.

        Raises:
            ExpressionError: `text` is not a legal boolean expression.
        """
        tree = _parse(text, legal)
        _check(tree, 0, legal)
        if not isinstance(tree, ast.Compare | ast.BoolOp | ast.IfExp | ast.Name | ast.Attribute) and not (
            isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not)
        ):
            raise ExpressionError("it is neither true nor false", "write a comparison, such as  params_m <= 25")
        return cls(text, tree, tuple(dict.fromkeys(_names(tree))))

    def evaluate(self, value_of: Callable[[str], Any]) -> Any:
        """Value of the expression.

        Args:
            value_of: Returns the value of a name; its exceptions are passed on.

        Raises:
            ArithmeticError, TypeError, ValueError: the expression is undefined for these values.
        """
        return _evaluate(self.tree, value_of)


def _parse(text: str, legal: str) -> ast.expr:
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"it has {len(text)} characters; at most {MAX_LENGTH} are allowed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the parser warns about odd but harmless syntax, such as `1 is 1`
            return ast.parse(text.strip(), mode="eval").body
    except SyntaxError as err:
        raise ExpressionError(f"it cannot be read: {err.msg}", legal) from None
    except (ValueError, RecursionError, MemoryError):
        raise ExpressionError("it cannot be read", legal) from None


def _check(node: ast.AST, depth: int, legal: str) -> None:
    """Refuse every syntax node that is not on the allow list."""
    if depth > MAX_NESTING:
        raise ExpressionError(f"it is nested deeper than {MAX_NESTING} levels")
    if isinstance(node, ast.Attribute):
        if _dotted(node) is None:
            raise ExpressionError("it takes an attribute of something that is not a path", legal)
        return
    if isinstance(node, ast.Call):
        _check_call(node)
        below: list[ast.AST] = list(node.args)
    elif isinstance(node, ast.BinOp):
        _refuse_unless(type(node.op) in _BINARY, node.op, legal)
        below = [node.left, node.right]
    elif isinstance(node, ast.Compare):
        for operator in node.ops:
            _refuse_unless(type(operator) in _COMPARE, operator, legal)
        below = [node.left, *node.comparators]
    elif isinstance(node, ast.Constant):
        _check_constant(node.value, legal)
        return
    else:
        known = (ast.Name, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.Tuple, ast.List)
        _refuse_unless(isinstance(node, (*known, ast.IfExp, ast.Load)), node, legal)
        below = list(ast.iter_child_nodes(node))
    for child in below:
        _check(child, depth + 1, legal)


def _refuse_unless(is_legal: bool, node: ast.AST, legal: str) -> None:
    if not is_legal:
        raise ExpressionError(
            f"it contains {_WORDS.get(type(node).__name__, type(node).__name__)}, which is not legal", legal
        )


_WORDS = {
    "Lambda": "a lambda",
    "ListComp": "a comprehension",
    "SetComp": "a comprehension",
    "DictComp": "a comprehension",
    "GeneratorExp": "a comprehension",
    "JoinedStr": "an f-string",
    "NamedExpr": "an assignment (:=)",
    "Subscript": "an index",
    "Starred": "a star",
    "Dict": "a mapping",
    "Set": "a set",
    "Await": "await",
    "Yield": "yield",
    "Is": "is",
    "IsNot": "is not",
    "BitAnd": "&",
    "BitOr": "|",
    "BitXor": "^",
    "LShift": "<<",
    "RShift": ">>",
    "MatMult": "@",
    "Invert": "~",
}


def _check_call(node: ast.Call) -> None:
    name = node.func.id if isinstance(node.func, ast.Name) else None
    if name not in _FUNCTIONS:
        shown = f"{name!r}" if name else "something that is not a function"
        raise ExpressionError(f"it calls {shown}", "known functions: " + ", ".join(sorted(_FUNCTIONS)))
    least, most = _FUNCTIONS[name].arity
    if node.keywords or not least <= len(node.args) <= most:
        counts = str(least) if least == most else f"{least} to {most}"
        raise ExpressionError(f"{name} takes {counts} plain values")


def _check_constant(value: Any, legal: str) -> None:
    if not isinstance(value, bool | int | float | str):
        raise ExpressionError(f"it contains {value!r}, which is not legal", legal)
    if isinstance(value, int | float) and not abs(value) <= MAX_INTEGER:
        raise ExpressionError("it contains a number that is too large")


def _dotted(node: ast.AST) -> str | None:
    """Dotted path of a chain of names and attributes, or None."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name | ast.Attribute):
        path = _dotted(node)
        assert path is not None, "checked before"
        if path not in _TRUTHS:
            yield path
        return
    children = node.args if isinstance(node, ast.Call) else ast.iter_child_nodes(node)
    for child in children:
        yield from _names(child)


def _evaluate(node: ast.AST, value_of: Callable[[str], Any]) -> Any:
    def value(child: ast.AST) -> Any:
        return _evaluate(child, value_of)

    match node:
        case ast.Constant():
            return node.value
        case ast.Name() | ast.Attribute():
            name = _dotted(node) or ""
            return _TRUTHS[name] if name in _TRUTHS else value_of(name)
        case ast.Tuple() | ast.List():
            return tuple(value(item) for item in node.elts)
        case ast.Call():
            assert isinstance(node.func, ast.Name)
            return _FUNCTIONS[node.func.id].apply(*(value(argument) for argument in node.args))
        case ast.BinOp():
            return _BINARY[type(node.op)](value(node.left), value(node.right))
        case ast.UnaryOp(op=ast.Not()):
            return not value(node.operand)
        case ast.UnaryOp():
            return _BINARY[ast.Mult](-1 if isinstance(node.op, ast.USub) else 1, value(node.operand))
        case ast.BoolOp():
            stop = isinstance(node.op, ast.Or)
            missing: MissingValueError | None = None
            for item in node.values:
                try:
                    if bool(value(item)) is stop:
                        return stop
                except MissingValueError as err:
                    missing = err
            if missing is not None:
                raise missing
            return not stop
        case ast.IfExp():
            return value(node.body) if value(node.test) else value(node.orelse)
        case ast.Compare():
            left = value(node.left)
            for operator, comparator in zip(node.ops, node.comparators, strict=True):
                right = value(comparator)
                if not _COMPARE[type(operator)](left, right):
                    return False
                left = right
            return True
        case _:
            raise AssertionError(f"{type(node).__name__} passed the check")
