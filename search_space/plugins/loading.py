"""Loading of plug-ins: a file or folder that the caller named, an entry point, or what another process has shipped."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from archsweep.own_packages import NAMES
from search_space.parsing.errors import Problem, SpecError, did_you_mean, reason_of
from search_space.parsing.type_guards import is_mapping
from search_space.plugins.contracts import faults_of_member, plugin_that_adds
from search_space.plugins.families import FAMILIES, contributed, own_names, tell_readers
from search_space.plugins.plugin import LOADED, Plugin, SourceFinder, install, sources_digest, sources_of

__all__ = [
    "GROUP",
    "installed_names",
    "load_installed",
    "load_plugin",
    "load_shipped",
    "loaded_plugins",
    "shipped_plugins",
]

GROUP = "archsweep.plugins"
"""Entry-point group of installed plug-ins: `my_lab = "my_lab.plugins"`, a module with `PLUGINS`."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_MEMBER = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_EXAMPLE = 'PLUGINS = {"attention": {"my_attention": MyAttention}}'


def loaded_plugins() -> tuple[Plugin, ...]:
    """Plug-ins of this process, in the order of loading."""
    return tuple(LOADED.values())


def shipped_plugins() -> list[dict[str, Any]]:
    """Plain values from which `load_shipped` loads this process's plug-ins in another one."""
    return [plugin.shipped() for plugin in LOADED.values()]


def installed_names() -> list[str]:
    """Names of the installed plug-ins, loaded or not."""
    return sorted({entry.name for entry in importlib.metadata.entry_points(group=GROUP)})


def load_plugin(path: str | Path) -> Plugin:
    """Execute a plug-in file, or a folder with an `__init__.py`, and add what it gives. Named after its file.

    For callers who trust it: this runs its code.

    Raises:
        SpecError: it cannot be read or executed, or what it gives cannot be added.
    """
    place = Path(path).expanduser()
    where = str(path)
    if not place.exists():
        raise SpecError(Problem("no such file", where=where, hint="a plug-in is a .py file, or a folder of them"))
    place = place.resolve()
    if place.is_dir() and not (place / "__init__.py").is_file():
        raise SpecError(Problem("has no __init__.py", where=where, hint="name the .py file, or make it a package"))
    if place.is_file() and place.suffix != ".py":
        raise SpecError(Problem("is no Python file", where=where, hint="a plug-in is a .py file, or a folder of them"))
    name = place.stem if place.is_file() else place.name
    _check_name(name, where)
    try:
        sources, packages = sources_of(place, name)
    except (OSError, UnicodeDecodeError, SyntaxError, ValueError) as err:
        raise SpecError(Problem(f"cannot be read: {reason_of(err)}", where=where)) from err
    return _load(name, "file", str(place), name, sources, packages)


def load_installed(name: str) -> Plugin:
    """Load the plug-in of an installed package by its entry point of the group `archsweep.plugins`.

    Raises:
        SpecError: none of this name is installed, several are, it cannot be imported, or what it gives cannot be
            added.
    """
    if name in LOADED:
        return LOADED[name]
    entries = {entry.value: entry for entry in importlib.metadata.entry_points(group=GROUP, name=name)}
    where = f"entry point {name!r} of {GROUP}"
    if not entries:
        raise SpecError(Problem(f"no plug-in {name!r} is installed", hint=did_you_mean(name, installed_names())))
    if len(entries) > 1:
        raise SpecError(Problem(f"is defined {len(entries)} times: {', '.join(sorted(entries))}", where=where))
    entry = next(iter(entries.values()))
    top = entry.module.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError) as err:
        raise SpecError(Problem(f"cannot be found: {reason_of(err)}", where=where)) from err
    if spec is not None and spec.origin is None:
        hint = "its content would depend on what else is installed: give the folder an __init__.py"
        raise SpecError(Problem(f"{top!r} is a namespace package", where=where, hint=hint))
    if spec is None or spec.origin is None:
        raise SpecError(Problem(f"there is no module {top!r}", where=where, hint="install the package again"))
    file = Path(spec.origin)
    try:
        sources, packages = sources_of(file.parent if spec.submodule_search_locations else file, top)
    except (OSError, UnicodeDecodeError, SyntaxError, ValueError) as err:
        raise SpecError(Problem(f"cannot be read: {reason_of(err)}", where=where)) from err
    origin = f"{entry.dist.name} {entry.dist.version}" if entry.dist else str(file)
    return _load(name, "installed", origin, entry.module, sources, packages)


def load_shipped(shipped: Sequence[Mapping[str, Any]]) -> None:
    """Load the plug-ins of the driver in a process of a trial: what `Plugin.shipped` gave there.

    Raises:
        SpecError: another plug-in of the name is loaded here, or an installed one is not here or of other content.
    """
    for each in shipped:
        known, digest = LOADED.get(each["name"]), sources_digest(each["sources"])
        if known is None and each["kind"] == "installed":
            if each["name"] in installed_names():
                known = load_installed(each["name"])
            elif each["compiled"]:
                text = f"the plug-in {each['name']!r} ({each['origin']}) has compiled parts, which do not travel"
                raise SpecError(Problem(text, hint="install its package on every machine of the cluster"))
        if known is None:
            packages = frozenset(each["packages"])
            _load(each["name"], each["kind"], each["origin"], each["module"], each["sources"], packages)
        elif known.digest != digest:
            text = f"the plug-in {known.name!r} ({known.origin}) has other content here than where the run began"
            raise SpecError(Problem(text, hint="install the same version on every machine"))


