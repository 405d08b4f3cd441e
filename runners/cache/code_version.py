"""Code version of a trial: a hash over the sources that its numbers depend on, and over no others.

Followed are the static imports from the training of a trial. Plug-ins (attention mechanisms, models, tasks, datasets)
count only where the trial uses them, so that an edit of Refiner does not make the trials of softmax stale. Comments,
docstrings and layout do not count; package `__init__` files are followed and do not count, because they only list.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import timm

from modelzoo.attention import ATTENTION
from results.store.records import Numerics
from runners.data.loading import data_of
from runners.data.sources import source_of
from runners.tasks import TASKS
from search_space.plugins import Plugin, loaded_plugins, plugin_of
from search_space.plugins.contracts import plugin_that_adds
from search_space.schema.task import ForeignSpec, PythonSpec
from search_space.schema.trial import Setting

__all__ = ["code_version", "modules_of", "plugins_of"]

# What a spec says is in its identity, and how records are stored changes no number: the other rooms do not count.
_ROOMS = ("modelzoo", "runners")
_ROOT = "runners.training.trial"
_FUSED = "runners.training.stacked.group"
_PLUG_INS = (
    *("modelzoo.attention", "modelzoo.models", "runners.tasks"),
    *("runners.data.images.digits", "runners.data.images.shapes", "runners.data.dense", "runners.data.detection"),
    "runners.data.images.plugin_datasets",
    *("modelzoo.text", "runners.data.text", "runners.data.images.grains", "runners.data.views"),
)


def code_version(
    setting: Setting,
    *,
    numerics: Numerics = "single",
    earlier: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> str:
    """Version of everything of archsweep that takes part in training a trial, and of the Python that reads it.

    Two hashes, `COMMON.WHOLE`: of the modules that every trial uses, and of those of this trial. Trials of different
    plug-ins have different wholes; where their common parts differ, too, they were trained by different code.

    Args:
        numerics: form of the training; what stacks models counts for `fused` only, so that no version is of both forms.
        earlier: plug-in -> sources in place of those that are loaded.
    """
    sources = {plugin.name: earlier.get(plugin.name, plugin.sources) for plugin in plugins_of(setting)}
    form = (_FUSED,) if numerics == "fused" else ()
    common, whole = _hash_of(_closure((_ROOT,))), _hash_of(_modules_of(setting, sources, form))
    if used := plugins_of(setting):
        # What a plug-in imports from elsewhere is not followed: packages are the user's to pin.
        content = "".join(f"{plugin.name}\n{_plugin_code(sources[plugin.name])}" for plugin in used)
        whole = hashlib.sha256(f"{whole}\n{content}".encode()).hexdigest()[:12]
    return f"{common}.{whole}"


def modules_of(setting: Setting) -> tuple[str, ...]:
    """Names of the modules that count."""
    return _modules_of(setting, {plugin.name: plugin.sources for plugin in plugins_of(setting)})


def _modules_of(
    setting: Setting, sources: Mapping[str, Mapping[str, str]], more: tuple[str, ...] = ()
) -> tuple[str, ...]:
    roots = {*more} | {name for name in _used_plug_ins(setting) if plugin_of(name) is None}
    for modules in sources.values():  # one may be built on a mechanism of ours
        roots |= {name for text in modules.values() for name in _imports_of(text)}
    return _closure(tuple(sorted({_ROOT, *roots})))


def plugins_of(setting: Setting) -> list[Plugin]:
    """Plug-ins from outside that take part in the training of a trial, or in what it is measured by."""
    found = {plugin.name for module in _used_plug_ins(setting) if (plugin := plugin_of(module)) is not None}
    # A member may be defined elsewhere: a class of torchvision under a name of the plug-in's.
    task = setting.task
    members = [("task", task.name), ("dataset", task.dataset.name)]
    attention: Any = setting.arch.attention
    members += [("attention", attention.name)] if attention is not None else []
    found |= {plugin.name for family, name in members if (plugin := plugin_that_adds(family, name)) is not None}
    return [plugin for plugin in loaded_plugins() if plugin.name in found or plugin.contributes.get("metric")]


def _used_plug_ins(setting: Setting) -> Iterator[str]:
    task = setting.task
    if isinstance(task, ForeignSpec):
        yield "runners.training.foreign.trial"
        for reference in (task.function, task.config_schema) if isinstance(task, PythonSpec) else ():
            if reference is not None:
                yield reference.partition(":")[0]
        return
    attention: Any = setting.arch.attention
    if attention is not None:
        yield ATTENTION[attention.name].__module__
    if timm.is_model(setting.arch.model):
        module = timm.models.model_entrypoint(setting.arch.model).__module__
        if module.split(".")[0] in _ROOMS or plugin_of(module) is not None:
            yield module
    yield TASKS[setting.task.name].__module__
    yield source_of(setting.task.dataset).load.__module__
    yield data_of(setting.task.name).load.__module__


@functools.cache
def _closure(roots: tuple[str, ...]) -> tuple[str, ...]:
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        found.add(module)
        waiting += [name for name in _imports(module) if not _is_plug_in(name) or _is_plug_in(module)]
    return tuple(sorted(name for name in found if _file_of(name).name != "__init__.py"))


def _is_plug_in(module: str) -> bool:
    return module not in _PLUG_INS[:3] and any(module == name or module.startswith(f"{name}.") for name in _PLUG_INS)


@functools.cache
def _imports(module: str) -> tuple[str, ...]:
    """Modules of ours that a module imports, at any depth of its code."""
    return _imports_of(_file_of(module).read_bytes())


def _imports_of(code: str | bytes) -> tuple[str, ...]:
    return tuple(sorted(name for name in _read(code)[0] if _exists(name)))


@functools.cache
def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a class of a module, not a module of a package
        return False


@functools.cache
def _file_of(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    assert spec is not None, module
    assert spec.origin is not None, module
    return Path(spec.origin)


@functools.cache
def _hash_of(modules: tuple[str, ...]) -> str:
    # The dump of a syntax tree depends on the version of Python.
    digest = hashlib.sha256(f"{sys.version_info[:2]}".encode())
    for module in modules:
        digest.update(f"\n{module}\n{_normalised(module)}".encode())
    return digest.hexdigest()[:12]


@functools.cache
def _normalised(module: str) -> str:
    return _without_words(_file_of(module).read_bytes())


def _plugin_code(sources: Mapping[str, str]) -> str:
    return "".join(f"{name}\n{_without_words(text)}\n" for name, text in sorted(sources.items()))


def _without_words(code: str | bytes) -> str:
    """The code without comments, docstrings and layout."""
    return _read(code)[1]


@functools.cache
def _read(code: str | bytes) -> tuple[frozenset[str], str]:
    """Names of ours that the code imports, and its syntax tree without docstrings as text."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError):  # a file of a plug-in's folder that is no module of it: its text counts
        return frozenset(), code if isinstance(code, str) else code.decode(errors="replace")
    found: set[str] = set()
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
    return frozenset(name for name in found if name.split(".")[0] in _ROOMS), ast.dump(tree)


def _statements(node: Any) -> Iterator[Any]:
    """The node and the statements in it, which imports and definitions are; `ast.walk` visits every expression, too,
    and takes most of a second for all of our modules."""
    yield node
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        for inner in getattr(node, name, ()):
            yield from _statements(inner)
