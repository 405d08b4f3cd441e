"""Parameters of a search space: a list of choices, a range (in a search), or an on/off component; values of blocks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from search_space.parsing.type_guards import is_dict
from search_space.schema.attention import Spec

__all__ = [
    "ALL_FOLDS",
    "MAX_BLOCKS",
    "MAX_VALUES",
    "Block",
    "Blocks",
    "Choice",
    "Component",
    "Conditional",
    "Number",
    "Parameter",
    "Range",
]

MAX_VALUES = 10_000
"""Values of one list; a range, or more parameters, are the way to more variants."""

MAX_BLOCKS = 1000
ALL_FOLDS = "all"
"""Every fold of the baseline's dataset as a block."""

Number = int | float


class Range(Spec):
    """Numeric range of a search; an integer range if both ends (and `step`) are integers."""

    min: Number
    max: Number
    step: Number | None = Field(default=None, gt=0, description="distance of adjacent values, counted from `min`")
    log: bool = Field(default=False, description="sample uniformly on a logarithmic scale")

    @property
    def is_whole(self) -> bool:
        return all(isinstance(number, int) for number in (self.min, self.max, self.step or 1))


def _is_choice(value: Any) -> bool:
    return is_dict(value) and set(value) <= {"value", "with", "name"} and not set(value).isdisjoint({"value", "with"})


def _as_choice(value: Any) -> Any:
    return value if isinstance(value, Choice) or _is_choice(value) else {"value": value}


class Choice(Spec):
    """Value of a parameter; `with` contains conditional parameters, which exist only for this value."""

    value: Any = Field(description="replaces the whole node at the parameter's path")
    with_: dict[str, Conditional] = Field(
        default_factory=dict, alias="with", description="path relative to the parameter -> values"
    )
    name: str | None = Field(default=None, min_length=1, max_length=60, description="label in names and tables")


class Component(Spec):
    """On/off pair of values."""

    off: Any
    on: Any
    placebo: bool = Field(
        default=False,
        description="adds a row with the parameters and the cost of `on` and without its mechanism; only where `on` "
        "sets `arch.attention`",
    )

    def value(self, on: bool) -> Any:
        return self.on if on else self.off


def _parameter_tag(value: Any) -> str | None:
    if isinstance(value, tuple | list):
        return "list"
    if isinstance(value, Range) or (is_dict(value) and not set(value).isdisjoint({"min", "max", "step", "log"})):
        return "range"
    if isinstance(value, Component) or (is_dict(value) and not set(value).isdisjoint({"on", "off"})):
        return "component"
    return None


Choices = Annotated[
    tuple[Annotated[Choice, BeforeValidator(_as_choice, json_schema_input_type=Any)], ...],
    Field(min_length=1, max_length=MAX_VALUES),
]
Conditional = Annotated[
    Annotated[Choices, Tag("list")] | Annotated[Range, Tag("range")],
    Discriminator(_parameter_tag),
]
"""Values of a conditional parameter, which belongs to a choice."""
Parameter = Annotated[
    Annotated[Choices, Tag("list")] | Annotated[Range, Tag("range")] | Annotated[Component, Tag("component")],
    Discriminator(_parameter_tag),
]
"""Values of a parameter: a list of choices, a range (in a search), or an on/off component."""

Choice.model_rebuild()


def _is_block(value: Any) -> bool:
    return is_dict(value) and "value" in value and set(value) <= {"value", "name", "also"}


def _as_block(value: Any) -> Any:
    return value if isinstance(value, Block) or _is_block(value) else {"value": value}


class Block(Spec):
    """One block of the design: a value that is laid over the baseline and every variant, with what else it needs."""

    value: Any = Field(description="replaces the whole node at the path of the blocks")
    name: str | None = Field(default=None, min_length=1, max_length=60, description="label in names and tables")
    also: dict[str, Any] = Field(
        default_factory=dict, max_length=100, description="path -> value: what else must differ in this block"
    )


def _listed(value: Any) -> Any:
    if value == ALL_FOLDS:
        raise ValueError("`all` is every fold of a dataset: write the number of `folds` of baseline.task.dataset")
    return value


Blocks = Annotated[
    tuple[Annotated[Block, BeforeValidator(_as_block, json_schema_input_type=Any)], ...],
    BeforeValidator(_listed, json_schema_input_type=Literal["all"] | tuple[Any, ...]),
    Field(min_length=2, max_length=MAX_BLOCKS),
]
"""Values of the blocks of a design."""