def _check_name(name: str, where: str) -> None:
    if not _NAME.fullmatch(name):
        text = f"{name!r} cannot be the name of a plug-in"
        raise SpecError(Problem(text, where=where, hint="rename the file: letters, digits and _, a letter first"))


def _load(
    name: str,
    kind: Literal["file", "installed"],
    origin: str,
    module: str,
    sources: Mapping[str, str],
    packages: frozenset[str],
) -> Plugin:
    # By name, because it is above this room: the tables that know the names of ours, and what reads them again.
    importlib.import_module("search_space.loading.named_plugins")
    known = LOADED.get(name)
    if known is not None:
        if known.digest == sources_digest(sources):
            return known
        raise SpecError(Problem(f"a plug-in {name!r} is loaded already, from {known.origin}", where=origin))
    if kind == "file":
        _refuse_shadowing(name, origin)
        _refuse_neighbours(sources, origin)
    if kind == "file" or importlib.util.find_spec(module.partition(".")[0]) is None:
        # An installed plug-in of another machine: its package is here only if Ray has brought it.
        finder = SourceFinder(sources, packages, origin, module)
        install(finder)
    else:
        finder = None
    before = set(sys.modules)
    try:
        found = _imported(module, origin, sources, finder)
        table = _table(found, origin)
        models = _models(sources)
        if not table and not models and not _functions(found, sources):
            hint = f"end it with a table of what it adds, such as {_EXAMPLE}; models need timm's @register_model"
            raise SpecError(Problem("adds nothing", where=origin, hint=hint))
        problems = list(_problems(table, origin))
        if problems:
            raise SpecError(problems)
        added = {family: tuple(sorted(members)) for family, members in table.items() if members}
        plugin = Plugin(name, kind, origin, module, sources, packages, added | ({"model": models} if models else {}))
        _add(plugin, table)
    except BaseException:  # also Ctrl-C: nothing of a plug-in that is not loaded stays
        if finder is not None:
            sys.meta_path.remove(finder)
        for each in sources.keys() - before:
            sys.modules.pop(each, None)
        raise
    return plugin


def _add(plugin: Plugin, table: Mapping[str, Mapping[str, Any]]) -> None:
    """Enter the plug-in; takes it back where a reader of the tables refuses what it adds."""
    LOADED[plugin.name] = plugin
    for family, members in table.items():
        contributed(family).update(members)
    try:
        tell_readers()
    except BaseException:
        del LOADED[plugin.name]
        for family, members in table.items():
            for member in members:
                del contributed(family)[member]
        tell_readers()
        raise


def _refuse_shadowing(name: str, origin: str) -> None:
    """Raises SpecError where `import NAME` means something else already: the plug-in would hide it."""
    found = sys.modules.get(name)
    try:
        file = getattr(found, "__file__", None) if found else getattr(importlib.util.find_spec(name), "origin", None)
    except (ImportError, ValueError):
        file = None
    if found is None and file is None:
        return
    place = Path(origin)
    if file is not None and Path(file).resolve() in (place, place / "__init__.py"):
        return  # the folder of the file is on the path
    text = f"its name is that of the module {name!r} ({file or 'built in'})"
    raise SpecError(Problem(text, where=origin, hint="rename the file"))


def _refuse_neighbours(sources: Mapping[str, str], origin: str) -> None:
    """Raises SpecError where a file imports a file beside it, which would not be there on another machine."""
    place = Path(origin)
    if not place.is_file():
        return
    problems: list[Problem] = []
    for text in sources.values():
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError):  # before Python 3.11.4 a null byte is a ValueError
            return  # reported when it is imported
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            for top in {each.partition(".")[0] for each in names}:
                if top != place.stem and _is_beside(top, place.parent):
                    problems.append(
                        Problem(
                            f"imports {top!r}, a file beside it, which does not travel to other machines",
                            where=f"{origin}:{getattr(node, 'lineno', 1)}",
                            hint=f"put both into a folder with an __init__.py, write `from . import {top}` and give "
                            "the folder",
                        )
                    )
    if problems:
        raise SpecError(problems)


def _is_beside(top: str, folder: Path) -> bool:
    """Whether `import top` means a file of the folder, and not an installed package of the same name."""
    # Our own come first wherever Python was started (archsweep.own_packages), also beside a plug-in in a checkout.
    if top in sys.stdlib_module_names or top in NAMES:
        return False
    beside = [folder / f"{top}.py", folder / top / "__init__.py"]
    if not any(file.is_file() for file in beside):
        return False
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):  # ValueError: loaded by someone who gave it no spec
        return True
    return found is None or found.origin is None or Path(found.origin).resolve() in beside


