"""The verbs of the command line, by name: `archsweep --help` lists them, and only the one that is called is imported.

A verb is a function of its module, or an app of its own with further verbs. Its help is in its docstring, and the first
paragraph of that is here once more: a test compares them.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand

__all__ = ["BRIEF", "VERBS", "Verb", "VerbOnCall", "loaded"]


@dataclass(frozen=True)
class Verb:
    """Where a verb is, as `MODULE:NAME` below `runners.cli`; `plugins`: whether it has the option `--plugin`."""

    place: str
    about: str
    plugins: bool = True


VERBS: Mapping[str, Verb] = {
    "init": Verb("files.models_schema_init:init", "Write a commented sweep file to start from.", plugins=False),
    "new": Verb(
        "files.new:new",
        "Write NAME.py, a commented plug-in to be changed, and test_NAME.py, which checks it against its contract.",
        plugins=False,
    ),
    "check": Verb("check:check", "Validate a sweep file; list all problems at once."),
    "check-data": Verb(
        "check_data:check_data", "Show what the datasets of a sweep hold: classes, counts, sizes, duplicates."
    ),
    "plan": Verb("plan.command:plan", "Show variants, cost, time and statistical power."),
    "preregister": Verb(
        "plan.preregister:preregister",
        "Freeze the plan of a sweep before its first result, with its hash and the date.",
    ),
    "run": Verb("run:run", "Run a sweep, or continue it."),
    "status": Verb("views.status:status", "Show progress, failures and best trial of a run."),
    "watch": Verb("views.watch:watch", "Show a run live, from any shell."),
    "wait": Verb("views.wait:wait", "Wait until a run has finished.", plugins=False),
    "serve": Verb("views.serve:serve", "Show all runs of a folder as a local web page, live."),
    "table": Verb("views.table:table", "Print the ablation table of one or several runs."),
    "report": Verb("views.report:report", "Write a self-contained HTML report of a run."),
    "ls": Verb("views.ls:ls", "List the trials of a run."),
    "diff": Verb("views.diff:diff", "Compare two trials or variants."),
    "variance": Verb(
        "views.variance:variance", "Show what makes seeds differ, and what comparing at equal seeds gains."
    ),
    "bundle": Verb(
        "views.bundle:bundle",
        "Pack a run into one file: sweep, records, fingerprints of the data, versions and tables, with their hashes.",
    ),
    "verify": Verb(
        "views.bundle:verify",
        "Check a bundle: hashes, ids of all records, and every table made again from the records.",
    ),
    "cache": Verb("cache:cache", "Show or clear the cache of trained trials.", plugins=False),
    "doctor": Verb("doctor:doctor", "Check whether this machine can run sweeps.", plugins=False),
    "models": Verb("files.models_schema_init:models", "List attention mechanisms, options and models."),
    "guide": Verb(
        "guide:guide",
        "Print a short guide for scripts and assistants: verbs, exit codes, JSON, files of a run, Python.",
        plugins=False,
    ),
    "schema": Verb(
        "files.models_schema_init:schema",
        "Print the JSON Schema of sweep files (for editors), or of the JSON that a verb prints.",
    ),
    "export-dataset": Verb(
        "files.export_dataset:export_dataset",
        "Write a drawn dataset as PNG images, label maps and COCO JSON.",
        plugins=False,
    ),
    "import-checkpoint": Verb(
        "files.import_checkpoint:import_checkpoint", "Convert a released checkpoint to safetensors.", plugins=False
    ),
    "import-runs": Verb(
        "files.import_runs:import_runs",
        "Import runs that other programs trained into a run directory, for the same table.",
        plugins=False,
    ),
    "launch": Verb("launch_slurm:app", "Print or submit a launch file for a cluster.", plugins=False),
}
"""Name -> verb, in the order of `archsweep --help`."""

BRIEF = frozenset({"check", "plan", "status", "ls", "table", "diff", "cache", "guide", "schema", "new", "init"})
"""Verbs that read, print and end, without a process or a thread of their own."""


class VerbOnCall(TyperCommand):
    """What is registered for a verb: its name and what it is about, until it is called, or asked for its help."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the verb itself, which this imports."""
        assert self.name is not None
        return loaded(self.name).make_context(info_name, args, parent=parent, **extra)


def loaded(name: str) -> Any:
    """The verb as typer's command."""
    verb = VERBS[name]
    module, _, attribute = verb.place.partition(":")
    found: Any = getattr(importlib.import_module(f"runners.cli.{module}"), attribute)
    if isinstance(found, typer.Typer):
        app = found
    else:
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        if verb.plugins:
            from runners.cli.plugin_option import with_plugins

            found = with_plugins(found)
        app.command(name)(found)
    made = typer.main.get_command(app)
    made.name = name
    return made
