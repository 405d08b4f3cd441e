"""Statements that a variant must meet: `arch.embed_dim % arch.num_heads == 0`, `params_m <= 25`.

A statement is parsed to a syntax tree, every node of which must be on the list below; an evaluator of our own walks it.
Nothing is compiled or executed, and no statement can take long or much memory.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from search_space.arithmetic import BINARY, COMPARE, FUNCTIONS, MAX_INTEGER
from search_space.errors import did_you_mean
from search_space.naming import format_value
from search_space.paths import MISSING, OPEN_NODES, is_node, is_path, leaf_paths, path_hint, value_at
from search_space.specs import Setting
from search_space.sweep import Sweep

__all__ = ["COST_NAMES", "LEGAL", "Requirement", "RequirementError", "needs_cost", "unmet_requirements"]

COST_NAMES = ("gmacs", "params_m")
MAX_LENGTH = 500
MAX_NESTING = 30
LEGAL = (
    "legal are paths (arch.depth), params_m, gmacs, numbers, 'text', true/false, + - * / // % **,\n"
    "comparisons, and/or/not, in, (lists), A if B else C, " + ", ".join(sorted(FUNCTIONS))
)
_ROOTS = ("arch", "task", "train")
_TRUTHS = {"true": True, "false": False}


class RequirementError(ValueError):
    """A statement that is not one; `hint` says what is legal."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class _NotApplicableError(Exception):
    """The setting has no such path, or leaves it to the model."""


@dataclass(frozen=True)
class Requirement:
    """A statement that has been checked to be one."""

    text: str
    tree: ast.expr
    paths: tuple[str, ...]
    costs: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """The statement in `text`.

        Raises:
            RequirementError: it is none, or speaks of paths that no setting has.
        """
        tree = _parse(text)
        _check(tree, depth=0)
        if not isinstance(tree, ast.Compare | ast.BoolOp | ast.IfExp | ast.Name | ast.Attribute) and not (
            isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not)
        ):
            raise RequirementError("it is neither true nor false", "write a comparison, such as  params_m <= 25")
        names = dict.fromkeys(_names(tree))
        if not names:
            raise RequirementError("it speaks of no path and no cost", LEGAL)
        paths = tuple(name for name in names if name not in COST_NAMES)
        for path in paths:
            _check_path(path)
        return cls(text, tree, paths, tuple(name for name in names if name in COST_NAMES))

    def unmet(self, setting: Setting, cost: Mapping[str, float] | None) -> str | None:
        """Why a setting does not meet the statement; None if it does, or if the statement does not apply to it."""
        values: dict[str, Any] = {}
        try:
            holds = _evaluate(self.tree, setting, cost or {}, values)
        except _NotApplicableError:
            return None
        except (ArithmeticError, TypeError, ValueError) as err:
            return f"{self.text} cannot be worked out{_shown(values)} ({err})"
        if holds is True:
            return None
        if holds is False:
            return f"{self.text} does not hold{_shown(values)}"
        return f"{self.text} is neither true nor false, but {format_value(holds)}{_shown(values)}"


def needs_cost(sweep: Sweep) -> bool:
    """Whether some requirement speaks of `params_m` or `gmacs`."""
    return any(Requirement.parse(text).costs for text in sweep.require)


def unmet_requirements(sweep: Sweep, setting: Setting, cost: Mapping[str, float] | None) -> list[str]:
    """Reasons why a setting must not be trained; empty if it may.

    Args:
        sweep: The sweep with its `require`.
        setting: A variant's setting.
        cost: `{"params_m": ..., "gmacs": ...}`; None skips the statements about cost.
    """
    assert cost is None or set(COST_NAMES) <= set(cost), f"cost lacks one of {COST_NAMES}"
    statements = [Requirement.parse(text) for text in sweep.require]
    reasons = [statement.unmet(setting, cost) for statement in statements if cost is not None or not statement.costs]
    return [reason for reason in reasons if reason]


def _shown(values: Mapping[str, Any]) -> str:
    return ": " + ", ".join(f"{name}={format_value(value)}" for name, value in values.items()) if values else ""


