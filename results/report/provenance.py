"""Provenance and reproduction of the numbers, from `provenance.jsonl` and `sweep.yaml` of the run.

Both are validated: a run may be older than this program, or from an untrusted source. Host names and folders of the
machine are left out, because reports are shared.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from results.report.section import Section, section
from results.report.trials import listing
from results.run_files.plugin_sources import described_option
from results.store.run import Run
from results.store.run_layout import IN_RUN_DIR
from results.table.table import AblationTable
from search_space.parsing.secrets import masked

__all__ = ["provenance_section", "reproduction_section", "sweep_description"]

_SWEEP = IN_RUN_DIR.sweep.name
_WIDTH = 88


def sweep_description(sessions: Sequence[Mapping[str, Any]]) -> str:
    """The description of the sweep; empty if it has none."""
    sweep = sessions[-1].get("sweep") if sessions else None
    return str(sweep.get("description") or "") if isinstance(sweep, dict) else ""


def provenance_section(key: str, table: AblationTable, sessions: Sequence[Mapping[str, Any]]) -> Section | None:
    """Versions, devices and state of the code; values that differ between starts are all listed. None without any."""
    records = table.records
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
        *_lines("ROCm", (str(one.get("hip") or "") for one in sessions)),
        *_lines("engine", (str(one.get("engine") or "") for one in sessions)),
        *_lines("archsweep", (_source(one.get("source")) for one in sessions)),
        *_lines("repository of the sweep", (_git(one.get("git")) for one in sessions)),
        *_lines("plug-ins", (_plugins(one) for one in sessions)),
        *_lines("imported from", (_sources(one) for one in sessions)),
        *_lines("packages", (_packages(one.get("packages")) for one in sessions)),
    ]
    taken = sorted({record.cached_from for record in records if record.cached_from})
    if taken:
        lines.append(("trials taken over from", ", ".join(taken)))
    return listing(key, "Provenance", ("what", "value"), lines) if lines else None


def reproduction_section(prefix: str, run: Run, sessions: Sequence[Mapping[str, Any]]) -> Section | None:
    """The command, and the sweep file as it was used. None if neither is known."""
    commands: list[str] = []
    if sessions:
        last = sessions[-1]
        commands = [*_install(last), *_plugin_notes(last), _command(last)]
    try:
        sweep = masked(run.files.sweep.read_bytes().decode(errors="surrogateescape")).encode(errors="surrogateescape")
    except OSError:
        sweep = None
    if not commands and sweep is None:
        return None
    values = {"commands": commands, "sweep": sweep, "name": _SWEEP, "download": prefix + _SWEEP}
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


def _imported(session: Mapping[str, Any]) -> list[dict[str, Any]]:
    sources = session.get("imported")
    return [each for each in sources if isinstance(each, dict)] if isinstance(sources, list) else []


def _sources(session: Mapping[str, Any]) -> str:
    """Sources of imported runs, without their folders."""
    return ", ".join(
        f"{each.get('name')} ({each.get('kind')}, sha256 {each.get('sha256')})" for each in _imported(session)
    )


def _plugins(session: Mapping[str, Any]) -> str:
    return ", ".join(f"{each.get('name')} ({each.get('digest')})" for each in _described(session))


def _described(session: Mapping[str, Any]) -> list[dict[str, Any]]:
    plugins = session.get("plugins")
    return [each for each in plugins if isinstance(each, dict)] if isinstance(plugins, list) else []


def _plugin_notes(session: Mapping[str, Any]) -> list[str]:
    """Comments on what has to be installed, and on what `--plugin` of the command executes."""
    found = []
    for each in _described(session):
        name, of = (" ".join(str(each.get(key)).split()) for key in ("name", "origin"))
        option = described_option(each)
        text = f"plug-in {name}: its sources are in {option}, read them before you run them" if option else ""
        found.append(f"# {text or f'plug-in {name} of {of}: install that package'}")
    return found


def _install(session: Mapping[str, Any]) -> list[str]:
    """Commands that install the packages used, and comments where no command can."""
    packages = session.get("packages")
    found = (
        {str(name): str(version) for name, version in packages.items() if version} if isinstance(packages, dict) else {}
    )
    own = found.pop("archsweep", "")
    source = session.get("source")
    if isinstance(source, dict):
        requirement, notes = _own_requirement(source)
    else:
        requirement, notes = "", [f"archsweep {own}: where it came from was not recorded"] if own else []
    # +cpu, +cu128: builds of one version that its maker keeps elsewhere
    notes += [f"{name} was the build {version}" for name, version in found.items() if "+" in version]
    pinned = [f"{name}=={version.partition('+')[0]}" for name, version in found.items()]
    words = [requirement, *pinned] if requirement else pinned
    command = [_pip_install(words)] if words else []
    return [*(f"# {' '.join(note.split())}" for note in notes), *command]


def _pip_install(requirements: Sequence[str]) -> str:
    lines = ["pip install"]
    for word in map(shlex.quote, requirements):
        if len(lines[-1]) + len(word) > _WIDTH:
            lines.append("   ")
        lines[-1] += f" {word}"
    return " \\\n".join(lines)


def _own_requirement(source: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The requirement from which pip installs archsweep, empty if unknown, and notes on it."""
    name, kind = f"archsweep {source.get('version', '')}", source.get("kind")
    url, revision = str(source.get("url") or ""), str(source.get("revision") or "")
    if kind == "git":
        dirty = ["the uncommitted changes of that checkout are not recorded"] if source.get("dirty") else []
        if url and source.get("is_pushed"):
            return f"archsweep@git+{url}@{revision}", dirty
        place = f"a checkout of {url}, where that revision had not been pushed" if url else "a git checkout"
        return "", [f"{name} was revision {revision} of {place}: install that revision", *dirty]
    if kind == "index":
        return f"archsweep=={source.get('version', '')}", []
    if kind == "file":
        file, sha256 = str(source.get("name") or "a file"), str(source.get("sha256") or "")
        if url:
            return f"archsweep@{url}" + (f"#sha256={sha256}" if sha256 else ""), []
        return "", [f"{name} was a local build, {file}" + (f" (sha256 {sha256})" if sha256 else "") + ": install that"]
    if kind == "folder":
        return "", [f"{name} was a local build from a folder whose state is not recorded"]
    return "", [f"{name}: where it came from is not known"]


