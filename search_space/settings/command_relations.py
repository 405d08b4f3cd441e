"""What a task `command` cannot mean: placeholders of nothing, results that no metric has, options without effect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from search_space.parsing.errors import did_you_mean
from search_space.schema.metrics import COST_NAMES
from search_space.schema.task import CommandSpec
from search_space.schema.tasks.command import ProgressSpec, ResultSpec
from search_space.schema.trial import Setting
from search_space.settings.broken_relation import BrokenRelation
from search_space.settings.candidates import Issue
from search_space.settings.paths import MISSING, leaves
from search_space.settings.placeholders import WORDS, placeholders, texts_of, value_of

__all__ = ["command_faults", "command_relations"]


_TASK = ("baseline", "task")


def command_relations(setting: Setting) -> Iterator[BrokenRelation]:
    """The faults of `command_faults` by dotted paths: those of a value that a variant has."""
    if not isinstance(setting.task, CommandSpec):
        return
    for fault in command_faults(setting, setting.task):
        path = f"task.{fault.path[len(_TASK)]}"
        yield BrokenRelation(path, fault.message, fault.hint, (path, "task.config"))


def command_faults(setting: Setting, task: CommandSpec) -> Iterator[Issue]:
    """What is wrong with the setting of a program, whatever the sweep varies; at the places of a baseline."""
    for key in sorted(set(WORDS) & set(task.config)):
        text = f"{key!r} is a word of archsweep's own: {WORDS[key]}"
        yield Issue((*_TASK, "config", key), text, "rename the key", at_key=True)
    for name in task.env:
        if not name or "=" in name:
            yield Issue((*_TASK, "env", name), f"no environment variable can be named {name!r}", at_key=True)
    yield from _placeholders(setting, task)
    yield from _results(task.results, task)
    if task.progress is not None:
        yield from _progress(task.progress, task)


def _placeholders(setting: Setting, task: CommandSpec) -> Iterator[Issue]:
    words: dict[str, Any] = dict.fromkeys(WORDS, "")
    for place, text in texts_of(task):
        try:
            names = placeholders(text)
        except ValueError as err:
            yield Issue((*_TASK, *place), str(err))
            continue
        for name in names:
            if value_of(name, setting, words) is MISSING:
                hint = did_you_mean(name, {*dict(leaves(task.config)), *WORDS})
                yield Issue((*_TASK, *place), f"the placeholder {{{name}}} names no key of config", hint)
            elif name == "config_file" and task.config_file is None:
                yield Issue((*_TASK, *place), "there is no config_file", "write config_file: config.yaml")


def _results(results: ResultSpec, task: CommandSpec) -> Iterator[Issue]:
    yield from _names("metrics", results, task, set())
    if results.row == "best" and results.csv is None:
        yield Issue((*_TASK, "metrics", "row"), "`row` chooses a row of `csv`, and would have no effect", "remove it")


def _progress(progress: ProgressSpec, task: CommandSpec) -> Iterator[Issue]:
    yield from _names("progress", progress, task, {"epoch"})
    if progress.first_epoch == 0 and progress.regex and "epoch" not in progress.regex:
        text = "no pattern finds the number of an epoch, so first_epoch would have no effect"
        yield Issue((*_TASK, "progress", "first_epoch"), text, "add a pattern `epoch`, or remove it")
    if task.resume is not None and progress.regex and "epoch" not in progress.regex:
        text = "no pattern finds the number of an epoch, so a program that continues would be counted from 1 again"
        yield Issue((*_TASK, "progress", "regex"), text, "add one, such as  epoch: 'epoch (\\d+)'")


def _names(section: str, given: ResultSpec | ProgressSpec, task: CommandSpec, further: set[str]) -> Iterator[Issue]:
    """A name that is asked for and not declared is a slip: it would be a number without unit and direction."""
    if given.regex and given.rename:
        text = "`rename` is for the keys of a file, and would have no effect"
        yield Issue((*_TASK, section, "rename"), text, "the keys of `regex` are the metrics")
    known = {*task.measures, *COST_NAMES, *further}
    for option in ("regex", "rename"):
        for name in getattr(given, option):
            if name not in known:
                text = f"{name!r} is no metric of `measures`"
                yield Issue((*_TASK, section, option, name), text, did_you_mean(name, known), at_key=True)
