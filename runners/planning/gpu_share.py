"""How much of a GPU a trial of known memory gets: for the engine that places it and the plan that foretells it.

Separate from the engine's `gpu_memory`, which asks a cluster: a plan knows of no cluster and imports no Ray.
"""

from __future__ import annotations

import math

from search_space import Resources

__all__ = ["foreseen", "is_bound", "share_of"]

_CONTEXT_GIB = 0.75  # CUDA's own, of every process
_SPARE = 1.15  # the allocator's fragments
_STEPS = 20


def share_of(gib: float, total_gib: float) -> float:
    """Share of a GPU with `total_gib` that holds a trial whose tensors take `gib`; a whole one at most."""
    needed = (gib * _SPARE + _CONTEXT_GIB) / total_gib
    return min(1.0, math.ceil(needed * _STEPS - 1e-9) / _STEPS) if math.isfinite(needed) else 1.0


def is_bound(resources: Resources, gpu_gib: float | None) -> bool:
    """Whether the share is not known before the run (`auto` is measured then): a whole GPU is all one can say."""
    return resources.gpu_memory is not None and (isinstance(resources.gpu_memory, str) or gpu_gib is None)


def foreseen(resources: Resources, gpu_gib: float | None) -> Resources:
    """The resources with `gpus` that a trial will take, or takes at most, on GPUs of so much memory."""
    given = resources.gpu_memory
    if given is None:
        return resources
    gpus = 1.0 if isinstance(given, str) or gpu_gib is None else share_of(given, gpu_gib)
    return resources.model_copy(update={"gpus": gpus})
