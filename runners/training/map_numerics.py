"""How the attention maps of a trial are computed: their precision, and the kernels for them."""

from __future__ import annotations

from torch import nn

from modelzoo.attention.map_kernels.chosen import set_numerics
from modelzoo.attention.map_precision import set_map_precision
from search_space.schema.trial import TrainSpec

__all__ = ["set_map_numerics"]


def set_map_numerics(model: nn.Module, train: TrainSpec) -> None:
    """Let the mechanisms of a model compute as its trial says, wherever a trial is trained or timed."""
    set_map_precision(model, train.map_precision)
    set_numerics(model, "recompute" if train.recompute_maps else train.numerics)
