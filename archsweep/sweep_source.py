"""Sweeps for Python: from a file, or from a mapping of the same content."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from runners.session.sweeps import check_optuna
from search_space import Problem, SpecError, SweepFile, load_again, load_sweep_text
from search_space import load_studies as studies_of_file
from search_space import load_sweep as sweep_of_file

__all__ = ["Overrides", "Source", "assignments", "load_again_with", "load_studies", "load_sweep"]

_NAME = "<mapping>"  # instead of a file, in messages

Source = str | os.PathLike[str] | Mapping[str, Any]
Overrides = Mapping[str, Any] | Iterable[str]
"""Path -> value, or `path=value` as on the command line."""


def load_sweep(
    source: Source, *, profile: str | None = None, overrides: Overrides = (), study: str | None = None
) -> SweepFile:
    """A validated sweep, as `archsweep check` validates it.

    Args:
        source: a YAML file, or a mapping with the keys of one (docs/sweep_format.md). Relative folders in a mapping are
            relative to the working directory.
        profile: name of one of its `profiles`.
        overrides: values in place of those of the file: `{"train.epochs": 5}`, or `["train.epochs=5"]`.
        study: name of one of its `studies`; required if it has several.

    Raises:
        SpecError: with every problem found.
    """
    given = assignments(overrides)
    if isinstance(source, Mapping):
        file = load_sweep_text(_json(source, "the sweep"), _NAME, profile=profile, overrides=given, study=study)
    else:
        file = sweep_of_file(os.fspath(source), profile=profile, overrides=given, study=study)
    check_optuna([file])
    return file


def load_studies(
    source: str | os.PathLike[str], *, profile: str | None = None, overrides: Overrides = ()
) -> list[SweepFile]:
    """The sweeps of a file with `studies`, in their order; of another file its only one. See `load_sweep`."""
    files = studies_of_file(os.fspath(source), profile=profile, overrides=assignments(overrides))
    check_optuna(files)
    return files


def load_again_with(file: SweepFile, overrides: Overrides) -> SweepFile:
    """The sweep as it was loaded, with further values in place of its own.

    Raises:
        SpecError: as `load_sweep`.
    """
    (again,) = load_again(file, overrides=assignments(overrides), study=file.study or None)
    check_optuna([again])
    return again


def assignments(overrides: Overrides) -> list[str]:
    """Overrides as the command line writes them: `path=value`."""
    if isinstance(overrides, str):
        raise SpecError(Problem(f"must be a mapping or a list, but got {overrides!r}", where="overrides"))
    if isinstance(overrides, Mapping):
        return [f"{path}={_json(value, f'overrides[{path!r}]', indent=None)}" for path, value in overrides.items()]
    return list(overrides)


def _json(value: Any, where: str, *, indent: int | None = 1) -> str:
    """The value as JSON, which is YAML in which every text is quoted: none is read as a number or as true."""
    try:
        return json.dumps(value, default=_plain, indent=indent, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as err:
        hint = "mappings, lists, texts, numbers, true, false and None"
        raise SpecError(Problem(f"cannot be written as YAML: {err}", where=where, hint=hint)) from err


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # numbers and arrays of NumPy
        return value.tolist()
    raise TypeError(f"{value!r} is none of a sweep's values")
