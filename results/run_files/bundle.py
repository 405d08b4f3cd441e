"""Bundle of a run for a reviewer: sweep, records, fingerprints, versions and tables in one zip file, with their hashes.

    MANIFEST.json       format, version of archsweep, SHA-256 of every other file
    sources             sweep.yaml, plan.json, preregistration.json, ledger.jsonl, provenance.jsonl, suggestions.jsonl,
                        data/*.json, plugins/NAME-DIGEST/*.py
    tables              table.*, trials.csv, curves.csv, shapley.csv or path.csv of such a design: made from the sources

`verify_bundle` compares the hashes, verifies every record (see verification.py) and makes every table again. The hashes
show damage and careless edits; they are no signature: publish the digest of the bundle itself where that matters. Equal
runs give equal bundles: the archive holds no times.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archsweep.version import version
from results.run_files.plugin_sources import changed_sources, is_plugin_file, plugin_files
from results.run_files.run_tables import write_tables
from results.store.files import atomic_writer, refuse_special_files
from results.store.run import Run, read_plan
from results.store.run_layout import IN_RUN_DIR, RunDir
from results.table.asked.by_results import num_trials_asked
from results.table.planned import planned_trials
from search_space.parsing.errors import Problem, SpecError
from search_space.parsing.secrets import masked

__all__ = ["Bundled", "verify_bundle", "write_bundle"]

_FORMAT = 1
_MANIFEST = "MANIFEST.json"
_SOURCES = tuple(
    getattr(IN_RUN_DIR, name).name
    for name in ("sweep", "plan", "preregistration", "ledger", "provenance", "suggestions")
)
_DATA = IN_RUN_DIR.fingerprint("*")
_MOST_BYTES = 4 * 2**30  # unpacked; a ledger of a million trials has as much
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Bundled:
    """What a bundle holds: number of trials with a record, of planned ones, of data fingerprints, and its SHA-256."""

    path: Path
    num_trials: int
    num_missing: int
    num_fingerprints: int
    digest: str


def write_bundle(run_dir: str | os.PathLike[str], path: Path) -> Bundled:
    """Write the bundle of a run.

    Raises:
        SpecError: there is no run, it has no record, its ledger is damaged, or the bundle cannot be written.
    """
    files = RunDir.of(run_dir)
    refuse_special_files(files)
    read_plan(files)
    with _staged() as stage:
        for name in (
            *_SOURCES,
            *sorted(each.relative_to(files.path).as_posix() for each in files.path.glob(str(_DATA))),
            *plugin_files(files),
        ):
            if (files.path / name).is_file():
                (stage.path / name).parent.mkdir(parents=True, exist_ok=True)
                _copy_masked(files.path / name, stage.path / name)
        _drop_torn_line(stage.ledger)
        run = Run.open(stage, curves=False)
        if not run.records:
            raise SpecError(
                Problem("the run has no record yet", where=str(files), hint="bundle it when trials have ended")
            )
        write_tables(stage)
        names = sorted(each.relative_to(stage.path).as_posix() for each in stage.path.rglob("*") if each.is_file())
        manifest = {
            "format": _FORMAT,
            "archsweep": version(),
            "files": {name: _digest(stage.path / name) for name in names},
        }
        (stage.path / _MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        with atomic_writer(path) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in (_MANIFEST, *names):
                archive.writestr(_entry(name), (stage.path / name).read_bytes())
        return _described(path, run)


def verify_bundle(path: Path) -> Bundled:
    """Verify a bundle; it is not unpacked outside a temporary folder.

    Raises:
        SpecError: it is no bundle, a file is not the one that was bundled, a record is not the result of its trial, or
            a table does not follow from the records.
    """
    with _staged() as stage:
        manifest = _unpacked(path, stage)
        problems = [
            Problem(f"{name} is not the file that was bundled", where=str(path))
            for name, digest in manifest["files"].items()
            if _digest(stage.path / name) != digest
        ]
        problems += [
            Problem(f"{name} does not hold the sources of its digest", where=str(path))
            for name in changed_sources(stage, filter(is_plugin_file, manifest["files"]))
        ]
        tables = {name: (stage.path / name).read_bytes() for name in manifest["files"] if name not in _SOURCES}
        run = Run.open(stage, curves=False)
        for made in write_tables(stage):
            name = made.name
            if name not in tables:
                problems.append(Problem(f"{name} is missing", where=str(path)))
            elif made.read_bytes() != tables[name]:
                problems.append(
                    Problem(f"{name} does not follow from the records", where=str(path), hint=_by(manifest))
                )
        if problems:
            raise SpecError(problems)
        return _described(path, run)


@contextmanager
def _staged() -> Iterator[RunDir]:
    with tempfile.TemporaryDirectory(prefix="archsweep-bundle-") as folder:
        yield RunDir(Path(folder))


def _unpacked(path: Path, stage: RunDir) -> dict[str, Any]:
    """Unpack the files that the manifest lists, and return the manifest."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
            if sum(sizes.values()) > _MOST_BYTES:
                raise _no_bundle(path, f"it unpacks to more than {_MOST_BYTES >> 30} GiB")
            manifest = json.loads(archive.read(_MANIFEST))
            listed = set(manifest["files"])
            if manifest["format"] != _FORMAT:
                raise _no_bundle(path, f"it has format {manifest['format']}, this archsweep reads {_FORMAT}")
            if strange := sorted(name for name in listed if not _is_known(name)):
                raise _no_bundle(path, f"it lists files that no bundle has: {', '.join(map(repr, strange[:5]))}")
            if listed | {_MANIFEST} != set(sizes):
                odd = sorted(set(sizes) ^ (listed | {_MANIFEST}))
                raise _no_bundle(path, f"its manifest and its files differ: {', '.join(map(repr, odd[:5]))}")
            for name in listed:
                target = stage.path / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as packed, open(target, "wb") as stream:
                    shutil.copyfileobj(packed, stream)
            return manifest
    except OSError as err:
        raise SpecError(Problem(f"cannot read: {err.strerror or err}", where=str(path))) from err
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, AttributeError, EOFError, RecursionError) as err:
        raise _no_bundle(path, f"{type(err).__name__}: {err}") from err


