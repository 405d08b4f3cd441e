"""Ablation studies of vision-transformer architectures, from Python.

    import archsweep

    sweep = archsweep.load_sweep("sweeps/quickstart.yaml")       # or a dict of the same content
    run = archsweep.run(sweep, engine="in-process")              # continues what is there
    run.table().to_pandas()                                      # run.records().to_pandas(): a row per trial

Importing it is light: torch, Ray and pandas are imported on use. docs/python.md describes each function.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from archsweep import own_packages  # noqa: F401 - first of all: pins the names of our packages

if TYPE_CHECKING:
    from archsweep.opened_run import Records, Run, open_run, table_of_runs
    from archsweep.planned_sweep import Plan, plan
    from archsweep.start import run
    from archsweep.sweep_source import load_studies, load_sweep
    from archsweep.tables import AblationTable
    from runners.kept_models import load_model
    from search_space import Problem, SpecError, SweepFile
    from search_space.plugins import load_plugin

    __version__: str

_MODULES = {
    "AblationTable": "archsweep.tables",
    "Plan": "archsweep.planned_sweep",
    "Problem": "search_space",
    "Records": "archsweep.opened_run",
    "Run": "archsweep.opened_run",
    "SpecError": "search_space",
    "SweepFile": "search_space",
    "load_model": "runners.kept_models",
    "load_plugin": "search_space.plugins",
    "load_studies": "archsweep.sweep_source",
    "load_sweep": "archsweep.sweep_source",
    "open_run": "archsweep.opened_run",
    "plan": "archsweep.planned_sweep",
    "run": "archsweep.start",
    "table_of_runs": "archsweep.opened_run",
}

__all__ = [
    "AblationTable",
    "Plan",
    "Problem",
    "Records",
    "Run",
    "SpecError",
    "SweepFile",
    "__version__",
    "load_model",
    "load_plugin",
    "load_studies",
    "load_sweep",
    "open_run",
    "plan",
    "run",
    "table_of_runs",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from archsweep.version import version  # the metadata of installed packages takes 10 ms to import

        return version()
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'archsweep' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
