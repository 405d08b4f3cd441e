"""Schema of the section `design`: the designs of a sweep and their options; those of plug-ins have their own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, GetCoreSchemaHandler, Tag
from pydantic_core import CoreSchema

from search_space.plugins.families import contributed
from search_space.plugins.open_union import name_of, named
from search_space.plugins.spec_table import SpecTable
from search_space.schema.attention import OnlyWhole, Spec
from search_space.schema.parameters import MAX_VALUES

__all__ = ["COMPONENT_DESIGNS", "DESIGN_SPECS", "AnyDesign", "Design", "DesignName", "Row"]

DesignName = Literal[
    "factorial",
    "one_factor",
    "leave_one_out",
    "add_one_in",
    "cumulative",
    "shapley",
    "path",
    "fractional",
    "zip",
    "list",
    "search",
]
COMPONENT_DESIGNS = frozenset({"leave_one_out", "add_one_in", "cumulative", "shapley", "path", "fractional"})


class Row(Spec):
    """Explicit variant of the design `list`: paths and their values, with an optional label under `name`."""

    model_config = ConfigDict(extra="allow")

    name: str | None = Field(default=None, min_length=1, max_length=120, description="label of the variant")

    @property
    def changes(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


_Orders = Annotated[
    Annotated[Literal["all"], Tag("name")] | Annotated[int, Field(ge=1, le=10_000), Tag("number")],
    Discriminator(lambda value: "name" if isinstance(value, str) else "number"),
]


class Design(Spec):
    """Experimental design: how parameters become variants. `design: NAME` is short for `design: {name: NAME}`."""

    name: DesignName
    rows: tuple[Row, ...] = Field(
        default=(), max_length=MAX_VALUES, description="only for `list`: the variants, each as path -> value"
    )
    resolution: Annotated[Literal[3, 4, 5], OnlyWhole] | None = Field(
        default=None, description="only for `fractional`: the smallest fraction of at least that resolution"
    )
    generators: tuple[str, ...] = Field(
        default=(), description="only for `fractional`: `D=ABC`, where letters are the components in file order"
    )
    kind: Literal["plackett_burman"] | None = Field(default=None, description="only for `fractional`: screening design")
    orders: _Orders | None = Field(
        default=None,
        description="only for `shapley`: an even number of sampled orders of the components, or `all`: every "
        "combination; default: `all` for up to 6 components, else 20",
    )
    order_seed: Annotated[int, Field(ge=0, lt=2**31)] | None = Field(
        default=None, description="only for `shapley`: seed of the sampled orders, not of the trials; default: 0"
    )
    choosing_seeds: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="only for `path`: the first so many `seeds` choose each step, the others judge it; default: half "
        "of them, rounded down",
    )
    compare: bool | None = Field(
        default=None,
        description="only for `path`: train each component alone and all but each, too, as add_one_in and "
        "leave_one_out do; default: true",
    )

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of a plug-in's design; none of ours."""
        return {key: getattr(self, key) for key in type(self).model_fields if key not in Design.model_fields}


DESIGN_SPECS: Mapping[str, type[Design]] = SpecTable(
    "design", dict.fromkeys(get_args(DesignName), Design), Design, given=0
)
"""Design -> spec of its options: ours share one."""


class AnyDesign:
    """Annotation: ours, or the designs of plug-ins with the options of their constructors."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        added = sorted(contributed("design"))
        forms: list[Any] = [Annotated[Design, Tag("design")]]
        forms += [Annotated[DESIGN_SPECS[name], Tag(name)] for name in added]
        joined: Any = reduce(lambda one, other: one | other, forms)
        union: Any = Annotated[joined, Discriminator(_design_tag)] if added else Design
        text: Any = Literal[(*get_args(DesignName), *added)]
        return handler.generate_schema(Annotated[union, BeforeValidator(named, json_schema_input_type=text | union)])


def _design_tag(value: Any) -> str:
    name = name_of(value)
    return name if isinstance(name, str) and name in contributed("design") else "design"
