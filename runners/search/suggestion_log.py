"""`suggestions.jsonl`: what a search proposed, written down before the trial starts, and what it was told beforehand.

One line each: `{"number", "params", "attrs"}` of a proposal, `{"warm_start", "params", "values"}` of a variant of an
earlier run. These are kept here because that run may grow or go: a search is continued as it was begun.
"""

from __future__ import annotations

import io
import json
import os
import pickle
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationError

from results.store.files import readable_write_errors
from results.store.run_layout import RunDir
from search_space import Problem, SpecError

__all__ = ["Suggestion", "Suggestions", "Told", "unsafe_attrs_reason"]

_ADVICE = "move the file away: the search then begins anew, and its trials that are in the ledger are not run again"
_MOST_PROBLEMS = 10
_Params = dict[str, StrictBool | StrictInt | StrictFloat | StrictStr | None]


class Suggestion(BaseModel):
    """A proposal: its parameters, and what the sampler noted of it (its generation, its state). `number` is the place
    of its line, so nobody reads it."""

    model_config = ConfigDict(extra="ignore")

    params: _Params
    attrs: dict[str, Any] = {}


class Told(BaseModel):
    """A variant of an earlier run: where it is from, its parameters, and its objectives."""

    model_config = ConfigDict(extra="ignore")

    warm_start: str
    params: _Params
    values: list[float]


class Suggestions:
    """The file of one run directory. A torn last line is a suggestion whose trial never started: it is cut off.

    Attributes:
        proposed: what was proposed before this start.
        told: what the sampler was told of earlier runs.

    Raises:
        SpecError: another line is no suggestion, or what it notes would execute something.
    """

    def __init__(self, run_dir: RunDir) -> None:
        self._path = run_dir.suggestions
        self.proposed: list[Suggestion] = []
        self.told: list[Told] = []
        problems: list[Problem] = []
        for number, line in enumerate(self._lines(), start=1):
            if reason := self._take(line):
                problems.append(Problem(reason, where=f"{self._path}:{number}", hint=_ADVICE))
            if len(problems) == _MOST_PROBLEMS:
                break
        if problems:
            raise SpecError(problems)

    def append(self, *entries: Mapping[str, Any]) -> None:
        """Writes the entries; when this returns, they are on the disk."""
        with readable_write_errors(self._path), self._path.open("a", encoding="utf-8") as stream:
            stream.write("".join(json.dumps(entry, sort_keys=True) + "\n" for entry in entries))
            stream.flush()
            os.fsync(stream.fileno())

    def _lines(self) -> Iterator[bytes]:
        if not self._path.exists():
            return
        with readable_write_errors(self._path):
            content = self._path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            if len(whole) < len(content):
                os.truncate(self._path, len(whole))
        yield from whole.split(b"\n")[:-1]

    def _take(self, line: bytes) -> str:
        """Keeps what the line says; returns why it cannot be kept."""
        try:
            if b'"warm_start"' in line:
                self.told.append(Told.model_validate_json(line))
                return ""
            suggestion = Suggestion.model_validate_json(line)
        except ValidationError as err:
            first = err.errors(include_url=False, include_input=False, include_context=False)[0]
            return f"not a suggestion: {first['msg']}"
        if reason := unsafe_attrs_reason(suggestion.attrs):
            return f"not a suggestion of a sampler: {reason}"
        self.proposed.append(suggestion)
        return ""


_OPTIMIZERS = ("cma:optimizer", "sepcma:optimizer", "cmawm:optimizer")
_NUMPY = ("numpy._core.multiarray", "numpy.core.multiarray")
_HARMLESS = {
    *(("cmaes._cma", "CMA"), ("cmaes._sepcma", "SepCMA"), ("cmaes._cmawm", "CMAwM")),
    *(("numpy", "ndarray"), ("numpy", "dtype")),
    *((module, name) for module in _NUMPY for name in ("_reconstruct", "scalar")),
    *((module, "_frombuffer") for module in ("numpy._core.numeric", "numpy.core.numeric")),
}


def unsafe_attrs_reason(notes: Mapping[str, Any]) -> str:
    """Why these attributes must not reach a sampler; empty if they may.

    Optuna's CMA-ES keeps its optimizer as a pickle in the trial's attributes and unpickles it without a look. A run
    directory may come from anybody, so that pickle is read here first, by an unpickler that knows the classes of such
    an optimizer and no others: what it cannot read, Optuna never sees.
    """
    for prefix in _OPTIMIZERS:
        parts = [value for key, value in notes.items() if key.startswith(prefix)]
        if not parts:
            continue
        try:
            # Put together as Optuna does it.
            content = bytes.fromhex("".join(notes[f"{prefix}:{number}"] for number in range(len(parts))))
            _Unpickler(io.BytesIO(content)).load()
        except _Foreign as err:
            return f"its {prefix!r} holds more than an optimizer: {err}; none of it was executed"
        except Exception as err:  # damaged bytes raise whatever they lead to
            return f"its {prefix!r} cannot be read: {type(err).__name__}"
    return ""


class _Foreign(pickle.UnpicklingError):
    """A name that no optimizer has."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in _HARMLESS:
            raise _Foreign(f"{module_name}.{global_name}")
        return super().find_class(module_name, global_name)
