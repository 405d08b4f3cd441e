"""The task `python`: a function of a plug-in is called with its configuration and a report."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import ErrorDetails

from runners.training.foreign.report import TrainingReport
from search_space.parsing.errors import Problem, SpecError, did_you_mean, reason_of
from search_space.parsing.type_guards import is_dict, is_tuple
from search_space.plugins import loaded_plugins, plugin_of
from search_space.plugins.allowed import config_file
from search_space.schema.messages.pydantic_errors import quote
from search_space.schema.task import PythonSpec
from search_space.schema.trial import Setting, TrialSpec
from search_space.settings.broken_relation import BrokenRelation

__all__ = ["call_function", "foreign_relations", "function_relations", "member"]


def member(reference: str) -> Any:
    """What `MODULE:NAME` names in a module of a loaded plug-in.

    Raises:
        SpecError: the module is no plug-in's, which only the caller can allow, or has no such name.
    """
    module, _, name = reference.partition(":")
    if plugin_of(module) is None:
        text = f"{module!r} is no module of a loaded plug-in, and a sweep cannot load one by itself"
        known = [plugin.name for plugin in loaded_plugins()]
        file = f"{module.partition('.')[0]}.py"
        hint = (
            f"if you trust it, allow the file: --plugin {file} (in Python archsweep.load_plugin), or in {config_file()}"
        )
        raise SpecError(Problem(text, hint=hint + (f"; loaded: {', '.join(known)}" if known else "")))
    here: Any = importlib.import_module(module)
    for part in name.split("."):
        if not hasattr(here, part):
            public = [each for each in vars(here) if not each.startswith("_")]
            raise SpecError(Problem(f"{module} has no {name!r}", hint=did_you_mean(part, public)))
        here = getattr(here, part)
    return here


def foreign_relations(setting: Setting) -> list[BrokenRelation]:
    """Relations that a training of the user's own breaks; empty if it can begin, as far as can be known."""
    return list(function_relations(setting.task)) if isinstance(setting.task, PythonSpec) else []


def function_relations(task: PythonSpec) -> Iterator[BrokenRelation]:
    """What cannot be called or does not fit: the function, the schema, and `config` as the schema wants it."""
    try:
        function = member(task.function)
    except SpecError as err:
        for each in err.problems:
            yield BrokenRelation("task.function", each.message, each.hint, ("task.function",))
    else:
        if fault := _uncallable(function):
            text = f"{task.function!r} {fault}"
            yield BrokenRelation("task.function", text, "def train(config, report): ...", ("task.function",))
    if task.config_schema is None:
        return
    try:
        schema = member(task.config_schema)
    except SpecError as err:
        for each in err.problems:
            yield BrokenRelation("task.schema", each.message, each.hint, ("task.schema",))
        return
    for path, message, hint in _faults(schema, task):
        where = ".".join(["task.config", *path])
        yield BrokenRelation(where, message, hint, ("task.config", where))


def call_function(spec: TrialSpec, report: TrainingReport) -> Any:
    """What the function returns; whatever it raises passes through.

    Raises:
        SpecError: it is not there.
    """
    task = spec.task
    assert isinstance(task, PythonSpec)
    function = member(task.function)
    config: Any = as_plain(task.config)
    if task.config_schema is not None:
        config = _adapter(member(task.config_schema)).validate_python(config)
    return function(config, report)


def as_plain(value: Any) -> Any:
    """Lists instead of tuples, and mappings that a training may change."""
    if is_dict(value):
        return {key: as_plain(each) for key, each in value.items()}
    return list(map(as_plain, value)) if is_tuple(value) else copy.copy(value)


def _uncallable(function: Any) -> str:
    """Why it cannot be called with two arguments; empty if it can."""
    if not callable(function):
        return f"is a {type(function).__name__} and no function"
    try:
        inspect.signature(function).bind(None, None)
    except TypeError as err:
        return f"cannot be called as function(config, report): {reason_of(err)}"
    except ValueError:  # no signature: of C
        return ""
    return ""


def _adapter(schema: Any) -> TypeAdapter[Any]:
    return TypeAdapter(schema)


def _faults(schema: Any, task: PythonSpec) -> Iterator[tuple[list[str], str, str]]:
    """Path below `config`, message and hint of everything that the schema refuses."""
    is_model = inspect.isclass(schema) and issubclass(schema, BaseModel)
    if not (is_model or dataclasses.is_dataclass(schema)):
        yield [], f"{task.config_schema!r} is neither a dataclass nor a pydantic model", "name such a class"
        return
    config = as_plain(task.config)
    unknown = list(_unknown_keys(schema, config, []))
    for path, known in unknown:
        yield path, f"{task.config_schema} has no {path[-1]!r}", did_you_mean(path[-1], known)
    try:
        _adapter(schema).validate_python(config)
    except ValidationError as err:
        seen = [path for path, _ in unknown]
        for each in err.errors(include_url=False):
            path = [str(part) for part in each["loc"]]
            if path not in seen:
                yield path, _in_our_words(each), ""
    except PydanticUserError as err:
        yield [], f"{task.config_schema!r} cannot be read as a schema: {reason_of(err)}", ""


def _in_our_words(error: ErrorDetails) -> str:
    if error["type"] == "missing":
        return "is missing"
    text = error["msg"].removeprefix("Value error, ")
    return f"{text.replace('Input should be', 'must be', 1)}, but got {quote(error['input'])}"


def _unknown_keys(schema: Any, config: Any, prefix: list[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Keys that dataclasses and models do not have; by default both ignore them."""
    fields = _fields(schema)
    if fields is None or not is_dict(config):
        return
    for key, value in config.items():
        if key in fields:
            yield from _unknown_keys(fields[key], value, [*prefix, key])
        else:
            yield [*prefix, key], sorted(fields)


def _fields(schema: Any) -> Mapping[str, Any] | None:
    if inspect.isclass(schema) and issubclass(schema, BaseModel):
        if schema.model_config.get("extra") == "allow":
            return None
        names = {info.alias or name: info.annotation for name, info in schema.model_fields.items()}
        return names
    if dataclasses.is_dataclass(schema):
        hints = inspect.get_annotations(schema, eval_str=True) if inspect.isclass(schema) else {}
        return {each.name: hints.get(each.name, each.type) for each in dataclasses.fields(schema)}
    return None
