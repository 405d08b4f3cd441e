"""Provenance of a run: one line in `provenance.jsonl` for every start of the driver."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import json
import os
import platform
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from results.store.files import atomic_write, readable_write_errors
from results.store.links import opener_within
from results.store.run_layout import RunDir
from runners.driver.code_source import code_source, git
from runners.machine.gpus import num_gpus_here, visible_gpus
from runners.planning.plan import Plan
from search_space.parsing.secrets import masked
from search_space.plugins import loaded_plugins

__all__ = ["append_session", "describe_session", "new_session", "write_provenance"]

_NOTE = "# Copied by archsweep; *** replaces passwords and tokens, which are not copied."
_PACKAGES = ("archsweep", "torch", "torchvision", "timm", "ray", "optuna", "numpy", "scikit-learn", "pydantic")


def new_session() -> str:
    """Short id of this start of the driver; every record carries it."""
    return secrets.token_hex(4)


def describe_session(
    plan: Plan, *, session: str, engine: str, address: str | None, overrides: list[str]
) -> dict[str, Any]:
    """Provenance of this start: resolved sweep, versions, origin of archsweep, device, seeds, command line, git."""
    num_gpus = num_gpus_here()
    return {
        "session": session,
        "started_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "argv": sys.argv,
        "cwd": os.getcwd(),
        "engine": engine,
        "address": address,
        "profile": plan.profile,
        "overrides": overrides,
        "seeds": list(plan.sweep.seeds),
        "sweep_file": str(plan.file.path) if plan.file.path else None,
        "data": [each.model_dump(mode="json") for each in plan.data()],
        "sweep": plan.sweep.model_dump(mode="json"),
        "plugins": [plugin.described() for plugin in loaded_plugins()],
        "packages": {name: _version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "gpus": [gpu.name for gpu in visible_gpus()],
        "cuda": torch.version.cuda if num_gpus else None,
        "hip": torch.version.hip if num_gpus else None,
        "source": code_source(),
        "git": _git_state(Path(plan.file.path).resolve().parent if plan.file.path else Path.cwd()),
    }


def write_provenance(run_dir: RunDir, description: dict[str, Any], sweep_text: str) -> None:
    """Appends the session, and keeps the sweep file as it was written, comments and all; both without passwords."""
    append_session(run_dir, description)
    shown = masked(sweep_text)
    atomic_write(run_dir.sweep, shown if shown == sweep_text else f"{_NOTE}\n{shown}")


def append_session(run_dir: RunDir, description: dict[str, Any]) -> None:
    """Appends the line of one session to `provenance.jsonl`, without passwords."""
    path = run_dir.provenance
    opener = opener_within(run_dir)
    with readable_write_errors(path), open(path, "a", encoding="utf-8", opener=opener) as stream:
        stream.write(masked(json.dumps(description, sort_keys=True)) + "\n")


@functools.cache  # of what is imported, which no installation changes
def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_state(directory: Path) -> dict[str, Any] | None:
    """Revision and dirty flag of the repository of the sweep file; None outside of one or without git."""
    try:
        revision = git(directory, "rev-parse", "HEAD")
        return {"revision": revision, "dirty": bool(git(directory, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None
