"""A member of a family as sweeps see that of a plug-in, for the time of a check, and the words of what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel, ValidationError

from search_space.parsing.errors import Problem, SpecError, reason_of
from search_space.plugins.contracts import faults_of_member
from search_space.plugins.families import contributed, own_names, tell_readers

__all__ = ["as_member", "check_tried", "expect", "faults_text", "raised", "refuse_faults", "titled", "validated"]


def expect(holds: bool, name: str, sentence: str) -> None:
    """Raise AssertionError with the member and what is wrong, unless it holds."""
    if not holds:
        raise AssertionError(f"{name}: {sentence}")


@contextmanager
def raised(name: str, doing: str, *, without: Sequence[str] = ()) -> Iterator[None]:
    """Turn what the member raises into an AssertionError that says when.

    Args:
        doing: what it was asked for: "opening the split 'train'".
        without: left out of messages of archsweep: the name that the member has during the check.
    """
    try:
        yield
    except AssertionError:
        raise
    except SpecError as err:
        said = _said(err.problems)
        for text in without:
            said = said.replace(text, "")
        raise AssertionError(f"{name}: {doing}: {said}") from err
    except Exception as err:
        raise AssertionError(f"{name}: {doing} raised {type(err).__name__}: {reason_of(err)}") from err


def titled(member: Any, options: Mapping[str, Any] | None = None) -> str:
    """`Cells`, or with options `Cells(invert=True)`, for messages."""
    name = getattr(member, "__name__", None) or f"{member!r:.60}"
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in options.items())})" if options else name


def refuse_faults(family: str, member: Any, name: str) -> None:
    """Check what shows without calling it, as the loading of a plug-in does.

    Raises:
        AssertionError: it is none of the family.
    """
    faults = list(faults_of_member(family, name, member, ""))
    expect(not faults, titled(member), _said(faults).replace("PLUGINS: ", ""))


def _said(problems: Iterable[Problem]) -> str:
    return "; ".join(f"{each.message}; {each.hint}" if each.hint else each.message for each in problems)


@contextmanager
def as_member(family: str, member: Any, name: str, *, is_in_settings: bool = False) -> Iterator[None]:
    """Add the member to its family, unless it is there already, and take it back.

    Args:
        is_in_settings: let settings be validated with it, too, which takes a while.

    Raises:
        AssertionError: it is none of the family.
    """
    table = contributed(family)
    if name in own_names(family) or table.get(name) is member:
        yield  # one of ours, or of a plug-in that is loaded
        return
    refuse_faults(family, member, name)
    expect(name not in table, titled(member), f"another plug-in that is loaded has the {family} {name!r}")
    table[name] = member
    try:
        if is_in_settings:
            with raised(titled(member), "its options"):
                tell_readers()
        yield
    finally:
        del table[name]
        if is_in_settings:
            tell_readers()


def validated(spec: type[BaseModel], values: Mapping[str, Any], name: str) -> Any:
    """The spec of these options, as a sweep gives it.

    Raises:
        AssertionError: no sweep can write them.
    """
    try:
        return spec.model_validate(values)
    except ValidationError as err:
        raise AssertionError(f"{name}: no sweep can write these options: {faults_text(err)}") from err


def faults_text(err: ValidationError) -> str:
    """What pydantic found, with the places, on one line."""
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in err.errors())


def check_tried(title: str, defaults: Mapping[str, Any], options: Sequence[Mapping[str, Any]]) -> None:
    """Each option is tried with a value that is not its default.

    Args:
        defaults: option -> default.
    """
    known = ", ".join(sorted(defaults)) or "none"
    for given in options:
        unknown = sorted(given.keys() - defaults.keys())
        expect(not unknown, title, f"there is no option {', '.join(unknown)}; its options: {known}")
        same = [option for option, value in given.items() if defaults[option] == value]
        expect(not same, title, f"{', '.join(same)} has its default: give another value")
    untried = sorted(defaults.keys() - {option for given in options for option in given})
    expect(not untried, title, f"give options=[...] with other values than the default for: {', '.join(untried)}")
