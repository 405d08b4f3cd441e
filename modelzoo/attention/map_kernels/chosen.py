"""Choice of kernels for the maps of a mechanism: operation by operation, or in fewer passes over memory.

`single` leaves everything to PyTorch's modules, one after the other. `auto` computes the same in another order of
operations, on a CPU in float32 or float64, where that takes less time: maps of a few images at a time, so that they
stay in the processor's cache, channels last, and with norms folded into what comes before them. Elsewhere nothing was
measured, so there both are the same. `recompute` does so in every training, also on a GPU and at sizes where it takes
longer, because these kernels keep few maps for the backward pass. A mechanism built by hand has `single`; a trial sets
what `train.numerics` and `train.recompute_maps` say.

Shapes:  B images, M maps, N queries, K keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from modelzoo.attention.recomputed_batchnorm import BatchNorm2dOfOnePass

__all__ = [
    "BYTES_AT_A_TIME",
    "Numerics",
    "are_folded",
    "are_in_training",
    "few_at_a_time",
    "is_faster_in_training",
    "set_numerics",
    "takes_kernels",
]

Numerics = Literal["auto", "single", "recompute"]

_FEWEST_MAPS, _FEWEST_ENTRIES = 16, 2**18
"""From how many expanded maps, and entries of them, a training step in kernels of its own takes less time."""

BYTES_AT_A_TIME = 2**21
"""Of the largest intermediate maps that are computed at a time: a few times the second-level cache of a core."""


def set_numerics(model: nn.Module, numerics: Numerics) -> None:
    """Choose the kernels of every mechanism in `model`."""
    for module in model.modules():
        if hasattr(module, "numerics"):
            vars(module)["numerics"] = numerics


def takes_kernels(numerics: Numerics, map_BHNK: Tensor) -> bool:
    """Whether such maps have kernels of their own.

    Not in graphs that are recorded: a trace would hold the slices of its example's batch, and leave the further images
    of a larger one undefined.
    """
    is_recorded = isinstance(map_BHNK, torch.fx.Proxy) or torch.jit.is_tracing() or torch.compiler.is_compiling()
    if numerics == "single" or is_recorded:
        return False
    kind = map_BHNK.device.type
    if kind not in (("cpu",) if numerics == "auto" else ("cpu", "cuda", "meta")):
        return False
    is_rounded = kind != "meta" and torch.is_autocast_enabled(kind)
    return map_BHNK.dtype in (torch.float32, torch.float64) and not is_rounded


def is_faster_in_training(numerics: Numerics, map_BHNK: Tensor, num_expanded: int) -> bool:
    """Whether training is to take the kernels: to save memory, or because that many expanded maps are enough to be
    computed faster by them than by PyTorch's modules."""
    entries = map_BHNK.numel() // map_BHNK.shape[1] * num_expanded
    return numerics == "recompute" or (num_expanded >= _FEWEST_MAPS and entries >= _FEWEST_ENTRIES)


def are_folded(norms: list[nn.Module]) -> bool:
    """Whether all norms are fixed affine functions that nothing differentiates: in evaluation, without gradients."""
    return not torch.is_grad_enabled() and all(_is_plain(norm) and not norm.training for norm in norms)


def are_in_training(norms: list[nn.Module]) -> bool:
    """Whether all norms take the statistics of this batch, and of this process alone."""
    return all(_is_plain(norm) and norm.training for norm in norms)


def _is_plain(norm: nn.Module) -> bool:
    return isinstance(norm, BatchNorm2dOfOnePass) and norm.affine and norm.track_running_stats


def few_at_a_time(batch: Tensor, entries_of_one: int) -> Iterator[slice]:
    """Slices of a batch, each of as many images as fit the cache with that many entries, and of at least one.

    Another device than a CPU takes all at once.
    """
    size = max(1, BYTES_AT_A_TIME // max(1, entries_of_one * batch.element_size()))
    size = size if batch.device.type == "cpu" else len(batch)
    for start in range(0, len(batch), size):
        yield slice(start, min(start + size, len(batch)))
