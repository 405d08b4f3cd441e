"""The plug-ins that a sweep names: loaded before the rest of the file is read, because they define what is legal in it.

A sweep executes nothing: an installed plug-in is loaded by its name, and a file only if the caller has loaded it
before (`--plugin`) or allows it in a configuration of their own.
"""

from __future__ import annotations

from pathlib import Path

from search_space.parsing.errors import Problem, SpecError, did_you_mean
from search_space.parsing.yaml_source import Node
from search_space.plugins.allowed import allowed_files, config_file
from search_space.plugins.families import on_change
from search_space.plugins.loading import GROUP, installed_names, load_installed, load_plugin, loaded_plugins
from search_space.schema.sweep import Sweep
from search_space.schema.task import TASK_SPECS
from search_space.schema.trial import ArchSpec, Setting, TrialSpec

__all__ = ["load_named"]


def load_named(root: Node, folder: Path) -> None:
    """Load the installed plug-ins that are named at the top of a file.

    Args:
        folder: that of the sweep file, where a plug-in file of the name may lie.

    Raises:
        SpecError: one is neither loaded nor installed, or cannot be loaded; all of them.
    """
    section = root.value.get("plugins") if isinstance(root.value, dict) else None
    names = section.value if section is not None and isinstance(section.value, tuple) else ()
    loaded = {plugin.name for plugin in loaded_plugins()}
    problems: list[Problem] = []
    for index, node in enumerate(names):
        name = node.value
        if not isinstance(name, str) or name in loaded:
            continue  # what is no name is reported with the rest of the file
        path = f"plugins[{index}]"
        file = allowed_files().get(name)
        if file is None and name not in installed_names():
            message, hint = _missing(name, folder)
            problems.append(Problem(message, node.mark.where, path, hint, node.mark.excerpt))
            continue
        try:
            load_installed(name) if file is None else load_plugin(file)
        except SpecError as err:
            text = f"the plug-in {name!r} cannot be loaded: " + "; ".join(map(str, err.problems))
            problems.append(Problem(text, node.mark.where, path, excerpt=node.mark.excerpt))
    if problems:
        raise SpecError(problems)
    # The task `python` names its module itself: a file that the user allows for good needs no second mention.
    for name in _modules_of_task(root):
        if name not in loaded and (file := allowed_files().get(name)) is not None:
            load_plugin(file)


def _modules_of_task(root: Node) -> list[str]:
    """Modules that `baseline.task` names as MODULE:NAME."""
    here = root
    for key in ("baseline", "task"):
        if not isinstance(here.value, dict) or key not in here.value:
            return []
        here = here.value[key]
    task = here.value if isinstance(here.value, dict) else {}
    written = [task[key].value for key in ("function", "schema") if key in task]
    return [text.partition(":")[0].partition(".")[0] for text in written if isinstance(text, str)]


def _missing(name: str, folder: Path) -> tuple[str, str]:
    beside = [path for path in (folder / f"{name}.py", folder / name) if path.exists()]
    if name.isidentifier():  # in a run directory, where the sources of its plug-ins are kept
        kept = [*folder.glob(f"plugins/{name}-*/{name}.py"), *folder.glob(f"plugins/{name}-*/{name}")]
        beside += sorted(kept, key=lambda path: path.stat().st_mtime, reverse=True)
    message = f"the plug-in {name!r} is not loaded, and no installed package has it (entry points of {GROUP})"
    if beside:
        hint = f"if you trust it, allow the file beside the sweep: --plugin {beside[0]}, or for good in {config_file()}"
        return message, hint
    known = installed_names()
    allow = f"install its package, or allow a file: --plugin {name}.py"
    return message, f"{allow}\n{did_you_mean(name, known)}" if known else allow


def _build_again() -> None:
    """Let the models of the sweep file take what the loaded plug-ins add; each is built from those before it."""
    for model in (ArchSpec, *TASK_SPECS.values(), Setting, TrialSpec, Sweep):
        model.model_rebuild(force=True)


on_change(_build_again)
