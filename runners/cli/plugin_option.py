"""The option `--plugin FILE` of the verbs that read a sweep or write tables: the caller allows a file to run."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any

import typer

from search_space.parsing.errors import Problem, SpecError

__all__ = ["commands_are_allowed", "with_commands", "with_plugins"]

PluginFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE",
        help="Execute this plug-in: a Python file, a folder of them, or the name of an installed one. Repeatable.",
    ),
]


def with_plugins(verb: Callable[..., Any]) -> Callable[..., Any]:
    """The command with the option, whose files are loaded before it begins."""

    @functools.wraps(verb)
    def command(plugin: list[Path] | None = None, **arguments: Any) -> Any:
        _load(plugin or [])
        return verb(**arguments)

    return _with_option(command, verb, "plugin", PluginFiles, default=None)


_COMMANDS = ContextVar("commands", default=False)
AllowCommands = Annotated[
    bool, typer.Option("--allow-commands", help="Let the job start the sweep's program (task: command).")
]


def with_commands(verb: Callable[..., Any]) -> Callable[..., Any]:
    """The command with the option `--allow-commands`, which `commands_are_allowed` answers for."""

    @functools.wraps(verb)
    def command(allow_commands: bool = False, **arguments: Any) -> Any:
        _COMMANDS.set(allow_commands)
        return verb(**arguments)

    return _with_option(command, verb, "allow_commands", AllowCommands, default=False)


def commands_are_allowed() -> bool:
    """Whether the caller lets the sweep's program run."""
    return _COMMANDS.get()


def _with_option(command: Any, verb: Callable[..., Any], name: str, annotation: Any, *, default: Any) -> Any:
    """The wrapper with the signature of the verb and one option more."""
    option = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
    signature = inspect.signature(verb)
    # typer reads the annotations of the wrapper, and resolves none that are texts of another module.
    hints = typing.get_type_hints(verb, include_extras=True)
    parameters = [each.replace(annotation=hints[each.name]) for each in signature.parameters.values()]
    command.__dict__["__signature__"] = signature.replace(parameters=[*parameters, option])
    command.__annotations__ = {**hints, name: annotation}
    return command


def _load(files: list[Path]) -> None:
    if not files:
        return
    # Only now: a verb without a plug-in answers at once. The exporters refuse a plug-in that takes the name of one.
    import results.exporters  # noqa: F401
    from search_space.plugins import installed_names, load_installed, load_plugin

    installed = installed_names()
    problems: list[Problem] = []
    for file in files:
        try:
            load_installed(str(file)) if str(file) in installed and not file.exists() else load_plugin(file)
        except SpecError as err:
            problems += err.problems
    if problems:
        raise SpecError(problems)
