"""Factory of Optuna's samplers and pruners, by name and options of a sweep file.

`median` and `MedianPruner` both name `optuna.pruners.MedianPruner`; every option is a constructor argument of the
class. An argument that is itself a pruner or a sampler (`wrapped_pruner`, `independent_sampler`) is written as a name
or as `{pruner: NAME, ...}` / `{sampler: NAME, ...}`. Plug-ins add names, and `module:Class` is a class of a module of
one that is loaded.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import math
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import optuna

from search_space import InvalidVariant
from search_space.parsing.errors import Problem, SpecError, did_you_mean, reason_of
from search_space.plugins import contributed, extended, loaded_plugins, plugin_of
from search_space.plugins.contracts import place_in_plugin
from search_space.schema.parameters import Parameter, Range

__all__ = [
    "PRUNERS",
    "SAMPLERS",
    "check_objectives",
    "check_space",
    "derived_seed",
    "make_pruner",
    "make_sampler",
    "no_traceback_of",
    "num_independent",
    "start_up_of",
]

_NEEDS_AN_OBJECT = {
    # These cannot be configured in a file; the message names an alternative.
    "GridSampler": "use `design: factorial`",
    "PartialFixedSampler": "leave the fixed parameters out of `space`",
}
_NESTED = {"wrapped_pruner": "pruner", "base_sampler": "sampler", "independent_sampler": "sampler"}


def _short_names(module: Any, suffix: str) -> dict[str, type]:
    """`TPESampler` -> `tpe`, `SuccessiveHalvingPruner` -> `successive_halving`; abstract bases are left out."""
    table = {}
    for name in module.__all__:
        cls = getattr(module, name)
        if not (inspect.isclass(cls) and name.endswith(suffix)) or name.startswith("Base") or name in _NEEDS_AN_OBJECT:
            continue
        stem = name.removesuffix(suffix)
        # CmaEs -> cma_es, but NSGAII and TPE are not split.
        table[re.sub(r"(?<=[a-z])(?=[A-Z])", "_", stem).lower()] = cls
    return table


PRUNERS: Mapping[str, type[optuna.pruners.BasePruner]] = extended("pruner", _short_names(optuna.pruners, "Pruner"))
SAMPLERS: Mapping[str, type[optuna.samplers.BaseSampler]] = extended(
    "sampler", _short_names(optuna.samplers, "Sampler")
)
_WITHOUT_RESULTS = (optuna.samplers.RandomSampler, optuna.samplers.QMCSampler, optuna.samplers.BruteForceSampler)
_START_UP = 10  # Optuna's own for TPE and GP
_BASES = {"pruner": optuna.pruners.BasePruner, "sampler": optuna.samplers.BaseSampler}


def make_pruner(name: str, options: Mapping[str, Any]) -> optuna.pruners.BasePruner:
    """Create the pruner `name`.

    Raises:
        SpecError: unknown name or option, or a value that Optuna refuses.
    """
    return _make("pruner", PRUNERS, name, options, path="prune")


def make_sampler(name: str, options: Mapping[str, Any], *, seed: int) -> optuna.samplers.BaseSampler:
    """Create the sampler `name` with this seed.

    Raises:
        SpecError: unknown name or option, or a value that Optuna refuses.
    """
    if "seed" in options:
        raise SpecError(Problem("the seed of a search is `search.seed`", path="search.seed"))
    cls = _lookup("sampler", SAMPLERS, name, path="search")
    known = inspect.signature(cls).parameters
    # Trials run in parallel: without the constant liar TPE keeps proposing the neighbourhood of a running trial.
    liar = {"constant_liar": True} if "constant_liar" in known else {}
    seeded = {**liar, **options, **({"seed": seed} if "seed" in known else {})}
    return _make("sampler", SAMPLERS, name, seeded, path="search")


def check_objectives(name: str, count: int) -> None:
    """Refuse a single-objective sampler for several objectives.

    Raises:
        SpecError: the sampler is unknown, or supports one objective only and `count` is larger.
    """
    cls = _lookup("sampler", SAMPLERS, name, path="search")
    if count > 1 and issubclass(cls, optuna.samplers.CmaEsSampler):
        message = f"{cls.__name__} optimises one objective, but there are {count}"
        raise SpecError(Problem(message, path="search.sampler", hint="for several: tpe, gp, nsgaii, nsgaiii, ..."))


def check_space(name: str, space: Mapping[str, Parameter]) -> None:
    """Refuse CMA-ES for a space that it would search like `random`.

    Raises:
        SpecError: the sampler is unknown, or adapts to ranges that every trial has, and there are none.
    """
    cls = _lookup("sampler", SAMPLERS, name, path="search")
    if issubclass(cls, optuna.samplers.CmaEsSampler) and not any(isinstance(each, Range) for each in space.values()):
        message = f"{cls.__name__} learns from ranges only, and no parameter is one: it would draw at random"
        raise SpecError(Problem(message, path="search.sampler", hint="for choices: tpe, gp, nsgaii, or random itself"))


@contextmanager
def no_traceback_of(kind: str, name: str, options: Mapping[str, Any], *, path: str) -> Iterator[None]:
    """Turn an exception of a sampler or pruner at work into a message: Optuna checks few options in constructors.

    Args:
        kind: `sampler` or `pruner`.
        path: section of the sweep with its options.

    Raises:
        SpecError: Optuna raised anything else.
    """
    try:
        with _quiet():
            yield
    except (SpecError, InvalidVariant):
        raise
    except Exception as err:
        given = f" with {', '.join(f'{key}={value!r}' for key, value in options.items())}" if options else ""
        message = f"the {kind} {name!r}{given} fails in this sweep: {type(err).__name__}: {reason_of(err)}"
        hint = f"see {'an option of it, or' if options else ''} `space`; or choose another {kind}"
        raise SpecError(Problem(message, place_in_plugin(err), path, hint.replace("  ", " "))) from err


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's warnings of experimental and ageing options, which it would repeat for every proposal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield


def start_up_of(name: str, options: Mapping[str, Any]) -> int:
    """Number of first proposals that a sampler draws at random, or that make its first two generations."""
    known = inspect.signature(_lookup("sampler", SAMPLERS, name, path="search")).parameters
    found = [0]
    for option, usual, times in (("n_startup_trials", 10, 1), ("population_size", 50, 2), ("popsize", 16, 2)):
        given = options.get(option, usual)
        if option in known:
            found.append(times * int(given) if isinstance(given, int | float) else usual)
    return max(found)


def num_independent(name: str, options: Mapping[str, Any], *, begins_cold: bool = True) -> float:
    """Number of first proposals that depend on no result: all, the random ones before a sampler learns, or one.

    Args:
        begins_cold: whether the study begins without earlier results.
    """
    cls = _lookup("sampler", SAMPLERS, name, path="search")
    if issubclass(cls, _WITHOUT_RESULTS):
        return math.inf
    if begins_cold and issubclass(cls, optuna.samplers.TPESampler | optuna.samplers.GPSampler):
        given = options.get("n_startup_trials", _START_UP)
        return given if isinstance(given, int) else _START_UP
    return 1


def derived_seed(seed: int, number: int) -> int:
    """Seed for suggestion `number`: the same in every process and after every restart."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{number}".encode()).digest()[:4], "big") % (2**31)


