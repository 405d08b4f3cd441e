"""`archsweep new KIND NAME`: a plug-in in one file, and a test of it that passes as it is."""

from __future__ import annotations

import importlib
import importlib.machinery
import keyword
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from search_space import Problem, SpecError
from search_space.parsing.errors import did_you_mean
from search_space.plugins.families import FAMILIES, own_names

__all__ = ["new"]

_USES = {
    "attention": "arch.attention: NAME in a sweep",
    "dataset": "task.dataset: {name: NAME, in_chans: 1} and resources.data_dir in a sweep",
    "design": "design: NAME in a sweep",
    "exporter": "",
    "figure": "",
    "metric": "metric: NAME in a sweep",
    "model": "arch.model: NAME in a sweep",
    "pruner": "prune: {pruner: NAME} in a sweep",
    "sampler": "design: search and search: {sampler: NAME, num_trials: 20} in a sweep",
    "task": "task: {name: NAME} in a sweep",
}
"""Kind -> what a sweep writes beside `plugins`; empty where no sweep names it."""
_TABLES = {
    "exporter": "results.exporters",
    "figure": "results.figures",
    "pruner": "runners.search.optuna_factory",
    "sampler": "runners.search.optuna_factory",
}
"""Kind -> the module that knows archsweep's own names, where that is not the one of sweeps."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TEMPLATES = Path(__file__).parent / "templates"


def new(
    kind: Annotated[str, typer.Argument(help="What the plug-in adds.", metavar="|".join(_USES))],
    name: Annotated[str, typer.Argument(help="Its name in a sweep, and of its file: letters, digits and _.")],
) -> None:
    """Write NAME.py, a commented plug-in to be changed, and test_NAME.py, which checks it against its contract.

    Both go into the working directory; nothing is overwritten.
    """
    if kind not in _USES:
        raise SpecError(Problem(f"there is no kind {kind!r} of plug-in", where="KIND", hint=did_you_mean(kind, _USES)))
    _check_name(kind, name)
    files = {Path(f"{name}.py"): f"{kind}.txt", Path(f"test_{name}.py"): f"test_{kind}.txt"}
    if there := [str(path) for path in files if path.exists()]:
        hint = "nothing was written: choose another name, or move it away"
        raise SpecError([Problem("exists already", where=path, hint=hint) for path in there])
    made = "".join(part.capitalize() for part in name.split("_"))
    for path, template in files.items():
        text = (_TEMPLATES / template).read_text(encoding="utf-8")
        with open(path, "x", encoding="utf-8") as stream:
            stream.write(text.replace("CLASS", made).replace("NAME", name))
    written = " and ".join(map(str, files))
    print(f"written: {written}\ntest it: python -m pytest test_{name}.py\nuse it:  {_use(kind, name)}")


def _check_name(kind: str, name: str) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        hint = "a lower-case letter, then letters, digits and _, such as my_attention"
        raise SpecError(Problem(f"{name!r} cannot be the name of a plug-in", where="NAME", hint=hint))
    if name in sys.stdlib_module_names or _is_installed(name):
        of = "a module of Python" if name in sys.stdlib_module_names else "an installed package"
        text = f"{name!r} is {of}, which a file of the name would hide"
        raise SpecError(Problem(text, where="NAME", hint="choose another name"))
    if kind == "model":
        timm_models = importlib.import_module("modelzoo.factory.timm_models")  # torch and timm, for this kind alone
        if name in timm_models.available_models(name):
            text = f"there is a model {name!r} already, which the new one would replace"
            raise SpecError(Problem(text, where="NAME", hint="choose another name"))
    importlib.import_module(_TABLES.get(kind, "search_space.schema.sweep"))
    if kind in FAMILIES and name in own_names(kind):
        text = f"archsweep has the {kind} {name!r} itself"
        raise SpecError(Problem(text, where="NAME", hint="choose another name"))


def _is_installed(name: str) -> bool:
    """Whether Python finds a module of the name elsewhere than in the working directory."""
    elsewhere = [path for path in sys.path if path and Path(path).resolve() != Path.cwd()]
    found = importlib.machinery.PathFinder.find_spec(name, elsewhere)
    return found is not None and found.origin is not None  # else any folder of the name


def _use(kind: str, name: str) -> str:
    file = f"--plugin {name}.py"
    if kind == "exporter":
        return f"archsweep table RUN --format {name} {file}"
    if kind == "figure":
        return f"archsweep report RUN {file}"
    return f"plugins: [{name}] and {_USES[kind].replace('NAME', name)}; archsweep run SWEEP {file}"