def _is_known(name: str) -> bool:
    """Whether a bundle may hold a file of this name: no other is unpacked, so that none lands elsewhere."""
    if name in _SOURCES or is_plugin_file(name) or name in {path.name for path in _table_paths()}:
        return True
    folder, _, file = name.partition("/")
    return folder == _DATA.parent.name and file.endswith(".json") and file.removesuffix(".json").isalnum()


def _table_paths() -> list[Path]:
    formats = [IN_RUN_DIR.table(name) for name in ("csv", "md", "tex", "html")]
    return [*formats, IN_RUN_DIR.trials_csv, IN_RUN_DIR.curves_csv, IN_RUN_DIR.shapley_csv, IN_RUN_DIR.path_csv]


def _copy_masked(source: Path, target: Path) -> None:
    """Copy a text of the run; runs of earlier versions hold what is masked today where it is written."""
    with open(source, encoding="utf-8", newline="") as lines, open(target, "w", encoding="utf-8", newline="") as copy:
        copy.writelines(map(masked, lines))


def _drop_torn_line(ledger: Path) -> None:
    """A driver may be writing: its half line is no record yet."""
    content = ledger.read_bytes() if ledger.exists() else b""
    ledger.write_bytes(content[: content.rfind(b"\n") + 1])


def _described(path: Path, run: Run) -> Bundled:
    found = planned_trials(run.plan, run.deciding.values())
    num_trials = sum(map(len, found.values()))
    planned = run.plan.num_trials or num_trials_asked(run.plan, found)
    fingerprints = len({record.data for record in run.deciding.values() if record.data})
    return Bundled(path, num_trials, max(0, planned - num_trials), fingerprints, _digest(path))


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def _digest(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _by(manifest: dict[str, Any]) -> str:
    made, here = manifest.get("archsweep"), version()
    if made == here:
        return "the table or the ledger was edited after the bundle was made"
    return f"the bundle is of archsweep {made}, this is {here}: its tables may be worded otherwise"


def _no_bundle(path: Path, reason: str) -> SpecError:
    return SpecError(Problem(f"no bundle: {reason}", where=str(path), hint="`archsweep bundle RUN` makes one"))
