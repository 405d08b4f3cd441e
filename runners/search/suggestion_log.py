"""Log of a search's suggestions (`suggestions.jsonl`), written before a trial starts, and its warm-start data.

One line each: `{"number", "params", "attrs"}` of a proposal, `{"warm_start", "params", "values"}` of a variant of an
earlier run. The latter is copied here because that run may change or be deleted, and a resumed search must continue
from the same data.
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
from results.store.links import opener_within
from results.store.run_layout import RunDir
from search_space import Problem, SpecError

__all__ = ["Suggestion", "Suggestions", "WarmStartTrial", "unsafe_attrs_reason"]

_ADVICE = "move the file away: the search then starts again, and its trials that are in the ledger are not run again"
_MOST_PROBLEMS = 10
_Params = dict[str, StrictBool | StrictInt | StrictFloat | StrictStr | None]


class Suggestion(BaseModel):
    """Proposal: its parameters, and the attributes set by the sampler (generation, state). `number` is not read: it is
    the position of the line."""

    model_config = ConfigDict(extra="ignore")

    params: _Params
    attrs: dict[str, Any] = {}


class WarmStartTrial(BaseModel):
    """Variant of an earlier run: the run, its parameters, and its objectives."""

    model_config = ConfigDict(extra="ignore")

    warm_start: str
    params: _Params
    values: list[float]


class Suggestions:
    """Suggestion log of one run directory. A torn last line is a suggestion whose trial never started: it is cut off.

    Without a directory it is empty and stays so, for a dry run.

    Attributes:
        proposed: suggestions of earlier starts.
        warm_start: variants of earlier runs that the sampler has received.

    Raises:
        SpecError: another line is no suggestion, or its attributes hold a pickle that would execute code.
    """

    def __init__(self, run_dir: RunDir | None) -> None:
        self._path = None if run_dir is None else run_dir.suggestions
        self._opener = None if run_dir is None else opener_within(run_dir)
        self.proposed: list[Suggestion] = []
        self.warm_start: list[WarmStartTrial] = []
        problems: list[Problem] = []
        for number, line in enumerate(self._lines(), start=1):
            if reason := self._take(line):
                problems.append(Problem(reason, where=f"{self._path}:{number}", hint=_ADVICE))
            if len(problems) == _MOST_PROBLEMS:
                break
        if problems:
            raise SpecError(problems)

    def append(self, *entries: Mapping[str, Any]) -> None:
        """Append the entries and sync them to disk."""
        lines = "".join(json.dumps(entry, sort_keys=True) + "\n" for entry in entries)
        if self._path is None:
            return
        with (
            readable_write_errors(self._path),
            open(self._path, "a", encoding="utf-8", opener=self._opener) as stream,
        ):
            stream.write(lines)
            stream.flush()
            os.fsync(stream.fileno())

    def _lines(self) -> Iterator[bytes]:
        if self._path is None or not self._path.exists():
            return
        with readable_write_errors(self._path):
            content = self._path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            if len(whole) < len(content):
                with open(self._path, "r+b", opener=self._opener) as stream:
                    stream.truncate(len(whole))
        yield from whole.split(b"\n")[:-1]

    def _take(self, line: bytes) -> str:
        """Parse a line and keep its entry; returns the reason if it is refused."""
        try:
            if b'"warm_start"' in line:
                self.warm_start.append(WarmStartTrial.model_validate_json(line))
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


def unsafe_attrs_reason(attrs: Mapping[str, Any]) -> str:
    """Reason why these attributes must not reach a sampler; empty if they may.

    Optuna's CMA-ES stores its optimizer as a pickle in the trial's attributes and unpickles it unchecked. A run
    directory may come from an untrusted source, so the pickle is first loaded here, by an unpickler restricted to the
    classes of such an optimizer: if this fails, Optuna does not receive it.
    """
    for prefix in _OPTIMIZERS:
        parts = [value for key, value in attrs.items() if key.startswith(prefix)]
        if not parts:
            continue
        try:
            # Joined in the way of Optuna.
            content = bytes.fromhex("".join(attrs[f"{prefix}:{number}"] for number in range(len(parts))))
            _Unpickler(io.BytesIO(content)).load()
        except _Foreign as err:
            return f"its {prefix!r} holds more than an optimizer: {err}; none of it was executed"
        except Exception as err:  # damaged bytes can raise any exception
            return f"its {prefix!r} cannot be read: {type(err).__name__}"
    return ""


class _Foreign(pickle.UnpicklingError):
    """Pickled global that is not part of an optimizer."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in _HARMLESS:
            raise _Foreign(f"{module_name}.{global_name}")
        return super().find_class(module_name, global_name)
