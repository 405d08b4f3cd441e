"""Placeholders in the arguments of a program: `{lr}`, `{train.lr}`, `{seed}`.

A placeholder is a key of `task.config`, dots leading inside of mappings; else a path of the setting; or one of the
words of `WORDS`. `{{` and `}}` are braces. Nothing is evaluated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from search_space.parsing.type_guards import is_dict, is_tuple
from search_space.schema.tasks.command import CommandSpec
from search_space.schema.trial import Setting
from search_space.settings.paths import MISSING, is_path, value_at

__all__ = ["WORDS", "filled", "placeholders", "texts_of", "value_of"]

WORDS = {
    "seed": "the trial's seed",
    "device": "the trial's device, such as cpu or cuda:0",
    "dir": "the trial's own folder",
    "trial_id": "the trial's id",
    "config_file": "the file of `config_file`",
    "python": "the Python that runs archsweep",
}
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def texts_of(task: CommandSpec) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Texts with placeholders, with their paths below `task`."""
    yield from ((("argv", index), text) for index, text in enumerate(task.argv))
    yield from ((("env", name), text) for name, text in task.env.items())
    if task.resume is not None:
        yield from ((("resume", "argv", index), text) for index, text in enumerate(task.resume.argv))


def placeholders(text: str) -> list[str]:
    """Names of the placeholders in a text.

    Raises:
        ValueError: a brace that is alone.
    """
    names: list[str] = []
    for match in _TOKEN.finditer(text):
        if match[0] in ("{", "}"):
            raise ValueError(f"the brace at position {match.start() + 1} of {text!r} is alone: write {match[0] * 2}")
        if match[1] is not None:
            names.append(match[1])
    return names


def value_of(name: str, setting: Setting, words: Mapping[str, Any]) -> Any:
    """Value of a placeholder; MISSING if there is none."""
    if name in words:
        return words[name]
    task = setting.task
    here: Any = task.config if isinstance(task, CommandSpec) else MISSING
    for key in name.split("."):
        here = here[key] if is_dict(here) and key in here else MISSING
    if here is MISSING and is_path(name) and name.split(".")[0] in ("arch", "train"):
        return value_at(setting, name)
    return here


def filled(text: str, setting: Setting, words: Mapping[str, Any]) -> str:
    """The text with the values of its placeholders; lists and mappings as JSON, null as nothing.

    Raises:
        ValueError: a placeholder without a value, or a brace that is alone.
    """
    placeholders(text)

    def value(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        found = value_of(match[1], setting, words)
        if found is MISSING:
            raise ValueError(f"the placeholder {{{match[1]}}} has no value")
        return _shown(found)

    return _TOKEN.sub(value, text)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if is_dict(value) or is_tuple(value) or (isinstance(value, Sequence) and not isinstance(value, str)):
        return json.dumps(value)
    return str(value)
