"""Code version of a trial: a hash over the sources that its numbers depend on, and over no others.

Followed are the static imports from the training of a trial. Plug-ins (attention mechanisms, models, tasks, datasets)
count only where the trial uses them, so that an edit of Refiner does not make the trials of softmax stale. Comments,
docstrings and layout do not count; package `__init__` files are followed and do not count, because they only list.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import timm

from modelzoo.attention import ATTENTION
from results.plan.stored import Numerics
from runners.cache.code_parts import ROOMS, code_part, remember_code_parts
from runners.data.loading import data_of
from runners.data.sources import source_of
from runners.tasks import TASKS
from search_space.plugins import Plugin, loaded_plugins, plugin_of
from search_space.plugins.contracts import plugin_that_adds
from search_space.schema.task import ForeignSpec, PythonSpec
from search_space.schema.trial import Setting

__all__ = ["code_version", "modules_of", "plugins_of"]

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
    remember_code_parts()
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
        if module.split(".")[0] in ROOMS or plugin_of(module) is not None:
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
    return _imports_of(_content_of(module))


def _imports_of(code: str | bytes) -> tuple[str, ...]:
    return tuple(sorted(name for name in code_part(code).names if _exists(name)))


@functools.cache
def _content_of(module: str) -> bytes:
    return _file_of(module).read_bytes()


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
    digest = hashlib.sha256()
    for module in modules:
        digest.update(f"\n{module}\n{code_part(_content_of(module)).digest}".encode())
    return digest.hexdigest()[:12]


def _plugin_code(sources: Mapping[str, str]) -> str:
    return "".join(f"{name}\n{code_part(text).digest}\n" for name, text in sorted(sources.items()))
