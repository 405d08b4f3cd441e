"""Requirements of variants: `arch.embed_dim % arch.num_heads == 0`, `params_m <= 25`.

A requirement is a boolean expression of the paths of a setting and its cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from search_space.parsing.errors import did_you_mean
from search_space.parsing.expressions import OPERATIONS, Expression, ExpressionError
from search_space.schema.metrics import COST_NAMES
from search_space.schema.sweep import Sweep
from search_space.schema.trial import Setting
from search_space.settings.naming import format_value
from search_space.settings.paths import MISSING, OPEN_NODES, is_node, is_path, leaf_paths, path_hint, value_in_effect

__all__ = ["LEGAL", "Requirement", "needs_cost", "unmet_requirements"]

LEGAL = "legal are paths (arch.depth), params_m, gmacs, " + OPERATIONS
_ROOTS = ("arch", "task", "train")


class _NotApplicableError(Exception):
    """Path that the setting does not have, or leaves to the model."""


@dataclass(frozen=True)
class Requirement:
    """Validated requirement, with the paths and costs it refers to."""

    expression: Expression
    paths: tuple[str, ...]
    costs: tuple[str, ...]

    @property
    def text(self) -> str:
        return self.expression.text

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """Parse and validate a requirement.

        Raises:
            ExpressionError: the text is not a requirement, or refers to paths that no setting has.
        """
        expression = Expression.parse(text, legal=LEGAL)
        if not expression.names:
            raise ExpressionError("it refers to no path and no cost", LEGAL)
        paths = tuple(name for name in expression.names if name not in COST_NAMES)
        for path in paths:
            _check_path(path)
        return cls(expression, paths, tuple(name for name in expression.names if name in COST_NAMES))

    def holds(self, setting: Setting, cost: Mapping[str, float] | None) -> bool:
        """Whether the requirement is true for a setting; False if it does not apply or cannot be evaluated.

        Args:
            cost: May be None if the requirement refers to no cost.
        """
        try:
            return self.expression.evaluate(lambda name: _value_of(name, setting, cost)) is True
        except (_NotApplicableError, ArithmeticError, TypeError, ValueError):
            return False

    def unmet(self, setting: Setting, cost: Mapping[str, float] | None) -> str | None:
        """Reason why a setting does not meet the requirement; None if it does, or if the requirement does not apply."""
        values: dict[str, Any] = {}

        def value_of(name: str) -> Any:
            found = _value_of(name, setting, cost)
            values[name] = round(found, 3) if name in COST_NAMES else found
            return found

        try:
            holds = self.expression.evaluate(value_of)
        except _NotApplicableError:
            return None
        except (ArithmeticError, TypeError, ValueError) as err:
            return f"{self.text} cannot be evaluated{_shown(values)} ({err})"
        if holds is True:
            return None
        if holds is False:
            return f"{self.text} does not hold{_shown(values)}"
        return f"{self.text} is neither true nor false, but {format_value(holds)}{_shown(values)}"


def needs_cost(sweep: Sweep) -> bool:
    """Whether some requirement refers to `params_m` or `gmacs`."""
    return any(Requirement.parse(text).costs for text in sweep.require)


def unmet_requirements(sweep: Sweep, setting: Setting, cost: Mapping[str, float] | None) -> list[str]:
    """Reasons why a setting does not meet the requirements of a sweep; empty if it meets all of them.

    Args:
        sweep: The sweep with its `require`.
        setting: A variant's setting.
        cost: `{"params_m": ..., "gmacs": ...}`; None skips the requirements that refer to a cost.
    """
    assert cost is None or set(COST_NAMES) <= set(cost), f"cost lacks one of {COST_NAMES}"
    statements = [Requirement.parse(text) for text in sweep.require]
    reasons = [statement.unmet(setting, cost) for statement in statements if cost is not None or not statement.costs]
    return [reason for reason in reasons if reason]


def _shown(values: Mapping[str, Any]) -> str:
    return ": " + ", ".join(f"{name}={format_value(value)}" for name, value in values.items()) if values else ""


def _check_path(path: str) -> None:
    if (
        path in leaf_paths()
        or path.endswith(".blocks")
        or (is_path(path) and path not in OPEN_NODES and not is_node(path))
    ):
        return
    if is_path(path):
        raise ExpressionError(
            f"{path} is a whole section, not a value",
            f"write {path}.name" if f"{path}.name" in leaf_paths() else path_hint(path),
        )
    if path.split(".")[0] in _ROOTS:
        raise ExpressionError(f"{path} is not a path of a setting", path_hint(path))
    near = [known for known in leaf_paths() if known.endswith("." + path)]
    hint = f"write {' or '.join(sorted(near))}" if near else did_you_mean(path, [*COST_NAMES, *_ROOTS])
    raise ExpressionError(f"{path!r} is neither a path nor a cost", hint)


def _value_of(name: str, setting: Setting, cost: Mapping[str, float] | None) -> Any:
    if cost and name in COST_NAMES:
        return cost[name]
    found = value_in_effect(setting, name)
    if found is MISSING or found is None:
        raise _NotApplicableError
    return found.model_dump() if isinstance(found, BaseModel) else found
