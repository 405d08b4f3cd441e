"""The option `--plugin FILE` of the verbs that read a sweep or write tables: the caller allows a file to run."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from search_space.parsing.errors import Problem, SpecError
from search_space.plugins import load_plugin

__all__ = ["with_plugins"]

PluginFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin", metavar="FILE", help="Execute this plug-in: a Python file, or a folder of them. Repeatable."
    ),
]


def with_plugins(verb: Callable[..., Any]) -> Callable[..., Any]:
    """The command with the option, whose files are loaded before it begins."""

    @functools.wraps(verb)
    def command(plugin: list[Path] | None = None, **arguments: Any) -> Any:
        _load(plugin or [])
        return verb(**arguments)

    option = inspect.Parameter("plugin", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=PluginFiles)
    signature = inspect.signature(verb)
    # typer reads the annotations of the wrapper, and resolves none that are texts of another module.
    hints = typing.get_type_hints(verb, include_extras=True)
    parameters = [each.replace(annotation=hints[each.name]) for each in signature.parameters.values()]
    command.__dict__["__signature__"] = signature.replace(parameters=[*parameters, option])
    command.__annotations__ = {**hints, "plugin": PluginFiles}
    return command


def _load(files: list[Path]) -> None:
    problems: list[Problem] = []
    for file in files:
        try:
            load_plugin(file)
        except SpecError as err:
            problems += err.problems
    if problems:
        raise SpecError(problems)
