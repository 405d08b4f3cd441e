"""What a member of each family must be, as far as it shows without calling it; and whose code has failed.

What takes a call to know (whether a mechanism sees other images) is in the contract tests of `archsweep.testing`.
"""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Iterator
from typing import Any

from search_space.parsing.errors import Problem, reason_of
from search_space.plugins.plugin import LOADED, Plugin

__all__ = ["faults_of_member", "member_failed", "place_in_plugin", "plugin_that_adds"]

_CLASSES = {
    "attention": "a class on archsweep.testing.TokenAttention",
    "design": "a class with the method candidates(sweep)",
    "pruner": "a class on optuna.pruners.BasePruner",
    "sampler": "a class on optuna.samplers.BaseSampler",
    "task": "a class with the attribute `spec` and the methods of runners.tasks.Task",
}
_BASES = {"pruner": "BasePruner", "sampler": "BaseSampler"}
_METHODS = {"design": ("candidates",), "task": ("build", "loss", "metrics")}
_PREFIXES = ("builtin", "coco", "folder", "glue", "hfds", "hfids", "masks", "text", "tfds", "torch", "wds")
_CALLS = {
    "dataset": ("split, data_dir", "a class or function (split, data_dir, options)", 2),
    "exporter": ("table, stream", "a function write(table, stream)", 2),
    "figure": ("evidence", "a function draw(evidence)", 1),
}


def faults_of_member(family: str, name: str, member: Any, origin: str) -> Iterator[Problem]:
    """What keeps a member from being one of its family."""
    at = f"PLUGINS: the {family} {name!r}"
    if family in _CLASSES:
        if not inspect.isclass(member):
            text = f"{at} must be {_CLASSES[family]}, but is {_kind(member)}"
            yield Problem(text, where=origin, hint="name the class itself, without ()")
            return
        base = _BASES.get(family)
        if base is not None and base not in (each.__name__ for each in member.__mro__):
            yield Problem(f"{at} must be {_CLASSES[family]}", where=origin, hint=f"class {member.__name__}({base})")
        lacking = [method for method in _METHODS.get(family, ()) if not callable(getattr(member, method, None))]
        if lacking:
            text = f"{at} has no method {' and no method '.join(lacking)}"
            yield Problem(text, where=origin, hint=f"it must be {_CLASSES[family]}")
        if family == "task":
            yield from _faults_of_task(at, name, member, origin)
    elif family == "metric":
        yield from _faults_of_metric(at, name, member, origin)
    elif family in _CALLS:
        prefix = name.partition("/")[0]
        if family == "dataset" and prefix in _PREFIXES and name != prefix:
            text = f"{at}: names below {prefix}/ are archsweep's own"
            yield Problem(text, where=origin, hint="begin it with a name of yours: my_lab/cells")
        given, meaning, count = _CALLS[family]
        if not callable(member):
            yield Problem(f"{at} must be {meaning}, but is {_kind(member)}", where=origin)
        elif not _takes(member, count):
            text = f"{at} cannot be called with ({given})"
            yield Problem(text, where=origin, hint=f"it must be {meaning}")


def _faults_of_task(at: str, name: str, member: Any, origin: str) -> Iterator[Problem]:
    spec: Any = getattr(member, "spec", None)
    bases = getattr(spec, "__mro__", ())
    if "TaskSpec" not in (each.__name__ for each in bases):
        hint = "spec = MySpec, a class on search_space.schema.tasks.image_task.ImageTaskSpec"
        yield Problem(f"{at} has no `spec`", where=origin, hint=hint)
        return
    if spec.model_fields["name"].default != name:
        yield Problem(f"{at}: its spec has another name", where=origin, hint=f'name: Literal["{name}"] = "{name}"')
    if not getattr(spec, "metrics", ()):
        hint = 'metrics: ClassVar[tuple[str, ...]] = ("mse",)'
        yield Problem(f"{at}: its spec names no metrics", where=origin, hint=hint)


def _faults_of_metric(at: str, name: str, member: Any, origin: str) -> Iterator[Problem]:
    # By its attributes: the class itself is in a room above.
    if not callable(getattr(member, "compute", None)) or not hasattr(member, "direction"):
        hint = 'PredictionMetric("name", "%", "maximize", 2, "its meaning", compute=function)'
        yield Problem(f"{at} must be a PredictionMetric, but is {_kind(member)}", where=origin, hint=hint)
    elif member.name != name:
        yield Problem(f"{at} has the name {member.name!r} itself", where=origin, hint="write one name twice")
    elif member.direction not in ("maximize", "minimize"):
        text = f"{at} has the direction {member.direction!r}"
        yield Problem(text, where=origin, hint="write 'maximize' or 'minimize'")


def _kind(member: Any) -> str:
    if inspect.isclass(member):
        return f"the class {member.__name__}"
    if inspect.isroutine(member):
        return f"the function {member.__name__}"
    return f"{member!r:.60}, an object of {type(member).__name__}"


def _takes(member: Any, count: int) -> bool:
    try:
        signature = inspect.signature(member)
    except ValueError:  # of C; nothing is known
        return True
    try:
        signature.bind_partial(*range(count))
    except TypeError:
        return False
    return True


def plugin_that_adds(family: str, name: str) -> Plugin | None:
    """The loaded plug-in that a member belongs to."""
    return next((plugin for plugin in LOADED.values() if plugin.adds(family, name)), None)


def place_in_plugin(err: BaseException) -> str:
    """`FILE:LINE` of the innermost frame that is a plug-in's; empty without one."""
    names = [name for plugin in LOADED.values() for name in plugin.sources]
    files = {getattr(sys.modules.get(name), "__file__", None) for name in names}
    frames = [frame for frame in traceback.extract_tb(err.__traceback__) if frame.filename in files]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def member_failed(family: str, name: str, err: BaseException) -> Problem:
    """An exception of a plug-in's code, for people: what was raised, where, and by whose member."""
    plugin = plugin_that_adds(family, name)
    where = place_in_plugin(err) or (plugin.origin if plugin else "")
    return Problem(f"the {family} {name!r} raised {type(err).__name__}: {reason_of(err)}", where=where)
