"""What models cost, remembered on this machine: `run` after `plan`, and a plan that is made again, build none of them.

A cost follows from architecture, task and shape of the data, and from the code that builds and counts. So an entry is
of one state of that code; with a plug-in loaded, whose code may do anything, nothing is remembered.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import modelzoo
from runners import planning, tasks
from runners.data import DataInfo
from runners.machine.user_cache import costs, default_directory, write_fact
from runners.tasks import TASKS
from search_space import Setting
from search_space.plugins import loaded_plugins

__all__ = ["known_cost", "remembered"]

_COUNTED_BY = (modelzoo, tasks, planning)


def known_cost(setting: Setting, info: DataInfo) -> dict[str, float]:
    """`params_m` and `gmacs` of the network of a setting.

    Raises:
        SpecError: it cannot be built.
    """
    what = f"cost {setting.arch.model_dump_json()} {setting.task.model_dump_json()}"
    return remembered(what, info, lambda: asdict(TASKS[setting.task.name].cost(setting, info)))


def remembered(what: str, info: DataInfo, compute: Callable[[], dict[str, float]]) -> dict[str, float]:
    """The numbers that `compute` gives, from the user's cache where they were computed before.

    Args:
        what: text that names the numbers and all that they follow from but `info`.

    Raises:
        SpecError: `compute` raises it; that is not remembered.
    """
    memory = default_directory()
    if memory is None or loaded_plugins():
        return compute()
    digest = hashlib.sha256(f"{what} {info!r}".encode()).hexdigest()[:32]
    path = costs(memory) / _code() / f"{digest}.json"
    found = _read(path)
    if found is None:
        found = compute()
        write_fact(path, json.dumps(found) + "\n")
    return found


@functools.cache
def _code() -> str:
    """Digest of the code that counts: versions of the libraries, size and time of each of our files."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("torch", "timm")]
    folders = [Path(folder) for package in _COUNTED_BY for folder in package.__path__]
    files = [(str(path), path.stat()) for folder in folders for path in sorted(folder.rglob("*.py"))]
    ours = [f"{path} {facts.st_size} {facts.st_mtime_ns}" for path, facts in files]
    return hashlib.sha256("\n".join([*versions, *ours]).encode()).hexdigest()[:16]


def _read(path: Path) -> dict[str, float] | None:
    try:
        found = json.loads(path.read_bytes())
        return {str(name): float(value) for name, value in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return None
