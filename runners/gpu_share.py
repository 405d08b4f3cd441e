"""How much of a GPU a trial of known memory gets: for the engine that places it and the plan that foretells it.

Separate from the engine's `gpu_memory`, which asks a cluster: a plan knows of no cluster and imports no Ray.
"""

from __future__ import annotations

import math

__all__ = ["share_of"]

_CONTEXT_GIB = 0.75  # CUDA's own, of every process
_SPARE = 1.15  # the allocator's fragments
_STEPS = 20


def share_of(gib: float, total_gib: float) -> float:
    """Share of a GPU with `total_gib` that holds a trial whose tensors take `gib`; a whole one at most."""
    needed = (gib * _SPARE + _CONTEXT_GIB) / total_gib
    return min(1.0, math.ceil(needed * _STEPS - 1e-9) / _STEPS) if math.isfinite(needed) else 1.0