def _source(source: Any) -> str:
    """The copy of archsweep that ran, as one line."""
    if not isinstance(source, dict):
        return ""
    requirement, notes = _own_requirement(source)
    return "; ".join([*([requirement] if requirement else []), *notes])


def _command(session: Mapping[str, Any]) -> str:
    """The command line as it was typed, with the sweep file under its new name and without the run directory."""
    argv = session.get("argv")
    arguments = [str(one) for one in argv[1:]] if isinstance(argv, list) else []
    if sources := _imported(session):
        return _import_command(arguments, sources)
    sweep = session.get("sweep_file")
    if not sweep or "run" not in arguments:
        return f"archsweep run {_SWEEP}"
    kept, skip = [], False
    for argument in arguments:
        if skip or argument.partition("=")[0] in ("--out", "--plugin"):
            skip = not skip and argument in ("--out", "--plugin")
            continue
        is_sweep = argument == sweep or Path(argument).name == Path(str(sweep)).name
        kept.append(_SWEEP if is_sweep else argument)
    kept += [word for each in _described(session) if (file := described_option(each)) for word in ("--plugin", file)]
    return shlex.join(["archsweep", *kept])


def _import_command(arguments: Sequence[str], sources: Sequence[Mapping[str, Any]]) -> str:
    """The command that imported the runs, as it was typed, without folders of that machine."""
    names = {str(each.get("name")) for each in sources}
    kept, is_output = [], False
    for argument in arguments[arguments.index("import-runs") :] if "import-runs" in arguments else ["import-runs"]:
        option, has_value, value = argument.partition("=")
        if option == "--output" and has_value:
            argument = f"{option}={Path(value).name}"
        elif is_output or Path(argument).name in names:
            argument = Path(argument).name
        is_output = argument in ("-o", "--output")
        kept.append(argument)
    return shlex.join(["archsweep", *kept])
