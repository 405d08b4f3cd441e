"""Where the numbers come from, and how to make them again: from `provenance.jsonl` and `sweep.yaml` of the run.

Both are read with care: a run may be older than this program, or of another hand. Host names and folders of the machine
are left out: a report is for sending around.
"""

from __future__ import annotations

import json
import shlex
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from results.report.section import Section, section
from results.report.trials import listing
from results.store.run import Run
from results.table.table import AblationTable

__all__ = ["provenance_section", "reproduction_section", "sessions_of", "sweep_description"]

PROVENANCE_NAME = "provenance.jsonl"
SWEEP_NAME = "sweep.yaml"


def sessions_of(run: Run) -> tuple[dict[str, Any], ...]:
    """The starts of the driver, the oldest first; lines that are none are passed over."""
    try:
        lines = (run.path / PROVENANCE_NAME).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    found = []
    for line in lines:
        try:
            session = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(session, dict):
            found.append(session)
    return tuple(found)


def sweep_description(sessions: Sequence[Mapping[str, Any]]) -> str:
    """What the sweep says of itself; empty if nothing."""
    sweep = sessions[-1].get("sweep") if sessions else None
    return str(sweep.get("description") or "") if isinstance(sweep, dict) else ""


def provenance_section(key: str, table: AblationTable, sessions: Sequence[Mapping[str, Any]]) -> Section | None:
    """Versions, devices, state of the code; what differs between starts is given for each. None without anything."""
    records = [record for row in table.rows for record in row.records]
    devices = sorted({record.device for record in records if record.device})
    finished = sorted(record.finished_at for record in records if record.finished_at)
    lines = [
        *_lines("started", (str(one.get("started_at") or "") for one in sessions)),
        *([("last trial finished", finished[-1])] if finished else []),
        *([("trained on", ", ".join(devices))] if devices else []),
        *_lines("GPUs of the driver", (_names(one.get("gpus")) for one in sessions)),
        *_lines("CPU cores of the driver", (str(one.get("cpus") or "") for one in sessions)),
        *_lines("platform", (str(one.get("platform") or "") for one in sessions)),
        *_lines("Python", (str(one.get("python") or "") for one in sessions)),
        *_lines("CUDA", (str(one.get("cuda") or "") for one in sessions)),
        *_lines("engine", (str(one.get("engine") or "") for one in sessions)),
        *_lines("code", (_git(one.get("git")) for one in sessions)),
        *_lines("packages", (_packages(one.get("packages")) for one in sessions)),
    ]
    taken = sorted({record.cached_from for record in records if record.cached_from})
    if taken:
        lines.append(("trials taken over from", ", ".join(taken)))
    return listing(key, "Provenance", ("what", "value"), lines) if lines else None


def reproduction_section(prefix: str, run: Run, sessions: Sequence[Mapping[str, Any]]) -> Section | None:
    """The command, and the sweep file as it was. None if neither is known."""
    commands: list[str] = []
    if sessions:
        last = sessions[-1]
        setup = [_checkout(last.get("git")), _install(last.get("packages"))]
        commands = [*filter(None, setup), _command(last)]
    try:
        sweep = (run.path / SWEEP_NAME).read_bytes()
    except OSError:
        sweep = None
    if not commands and sweep is None:
        return None
    values = {"commands": commands, "sweep": sweep, "name": SWEEP_NAME, "download": prefix + SWEEP_NAME}
    return section(f"{prefix}reproduce", "How to reproduce", "reproduction", **values)


def _lines(name: str, values: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, value) for value in dict.fromkeys(values) if value]


def _names(names: Any) -> str:
    return ", ".join(map(str, names)) if isinstance(names, list) else str(names or "")


def _git(state: Any) -> str:
    if not isinstance(state, dict) or not state.get("revision"):
        return ""
    return f"revision {state['revision']}" + (", with uncommitted changes" if state.get("dirty") else "")


def _packages(packages: Any) -> str:
    if not isinstance(packages, dict):
        return ""
    return ", ".join(f"{name} {version}" for name, version in packages.items() if version)


def _checkout(state: Any) -> str:
    if not isinstance(state, dict) or not state.get("revision"):
        return ""
    note = "  # and the uncommitted changes, which are not recorded" if state.get("dirty") else ""
    return f"git checkout {shlex.quote(str(state['revision']))}{note}"


def _install(packages: Any) -> str:
    if not isinstance(packages, dict):
        return ""
    pinned = [shlex.quote(f"{name}=={version}") for name, version in packages.items() if version]
    command = " ".join(["pip install", *pinned])
    return (
        " \\\n    ".join(textwrap.wrap(command, 88, break_on_hyphens=False, break_long_words=False)) if pinned else ""
    )


def _command(session: Mapping[str, Any]) -> str:
    """The command line as it was typed, with the sweep file under its new name and without the run directory."""
    argv = session.get("argv")
    arguments = [str(one) for one in argv[1:]] if isinstance(argv, list) else []
    sweep = session.get("sweep_file")
    if not sweep or "run" not in arguments:
        return f"archsweep run {SWEEP_NAME}"
    kept, skip = [], False
    for argument in arguments:
        if skip or argument == "--out" or argument.startswith("--out="):
            skip = argument == "--out"
            continue
        is_sweep = argument == sweep or Path(argument).name == Path(str(sweep)).name
        kept.append(SWEEP_NAME if is_sweep else argument)
    return shlex.join(["archsweep", *kept])
