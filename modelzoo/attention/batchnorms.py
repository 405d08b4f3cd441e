"""The BatchNorms inside attention mechanisms, which short trainings must recalibrate before they evaluate.

They normalise maps whose variance is tiny beside their initial running variance of 1. Until some 150 training batches
have passed, evaluation mode therefore computes something else than what was trained.
"""

from __future__ import annotations

from torch import nn

from modelzoo.attention import TokenAttention

__all__ = ["attention_batchnorms"]


def attention_batchnorms(model: nn.Module) -> list[nn.Module]:
    """All BatchNorms that stand inside an attention mechanism of `model`, in the order of its modules."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    attentions = [module for module in model.modules() if isinstance(module, TokenAttention)]
    return [module for attention in attentions for module in attention.modules() if isinstance(module, kinds)]
