"""The spec of a class, read from its constructor: names, annotations and defaults of its options.

An option is a parameter behind the first one (`self`, then what archsweep gives, such as the slot of a mechanism). Its
annotation is its type in a sweep: `bool`, `int`, `float`, `str`, `Literal`, `tuple[..., ...]`, `X | None`, and
`Annotated[..., Field(gt=0, description="...")]` for bounds and a description, which may also be in the docstring's
`Args:`.
"""

from __future__ import annotations

import inspect
import re
import textwrap
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic_core import SchemaError

from search_space.parsing.errors import Problem, SpecError, reason_of

__all__ = ["constructor_options", "spec_of"]

_Base = TypeVar("_Base", bound=BaseModel)
_ARGUMENT = re.compile(r"(\w+)(?: \([^)]*\))?:\s*(.*)")


def spec_of(
    kind: str,
    name: str,
    made: Any,
    base: type[_Base],
    *,
    where: str,
    also: dict[str, Any] | None = None,
    given: int = 1,
) -> type[_Base]:
    """Pydantic model of the options of a class or function, with the field `name`.

    Args:
        kind: the family, for messages.
        base: base class of the model.
        where: the plug-in, for messages.
        also: further fields, as `create_model` takes them, which archsweep handles itself.
        given: number of arguments that archsweep gives, behind which the options are.

    Raises:
        SpecError: an option has no annotation, one that a sweep cannot write, or a name that is taken; all of them.
    """
    fields: dict[str, Any] = dict(also or {})
    problems: list[Problem] = []
    try:
        inspect.signature(made)
        hints = typing.get_type_hints(made.__init__ if inspect.isclass(made) else made, include_extras=True)
    except (NameError, TypeError, AttributeError, ValueError) as err:
        text = f"the annotations of {kind} {name!r} cannot be read: {reason_of(err)}"
        raise SpecError(Problem(text, where=where, hint="import what they name at the top of the file")) from err
    about = _described(made)
    for option in constructor_options(made, given):
        at = f"option {option.name!r} of {kind} {name!r}"
        if option.name in ("name", *fields, *base.model_fields) or hasattr(base, option.name):
            problems.append(Problem(f"{at}: the name is archsweep's own", where=where, hint="rename it"))
        elif option.name not in hints:
            hint = f"write its type: {option.name}: float = 1.0"
            problems.append(Problem(f"{at} has no annotation", where=where, hint=hint))
        elif (fault := _fault_of(hints[option.name])) is not None:
            problems.append(
                Problem(f"{at}: {fault}", where=where, hint="bool, int, float, str, Literal, tuple or None")
            )
        else:
            default = ... if option.default is inspect.Parameter.empty else option.default
            fields[option.name] = (_with_description(hints[option.name], about.get(option.name)), default)
    if problems:
        raise SpecError(problems)
    fields = {"name": (Literal[name], name), **fields}
    try:
        title = f"{kind}_{name}".title().replace("_", "").replace("/", "")
        made_spec = create_model(f"{title}Spec", __base__=base, __module__=__name__, **fields)
        defaults = {key: each for key, each in fields.items() if each[1] is not ...}
        create_model(f"{title}Defaults", __base__=base, __module__=__name__, **defaults)()  # validates them
    except ValidationError as err:
        faults = err.errors()
        raise SpecError(
            [
                Problem(f"default of option {fault['loc'][0]!r} of {kind} {name!r}: {fault['msg']}", where=where)
                for fault in faults
            ]
        ) from err
    except (PydanticUserError, SchemaError, TypeError) as err:
        raise SpecError(Problem(f"options of {kind} {name!r}: {reason_of(err)}", where=where)) from err
    made_spec.__doc__ = (inspect.getdoc(made) or f"{kind} {name!r} of {where}").splitlines()[0]
    return made_spec


def constructor_options(made: Any, given: int = 1) -> list[inspect.Parameter]:
    """Parameters of a class or function behind the first, which are given, without `*args` and `**kwargs`."""
    parameters = list(inspect.signature(made).parameters.values())[given:]
    return [each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]


def _fault_of(annotation: Any) -> str | None:
    """Why values of this type cannot be written in a sweep; None if they can."""
    for part in _parts(annotation):
        if part in (list, set, dict):
            return f"a {part.__name__} would be changed by one trial for the next: write tuple[..., ...]"
        if part not in (bool, int, float, str, type(None), Ellipsis) and typing.get_origin(part) is not Literal:
            return f"{getattr(part, '__name__', part)} cannot be written in a sweep"
    return None


def _parts(annotation: Any) -> Iterator[Any]:
    """The types at the leaves of an annotation."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        yield from _parts(typing.get_args(annotation)[0])
    elif origin is None or origin is Literal:
        yield annotation
    elif origin in (list, set, dict):
        yield origin
    else:
        for argument in typing.get_args(annotation):
            yield from _parts(argument)


def _with_description(annotation: Any, text: str | None) -> Any:
    metadata = typing.get_args(annotation)[1:] if typing.get_origin(annotation) is Annotated else ()
    if text is None or any(isinstance(each, FieldInfo) and each.description for each in metadata):
        return annotation
    return Annotated[annotation, FieldInfo(description=text)]


def _described(made: Any) -> dict[str, str]:
    """Option -> its text in the `Args:` of the docstring."""
    docs = "\n".join(filter(None, (inspect.getdoc(made), inspect.getdoc(getattr(made, "__init__", None)))))
    found: dict[str, str] = {}
    for section in re.findall(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", docs, re.MULTILINE):
        option = ""
        for line in textwrap.dedent(section).splitlines():
            if match := _ARGUMENT.fullmatch(line):
                option, found[option] = match[1], match[2]
            elif option and line.startswith((" ", "\t")):
                found[option] += f" {line.strip()}"
    return {name: text.strip().rstrip(".") for name, text in found.items() if text.strip()}
