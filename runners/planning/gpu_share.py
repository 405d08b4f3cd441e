"""Fractional GPUs by memory: the share of a GPU for a trial, for placement by the engine and for the forecast.

Separate from the engine's `gpu_memory`, which queries a cluster: a plan needs no cluster and imports no Ray.
"""

from __future__ import annotations

import math

from search_space import Resources

__all__ = ["foreseen", "is_bound", "share_of"]

_CONTEXT_GIB = 0.75  # CUDA context of every process
_SPARE = 1.15  # fragmentation of the allocator
_STEPS = 20


def share_of(gib: float, total_gib: float) -> float:
    """Share of a GPU of `total_gib` for a trial whose tensors take `gib`; at most 1."""
    needed = (gib * _SPARE + _CONTEXT_GIB) / total_gib
    return min(1.0, math.ceil(needed * _STEPS - 1e-9) / _STEPS) if math.isfinite(needed) else 1.0


def is_bound(resources: Resources, gpu_gib: float | None) -> bool:
    """Whether the share is unknown before the run (`auto` is measured then), so that 1 is only an upper bound."""
    return resources.gpu_memory is not None and (isinstance(resources.gpu_memory, str) or gpu_gib is None)


def foreseen(resources: Resources, gpu_gib: float | None) -> Resources:
    """Resources with the `gpus` that a trial takes (an upper bound if `is_bound`) on GPUs of `gpu_gib` memory."""
    given = resources.gpu_memory
    if given is None:
        return resources
    gpus = 1.0 if isinstance(given, str) or gpu_gib is None else share_of(given, gpu_gib)
    return resources.model_copy(update={"gpus": gpus})
