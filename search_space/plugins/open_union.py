"""A union of specs, chosen by a tag, that grows when a plug-in is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Discriminator, GetCoreSchemaHandler, Tag
from pydantic_core import CoreSchema

from search_space.parsing.type_guards import is_dict

__all__ = ["OpenUnion", "name_of", "named"]


def name_of(value: Any) -> Any:
    """The `name` of a spec, as written or validated; None if it has none."""
    return value.get("name") if is_dict(value) else getattr(value, "name", None)


class OpenUnion:
    """Annotation of a field: `Annotated[Base, OpenUnion(SPECS, tag)]`.

    pydantic asks for the members whenever a model is built; `loading/plugins.py` builds the models again when there
    are more.

    Args:
        specs: tag -> model.
        tag: the tag of a value; None where there is none.
        short: whether the name alone is legal. With `"any"` any text is a name (of a dataset), with `"listed"` only
            the tags are.
    """

    def __init__(
        self,
        specs: Mapping[str, type[BaseModel]],
        tag: Callable[[Any], str | None] = name_of,
        short: Literal["no", "any", "listed"] = "no",
    ) -> None:
        self.specs = specs
        self._tag = tag
        self._short = short

    def members(self) -> list[type[BaseModel]]:
        return list(self.specs.values())

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        tagged: list[Any] = [Annotated[spec, Tag(name)] for name, spec in self.specs.items()]
        union: Any = Annotated[reduce(_either, tagged), Discriminator(self._tag)]
        if self._short == "no":
            return handler.generate_schema(union)
        text: Any = str if self._short == "any" else Literal[tuple(self.specs)]
        return handler.generate_schema(Annotated[union, BeforeValidator(named, json_schema_input_type=text | union)])


def named(value: Any) -> Any:
    """The short form of a node, its name alone, as a mapping."""
    return {"name": value} if isinstance(value, str) else value


def _either(one: Any, other: Any) -> Any:
    return one | other
