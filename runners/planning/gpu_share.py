"""Fractional GPUs by memory: the share of a GPU for a trial, and what of it is left for tensors.

A share is of the whole memory of a GPU: the tensors of a trial and the CUDA context of its process, which PyTorch's
allocator neither makes nor counts. So the allocator is limited to the share without the context; were it limited to the
share itself, ten trials of a tenth each would together want ten contexts more than there is.

Separate from the engine's `gpu_memory`, which queries a cluster: a plan needs no cluster and imports no Ray.
"""

from __future__ import annotations

import math

from search_space import Problem, Resources, SpecError

__all__ = ["CONTEXT_GIB", "allocator_fraction", "foreseen", "is_bound", "share_of"]

CONTEXT_GIB = 0.75
"""Memory of a process on a GPU beside its tensors: CUDA context, kernels, handles of libraries. Assumed, not measured;
0.3 to 0.6 are reported for recent GPUs, and more with NCCL."""
_SPARE = 1.15  # longer trainings fragment the allocator's memory more than the few steps of a probe
_STEPS = 20


def share_of(gib: float, total_gib: float) -> float:
    """Share of a GPU of `total_gib` for a trial whose tensors take `gib`; at most 1."""
    needed = (gib * _SPARE + CONTEXT_GIB) / total_gib
    return min(1.0, math.ceil(needed * _STEPS - 1e-9) / _STEPS) if math.isfinite(needed) else 1.0


def allocator_fraction(share: float, total_gib: float) -> float:
    """Fraction of a GPU of `total_gib` that PyTorch's allocator may hold in a process with this share of it.

    Raises:
        SpecError: the share has no room for tensors beside the CUDA context.
    """
    fraction = (share * total_gib - CONTEXT_GIB) / total_gib
    if fraction <= 0:
        text = f"{share:g} of a GPU of {total_gib:.3g} GiB is {share * total_gib:.2g} GiB"
        text += f", and the CUDA context of a trial alone takes about {CONTEXT_GIB:g} GiB"
        hint = f"give more than {CONTEXT_GIB / total_gib:.2g}, or gpu_memory in GiB, which adds the context itself"
        raise SpecError(Problem(text, path="resources.gpus", hint=hint))
    return fraction


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