def _parse(text: str) -> ast.expr:
    if len(text) > MAX_LENGTH:
        raise RequirementError(f"it has {len(text)} characters; at most {MAX_LENGTH} are allowed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the parser comments on odd but harmless statements
            return ast.parse(text.strip(), mode="eval").body
    except SyntaxError as err:
        raise RequirementError(f"it cannot be read: {err.msg}", LEGAL) from None
    except (ValueError, RecursionError, MemoryError):
        raise RequirementError("it cannot be read", LEGAL) from None


def _check(node: ast.AST, depth: int) -> None:
    """Every node must be on the list; what is not named here is refused."""
    if depth > MAX_NESTING:
        raise RequirementError(f"it is nested deeper than {MAX_NESTING} levels")
    if isinstance(node, ast.Attribute):
        if _dotted(node) is None:
            raise RequirementError("it takes an attribute of something that is no path", LEGAL)
        return
    if isinstance(node, ast.Call):
        _check_call(node)
        below: list[ast.AST] = list(node.args)
    elif isinstance(node, ast.BinOp):
        _legal(type(node.op) in BINARY, node.op)
        below = [node.left, node.right]
    elif isinstance(node, ast.Compare):
        for operator in node.ops:
            _legal(type(operator) in COMPARE, operator)
        below = [node.left, *node.comparators]
    elif isinstance(node, ast.Constant):
        _check_constant(node.value)
        return
    else:
        legal = (ast.Name, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.Tuple, ast.List)
        _legal(isinstance(node, (*legal, ast.IfExp, ast.Load)), node)
        below = list(ast.iter_child_nodes(node))
    for child in below:
        _check(child, depth + 1)


def _legal(is_legal: bool, node: ast.AST) -> None:
    if not is_legal:
        raise RequirementError(
            f"it contains {_WORDS.get(type(node).__name__, type(node).__name__)}, which is not legal", LEGAL
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
    if name not in FUNCTIONS:
        shown = f"{name!r}" if name else "something that is no function"
        raise RequirementError(f"it calls {shown}", "known functions: " + ", ".join(sorted(FUNCTIONS)))
    least, most = FUNCTIONS[name].arity
    if node.keywords or not least <= len(node.args) <= most:
        counts = str(least) if least == most else f"{least} to {most}"
        raise RequirementError(f"{name} takes {counts} plain values")


def _check_constant(value: Any) -> None:
    if not isinstance(value, bool | int | float | str):
        raise RequirementError(f"it contains {value!r}, which is not legal", LEGAL)
    if isinstance(value, int | float) and not abs(value) <= MAX_INTEGER:
        raise RequirementError("it contains a number that is too large")


def _dotted(node: ast.AST) -> str | None:
    """The path that names and attributes spell, or None."""
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


def _check_path(path: str) -> None:
    if (
        path in leaf_paths()
        or path.endswith(".blocks")
        or (is_path(path) and path not in OPEN_NODES and not is_node(path))
    ):
        return
    if is_path(path):
        raise RequirementError(
            f"{path} is a whole section, not a value",
            f"write {path}.name" if f"{path}.name" in leaf_paths() else path_hint(path),
        )
    if path.split(".")[0] in _ROOTS:
        raise RequirementError(f"{path} is no path of a setting", path_hint(path))
    near = [known for known in leaf_paths() if known.endswith("." + path)]
    hint = f"write {' or '.join(sorted(near))}" if near else did_you_mean(path, [*COST_NAMES, *_ROOTS])
    raise RequirementError(f"{path!r} is neither a path nor a cost", hint)


def _evaluate(node: ast.AST, setting: Setting, cost: Mapping[str, float], values: dict[str, Any]) -> Any:
    def value(child: ast.AST) -> Any:
        return _evaluate(child, setting, cost, values)

    match node:
        case ast.Constant():
            return node.value
        case ast.Name() | ast.Attribute():
            return _look_up(_dotted(node) or "", setting, cost, values)
        case ast.Tuple() | ast.List():
            return tuple(value(item) for item in node.elts)
        case ast.Call():
            assert isinstance(node.func, ast.Name)
            return FUNCTIONS[node.func.id].apply(*(value(argument) for argument in node.args))
        case ast.BinOp():
            return BINARY[type(node.op)](value(node.left), value(node.right))
        case ast.UnaryOp(op=ast.Not()):
            return not value(node.operand)
        case ast.UnaryOp():
            return BINARY[ast.Mult](-1 if isinstance(node.op, ast.USub) else 1, value(node.operand))
        case ast.BoolOp():
            stop = isinstance(node.op, ast.Or)
            return stop if any(bool(value(item)) is stop for item in node.values) else not stop
        case ast.IfExp():
            return value(node.body) if value(node.test) else value(node.orelse)
        case ast.Compare():
            left = value(node.left)
            for operator, comparator in zip(node.ops, node.comparators, strict=True):
                right = value(comparator)
                if not COMPARE[type(operator)](left, right):
                    return False
                left = right
            return True
    raise AssertionError(f"{type(node).__name__} passed the check")


def _look_up(name: str, setting: Setting, cost: Mapping[str, float], values: dict[str, Any]) -> Any:
    if name in _TRUTHS:
        return _TRUTHS[name]
    if name in COST_NAMES:
        values[name] = round(cost[name], 3)
        return cost[name]
    found = value_at(setting, name)
    if found is MISSING or found is None:
        raise _NotApplicableError
    if isinstance(found, BaseModel):
        found = found.model_dump()
    values[name] = found
    return found
