"""Checks of sweeps whose training is the user's own: sections that need a training of archsweep, keys, placeholders."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from search_space.parsing.errors import did_you_mean
from search_space.parsing.type_guards import is_dict
from search_space.schema.metrics import COST_NAMES
from search_space.schema.sweep import Sweep
from search_space.schema.tasks.command import CommandSpec
from search_space.schema.tasks.foreign import ForeignSpec
from search_space.schema.tasks.task_spec import TaskSpec
from search_space.settings.candidates import Issue
from search_space.settings.command_relations import command_faults
from search_space.settings.naming import touched_paths
from search_space.settings.paths import MISSING, leaves, value_at
from search_space.settings.placeholders import placeholders, texts_of

__all__ = ["foreign_issues"]

_CONFIG = "task.config."
_OURS = ("match", "retune", "keep_predictions", "keep_samples")
"""Sections that need a network, a validation split or test images of archsweep."""


def foreign_issues(sweep: Sweep) -> Iterator[Issue]:
    """Issues of a sweep with the task `python` or `command`; of others, that they have no `task.config`."""
    task = sweep.baseline.task
    touched = sorted(path for path in touched_paths(sweep) if path.startswith(_CONFIG))
    if not isinstance(task, ForeignSpec):
        for path in touched:
            hint = "of the tasks `python` and `command`"
            yield Issue(_place(sweep, path), f"the task {task.name!r} has no config", hint, at_key=True)
        return
    yield from _sections(sweep, task)
    if any(path == "task.measures" or path.startswith("task.measures.") for path in touched_paths(sweep)):
        hint = "list all metrics in the baseline: a table compares by the same ones"
        yield Issue(_place(sweep, "task.measures"), "`measures` cannot differ between variants", hint, at_key=True)
    for path in touched:
        yield from _unknown_key(sweep, path)
    for name in sorted(set(TaskSpec.model_fields) & task.model_fields_set - {"name", "dataset"}):
        text = f"{name} is an option of archsweep's own training"
        yield Issue(("baseline", "task", name), text, "give such settings in `config`", at_key=True)
    if isinstance(task, CommandSpec):
        yield from _command(sweep, task)


def _sections(sweep: Sweep, task: ForeignSpec) -> Iterator[Issue]:
    for name in _OURS:
        if getattr(sweep, name):
            text = f"`{name}` needs a training of archsweep, and the task {task.name!r} is the user's own"
            yield Issue((name,), text, f"remove `{name}`", at_key=True)
    for name in ("gpu_memory", "cuda_graph"):
        if getattr(sweep.resources, name) in ("auto", True):
            text = f"`{name}: {'auto' if name == 'gpu_memory' else 'true'}` needs a training of archsweep"
            yield Issue(
                ("resources", name), text, "give gpu_memory in GiB" if name == "gpu_memory" else f"remove {name}"
            )
    if sweep.analysis.selection == "best-val":
        text = "'best-val' needs a validation split of archsweep's"
        yield Issue(("analysis", "selection"), text, "let the training return the metrics of the epoch that it chose")
    if sweep.checkpoints.keep != "none":
        text = f"the weights of the task {task.name!r} are its own"
        yield Issue(("checkpoints", "keep"), text, "let it write them into its folder, which is kept")
    if sweep.prune is not None and not sweep.prune.is_over_seeds:
        if task.epochs is None:
            hint = "write task.epochs: how often the training reports"
            yield Issue(("prune",), "pruning over epochs needs their number: nothing is pruned at the last", hint)
        if isinstance(task, CommandSpec) and task.progress is None:
            hint = "write task.progress, for example {regex: {epoch: 'epoch (\\d+)', acc: 'acc ([0-9.]+)'}}"
            yield Issue(("prune",), "pruning over epochs needs metrics while the program runs", hint)
    for index, text in enumerate(sweep.require):
        for cost in COST_NAMES:
            if cost in text:
                message = f"{cost} of the task {task.name!r} is not known before it has trained"
                yield Issue(("require", index), message, "require something of task.config")


def _unknown_key(sweep: Sweep, path: str) -> Iterator[Issue]:
    """A key that the baseline does not have is a slip: the baseline says what the training understands."""
    if value_at(sweep.baseline, path) is not MISSING:
        return
    parent, _, key = path.rpartition(".")
    owner = value_at(sweep.baseline, parent)
    known = list(owner) if is_dict(owner) else []
    hint = did_you_mean(key, known) if known else f"{parent} has no keys"
    text = f"the baseline's config has no {path.removeprefix(_CONFIG)!r}"
    yield Issue(_place(sweep, path), text, f"{hint}\nwrite its baseline value (null, if it may be none)", at_key=True)


def _place(sweep: Sweep, path: str) -> tuple[str | int, ...]:
    if path in sweep.space:
        return ("space", path)
    for index, row in enumerate(sweep.design.rows):
        if path in row.changes:
            return ("design", "rows", index, path)
    return ("space",)


def _command(sweep: Sweep, task: CommandSpec) -> Iterator[Issue]:
    yield from command_faults(sweep.baseline, task)
    yield from _unmeasured(sweep, task)
    if task.config_file is not None:
        return
    used: set[str] = set()
    for place, text in texts_of(task):
        if place[0] != "resume":  # which the first start of a trial does not see
            with contextlib.suppress(ValueError):
                used |= set(placeholders(text))
    if "config_file" not in used:
        yield from _unused(sweep, task, used)


def _unmeasured(sweep: Sweep, task: CommandSpec) -> Iterator[Issue]:
    """Metrics that no pattern finds, where nothing but patterns is read: every trial would fail, or show a gap."""
    found = {*task.results.regex, *(task.progress.regex if task.progress else ())}
    reads_files = not task.results.regex or (task.progress is not None and not task.progress.regex)
    for name in () if reads_files else task.measures:
        if name not in found:
            text = f"no pattern finds {name!r}, which is one of `measures`"
            yield Issue(("baseline", "task", "metrics", "regex"), text, f"add  {name}: '{name} ([0-9.]+)'")
    if sweep.prune is None or sweep.prune.is_over_seeds or task.progress is None or not task.progress.regex:
        return
    if sweep.metric in task.measures and sweep.metric not in task.progress.regex:
        text = f"no pattern finds {sweep.metric!r}, by which `prune` decides"
        yield Issue(("baseline", "task", "progress", "regex"), text, f"add  {sweep.metric}: PATTERN")


def _unused(sweep: Sweep, task: CommandSpec, used: set[str]) -> Iterator[Issue]:
    """Values that no placeholder passes on: the program would not see them, nor a variant's change."""

    def is_passed(name: str) -> bool:
        return any(name == each or name.startswith(f"{each}.") or each.startswith(f"{name}.") for each in used)

    for key, _ in leaves(task.config):
        if not is_passed(key):
            hint = f"write it in argv or env as {{{key}}}, or pass all by config_file: config.yaml"
            yield Issue(("baseline", "task", "config", *key.split(".")), f"no placeholder passes {key!r} on", hint)
    touched = sorted(path for path in touched_paths(sweep) if path.startswith(("arch.", "train.")))
    places = {path: _place(sweep, path) for path in touched}
    for section in ("arch", "train"):
        written = sweep.written_baseline.get(section)
        for key, _ in leaves(written) if is_dict(written) else ():
            places.setdefault(f"{section}.{key}", ("baseline", section, *key.split(".")))
    for path, place in places.items():
        if not is_passed(path):
            text = f"no placeholder passes {path!r} on, so it would change nothing"
            yield Issue(place, text, f"write it in argv or env as {{{path}}}", at_key=True)
