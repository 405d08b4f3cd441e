"""The kinds of sources, how each is recognised, and what reads it."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from results.store.run_layout import IN_RUN_DIR, RunDir
from runners.imports.source_run import SourceRuns
from search_space.parsing.errors import Problem, SpecError

__all__ = ["DATABASES", "KINDS", "Source", "read_sources"]

KINDS = {
    "csv": ("runners.imports.csv_table", "read_csv", ""),
    "mlflow": ("runners.imports.mlflow", "read_mlflow", "mlflow"),
    "tensorboard": ("runners.imports.tensorboard", "read_tensorboard", "tensorboard"),
    "wandb": ("runners.imports.wandb", "read_wandb", "wandb"),
}
"""Kind -> module, function, and the package that it needs, whose extra has the name of the kind. Modules are imported
when their kind is read, because only they need these packages."""

DATABASES = (IN_RUN_DIR.mlflow_database.name, "mlruns.db")
"""Names under which MLflow keeps its SQLite file in a folder: its own default, and one that guides use."""

_LEGAL = (
    "a CSV file, a folder with W&B's offline runs, MLflow's mlruns folder or SQLite file, or a folder with event files "
    "of TensorBoard; --from says which, where it is not recognised"
)


@dataclass(frozen=True)
class Source:
    """A source that was read."""

    path: Path
    kind: str
    read: SourceRuns

    @property
    def name(self) -> str:
        """Its name without its folder."""
        return self.path.resolve().name.encode(errors="backslashreplace").decode()


def read_sources(paths: Sequence[Path], kind: str | None, keys: Collection[str]) -> tuple[Source, ...]:
    """Read every source.

    Args:
        kind: of all of them; None: recognised by what is there.
        keys: metrics whose history is needed.

    Raises:
        SpecError: with the problems of all sources.
    """
    found: list[Source] = []
    problems: list[Problem] = []
    seen: set[Path] = set()
    for path in paths:
        try:
            if path.resolve() in seen:
                raise SpecError(Problem("the same source twice", where=str(path), hint="name every source once"))
            seen.add(path.resolve())
            this = kind or _kind_of(path)
            found.append(Source(path, this, _read(path, this, keys)))
        except SpecError as err:
            problems += err.problems
    if problems:
        raise SpecError(problems)
    return tuple(found)


def _read(path: Path, kind: str, keys: Collection[str]) -> SourceRuns:
    if not path.exists():
        raise SpecError(Problem("nothing is there", where=str(path), hint=f"a source is {_LEGAL}"))
    module, function, package = KINDS[kind]
    if package and importlib.util.find_spec(package) is None:
        message = f"a source of the kind {kind!r} needs the package {package!r}, which is not installed"
        raise SpecError(Problem(message, where=str(path), hint=f"pip install 'archsweep[{kind}]'"))
    if kind == "csv" and path.is_dir():
        raise SpecError(Problem("is a folder, and a CSV is a file", where=str(path)))
    return getattr(importlib.import_module(module), function)(path, keys)


def _kind_of(path: Path) -> str:
    if not path.exists():
        raise SpecError(Problem("nothing is there", where=str(path), hint=f"a source is {_LEGAL}"))
    if RunDir(path).plan.is_file() and RunDir(path).ledger.is_file():
        hint = f"archsweep table {path}, or several run directories in one table"
        raise SpecError(Problem("is a run directory of archsweep, which needs no import", where=str(path), hint=hint))
    kinds = list(_signs_in_file(path) if path.is_file() else _signs_in_folder(path))
    if len(kinds) > 1:
        hint = f"name one of its folders or files, or say which: --from {kinds[0]}"
        raise SpecError(Problem(f"holds runs of several kinds: {', '.join(kinds)}", where=str(path), hint=hint))
    if kinds:
        return kinds[0]
    raise SpecError(Problem("is no source that is recognised", where=str(path), hint=f"a source is {_LEGAL}"))


def _signs_in_file(path: Path) -> Iterator[str]:
    if path.suffix.lower() in (".csv", ".tsv"):
        yield "csv"
    if path.suffix == ".wandb":
        yield "wandb"
    if "tfevents" in path.name:
        yield "tensorboard"
    try:
        with open(path, "rb") as stream:
            if stream.read(15) == b"SQLite format 3":
                yield "mlflow"
    except OSError as err:
        raise SpecError(Problem(f"cannot read: {err.strerror}", where=str(path))) from err


def _signs_in_folder(path: Path) -> Iterator[str]:
    of_wandb = {file.parent for file in path.rglob("run-*.wandb")}
    of_wandb |= {each for each in (path, *path.rglob("offline-run-*")) if each.name.startswith("offline-run-")}
    if of_wandb:
        yield "wandb"
    is_mlflow = any((path / name).is_file() for name in DATABASES) or any(path.glob("*/meta.yaml"))
    if is_mlflow:
        yield "mlflow"
    # W&B and MLflow keep copies of event files with their runs.
    events = [each.parents for each in path.rglob("*tfevents*")]
    if any(not of_wandb & set(up) and not (is_mlflow and "artifacts" in {each.name for each in up}) for up in events):
        yield "tensorboard"
