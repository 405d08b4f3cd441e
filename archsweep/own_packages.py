"""Pins archsweep's package names to its own folders, for this process and its children; imported for that effect.

Many a research folder has a `results` or a `runners` package, and Python finds that of the working directory first:
with `python -m`, with PYTHONPATH=., and in the workers of Ray, which puts the working directory of the driver before
everything else. So a finder for archsweep's own names only goes before `sys.path`. The order of
`sys.path` stays: our folder may be site-packages, whose other packages must not hide the user's or Python's own.

Every package may import this module, which imports the standard library only: it has to come first, and it is found
where the others are not, because nothing else is called `archsweep`.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["NAMES", "ROOT", "ROOT_VARIABLE", "FirstImport", "call", "child_command", "folder_of", "shadowed"]

NAMES = ("archsweep", "modelzoo", "results", "runners", "search_space")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
"""The folder that holds them: a checkout, or site-packages."""
ROOT_VARIABLE = "ARCHSWEEP_ROOT"
"""Environment variable that names the driver's ROOT to the workers of its private cluster and to their children."""


class FirstImport:
    """Base class without content, to stand before others: a class that is pickled by value names its bases in order, so
    that this module is imported before the module of the next base is looked for."""


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call `function` and return its result. As the target of a `multiprocessing` process, unpickled before it."""
    return function(*arguments)


def child_command(statements: str) -> list[str]:
    """The command line of a Python process that executes `statements` with our package names pinned as here."""
    # -P: a file `mlflow.py` in the working directory is not the library.
    first = "import sys; sys.path.insert(0, sys.argv[1]); import archsweep.own_packages; del sys.path[0]"
    return [sys.executable, "-P", "-c", f"{first}\n{statements}", ROOT]


def folder_of(name: str) -> str | None:
    """The folder of one of our packages; None if there is none."""
    own = _holders().get(name)
    return None if own is None else os.path.join(own, name)


def shadowed() -> list[str]:
    """The problems, one sentence for each package of ours that another one shadows, imported or found first."""
    problems = []
    for name in NAMES:
        own, found = folder_of(name), _origin_of(name)
        if own is None or found is None:
            problems.append(f"archsweep's package `{name}` is missing in {ROOT}: install archsweep again")
        elif os.path.realpath(found) != os.path.realpath(own):
            problems.append(
                f"the package `{name}` in {found} shadows archsweep's own in {own}: rename it or take it off "
                "PYTHONPATH, and start with `archsweep` or `python -m archsweep`"
            )
    return problems


def _origin_of(name: str) -> str | None:
    """The folder or file of the package that is loaded under the name, or would be."""
    module = sys.modules.get(name)
    try:
        spec = module.__spec__ if module is not None else importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    return folders[0] if folders else spec.origin


class _OwnPackages:
    """Finder on `sys.meta_path`: package -> the folder that holds it."""

    def __init__(self, holders: Mapping[str, str]) -> None:
        self.holders = holders

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        holder = self.holders.get(name)
        return None if holder is None else importlib.machinery.PathFinder.find_spec(name, [holder])


def _holders() -> dict[str, str]:
    """The folder that holds each package. They are beside one another, unless Ray has brought them to a node of a
    cluster: there each is in a folder of its own, which PYTHONPATH names."""
    roots = [os.environ.get(ROOT_VARIABLE, ""), ROOT, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    found = {}
    for name in NAMES:
        for root in filter(None, roots):
            if os.path.isfile(os.path.join(root, name, "__init__.py")):
                found[name] = os.path.abspath(root)
                break
    return found


def _pin() -> None:
    if not any(isinstance(finder, _OwnPackages) for finder in sys.meta_path):
        sys.meta_path.insert(0, _OwnPackages(_holders()))


_pin()