def _imported(module: str, origin: str, sources: Mapping[str, str], finder: SourceFinder | None) -> Any:
    """The executed module.

    Raises:
        SpecError: it raised, with the line of the plug-in; or it takes the place of a model of timm.
    """
    before = _models_of_timm()
    # What it prints would stand in the JSON or the table that a verb writes.
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("always")
        try:
            found = importlib.import_module(module)
        except SpecError:
            raise
        except SyntaxError as err:
            where = f"{err.filename or origin}:{err.lineno or 1}:{err.offset or 1}"
            raise SpecError(Problem(f"is no Python: {err.msg}", where=where)) from err
        except (Exception, SystemExit) as err:
            files = finder.files() if finder is not None else _files_of(module, sources)
            frames = [frame for frame in traceback.extract_tb(err.__traceback__) if frame.filename in files]
            where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else origin
            is_part = isinstance(err, ImportError) and "no known parent package" in str(err)
            hint = "it is a part of a package: give the folder" if is_part else ""
            raise SpecError(Problem(f"raised {type(err).__name__}: {reason_of(err)}", where=where, hint=hint)) from err
    words = [str(each.message).split() for each in caught]
    again = [text for text in words if text[:1] == ["Overwriting"] and len(text) > 1]
    # A model that an attempt which was refused has left is the plug-in's own.
    overwritten = [text for text in again if text[1] not in before or before[text[1]].__module__ not in sources]
    for each, text in zip(caught, words, strict=True):
        if text not in again:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    if overwritten:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for text in overwritten:
                if text[1] in before:
                    sys.modules["timm.models"].register_model(before[text[1]])
        names = ", ".join(text[1] for text in overwritten)
        text = f"registers models that timm or another plug-in has already: {names}"
        raise SpecError(Problem(text, where=origin, hint="give them other names"))
    return found


def _table(found: Any, origin: str) -> dict[str, dict[str, Any]]:
    table = getattr(found, "PLUGINS", {})
    if not is_mapping(table) or not all(is_mapping(each) for each in table.values()):
        hint = f"write family -> name -> what it is: {_EXAMPLE}"
        raise SpecError(Problem("PLUGINS must be a mapping of mappings", where=origin, hint=hint))
    return {str(family): {str(name): member for name, member in each.items()} for family, each in table.items()}


def _problems(table: Mapping[str, Mapping[str, Any]], origin: str) -> Iterator[Problem]:
    for family, members in table.items():
        if family not in FAMILIES:
            hint = did_you_mean(family, FAMILIES)
            yield Problem(f"PLUGINS: there is no family {family!r}", where=origin, hint=hint)
            continue
        for name, member in members.items():
            if not _MEMBER.fullmatch(name):
                hint = "letters, digits and _, a letter first"
                text = f"PLUGINS: {name!r} cannot be the name of a member of {family!r}"
                yield Problem(text, where=origin, hint=hint)
            elif name in own_names(family):
                yield Problem(f"PLUGINS: archsweep has the {family} {name!r} itself", where=origin, hint="rename yours")
            elif name in contributed(family):
                other = plugin_that_adds(family, name)
                whose = other.origin if other else "another plug-in"
                yield Problem(
                    f"PLUGINS: the {family} {name!r} is that of {whose} already", where=origin, hint="rename one"
                )
            else:
                yield from faults_of_member(family, name, member, origin)


def _functions(found: Any, sources: Mapping[str, str]) -> list[str]:
    """Functions that its modules define themselves: one may be what the task `python` calls. Those of modules that are
    not imported yet are read, and no models: these would not be registered."""
    named = inspect.getmembers(found, inspect.isfunction)
    here = [name for name, value in named if value.__module__ in sources and not name.startswith("_")]
    unread = [text for module, text in sources.items() if module not in sys.modules]
    return here + [name for text in unread for name in _functions_in(text)]


def _functions_in(text: str) -> Iterator[str]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):  # reported where it is imported
        return
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        if not any("register_model" in ast.unparse(each) for each in node.decorator_list):
            yield node.name


def _files_of(module: str, sources: Mapping[str, str]) -> set[str]:
    """Files of an installed package, which has been found under this name before."""
    top = importlib.util.find_spec(module.partition(".")[0])
    folder = Path(top.origin).parent if top is not None and top.origin is not None else Path()
    places = [folder.joinpath(*name.split(".")[1:]) for name in sources]
    return {str(file) for place in places for file in (place.with_suffix(".py"), place / "__init__.py")}


def _models(sources: Mapping[str, str]) -> tuple[str, ...]:
    """Models that the modules have registered with timm."""
    return tuple(name for name, made in _models_of_timm().items() if made.__module__ in sources)


def _models_of_timm() -> dict[str, Callable[..., Any]]:
    """Registered model -> its function; empty as long as timm is not imported."""
    timm_models = sys.modules.get("timm.models")
    if timm_models is None:
        return {}
    return {name: timm_models.model_entrypoint(name) for name in timm_models.list_models()}
