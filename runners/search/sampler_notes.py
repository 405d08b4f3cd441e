"""What a sampler noted in earlier trials, read from a file that may be of another hand.

Optuna's CMA-ES keeps its optimizer as a pickle in the trial's attributes and unpickles it without a look. A run
directory may come from anybody, so that pickle is read here first, by an unpickler that knows the classes of such an
optimizer and no others: what it cannot read, Optuna never sees.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from typing import Any

__all__ = ["reason_against_notes"]

_OPTIMIZERS = ("cma:optimizer", "sepcma:optimizer", "cmawm:optimizer")
_NUMPY = ("numpy._core.multiarray", "numpy.core.multiarray")
_HARMLESS = {
    *(("cmaes._cma", "CMA"), ("cmaes._sepcma", "SepCMA"), ("cmaes._cmawm", "CMAwM")),
    *(("numpy", "ndarray"), ("numpy", "dtype")),
    *((module, name) for module in _NUMPY for name in ("_reconstruct", "scalar")),
    *((module, "_frombuffer") for module in ("numpy._core.numeric", "numpy.core.numeric")),
}


def reason_against_notes(notes: Mapping[str, Any]) -> str:
    """Why these notes must not reach a sampler; empty if they may."""
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