def _lookup(kind: str, table: Mapping[str, type], name: str, *, path: str) -> type:
    if name in contributed(kind):
        return table[name]
    if ":" in name:
        return _of_module(kind, name, path=f"{path}.{kind}")
    spellings = {cls.__name__: cls for cls in table.values()}
    # Optuna's documentation writes CMA-ES, NSGA-II, TPE: case, hyphens and underscores do not matter.
    spellings |= {short.replace("_", ""): cls for short, cls in table.items()}
    cls = spellings.get(name) or spellings.get(name.lower().replace("_", "").replace("-", ""))
    if cls is None:
        if name in _NEEDS_AN_OBJECT:
            raise SpecError(
                Problem(f"{name} cannot be written in a file", path=f"{path}.{kind}", hint=_NEEDS_AN_OBJECT[name])
            )
        raise SpecError(Problem(f"unknown {kind} {name!r}", path=f"{path}.{kind}", hint=did_you_mean(name, table)))
    return cls


def _of_module(kind: str, name: str, *, path: str) -> type:
    """The class `module:Class` of a plug-in. A sweep imports nothing: its module belongs to one that is loaded.

    Raises:
        SpecError: it does not, or has no such class.
    """
    module, _, attribute = name.partition(":")
    plugin = plugin_of(module)
    if plugin is None:
        loaded = ", ".join(sorted({each for found in loaded_plugins() for each in found.sources})) or "none"
        text = f"{name!r} would execute {module!r}, and a sweep executes nothing by itself"
        hint = (
            f"allow its file: --plugin {module.rpartition('.')[2] or 'FILE'}.py, or name its plug-in under `plugins`, "
            f"if it is installed as one\nmodules of loaded plug-ins: {loaded}."
        )
        raise SpecError(Problem(text, path=path, hint=hint))
    found = getattr(importlib.import_module(module), attribute, None)
    if not inspect.isclass(found) or not issubclass(found, _BASES[kind]):
        text = f"{module!r} of the plug-in {plugin.name!r} has no {kind} {attribute!r}"
        classes = vars(sys.modules[module])
        known = [key for key, each in classes.items() if inspect.isclass(each) and issubclass(each, _BASES[kind])]
        raise SpecError(Problem(text, path=path, hint=did_you_mean(attribute, known)))
    return found


def _make(kind: str, table: Mapping[str, type], name: str, options: Mapping[str, Any], *, path: str) -> Any:
    cls = _lookup(kind, table, name, path=path)
    parameters = inspect.signature(cls).parameters
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    known = [key for key, each in parameters.items() if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)]
    problems = [
        Problem(f"not an option of {cls.__name__}", path=f"{path}.{key}", hint=did_you_mean(key, known))
        for key in options
        if key not in known and not takes_any
    ]
    if problems:
        raise SpecError(problems)
    arguments = {key: _nested(key, value, path=path) for key, value in options.items()}
    try:
        with _quiet():
            return cls(**arguments)
    except Exception as err:
        place = place_in_plugin(err)
        if not place and not isinstance(err, TypeError | ValueError | AttributeError | ImportError):
            raise
        text = f"{cls.__name__} refuses its options: {reason_of(err)}"
        raise SpecError(Problem(text, where=place, path=path)) from err


def _nested(key: str, value: Any, *, path: str) -> Any:
    kind = _NESTED.get(key)
    if kind is None or value is None:
        return value
    inner = dict(value) if isinstance(value, Mapping) else {kind: value}
    name = inner.pop(kind, None)
    if not isinstance(name, str):
        message = f"{key} is a {kind}: write its name or {{{kind}: NAME, ...}}, not {value!r}"
        raise SpecError(Problem(message, path=f"{path}.{key}"))
    return _make(kind, PRUNERS if kind == "pruner" else SAMPLERS, name, inner, path=f"{path}.{key}")
