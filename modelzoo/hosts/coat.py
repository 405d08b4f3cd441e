"""CoaT as a host: serial blocks with factorised attention over a class token and a feature map of variable size.

Group-Mix is factorised attention as well, so it fits; there is no N x N map that Re-attention or Refiner could mix.
In the parallel blocks of the full CoaT, three scales share their position encodings, so these models are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from timm.models.coat import CoaT, FactorAttnConvRelPosEnc
from torch import nn

from modelzoo.attention import Slot
from modelzoo.attention.groupmix import GroupMixAttention
from modelzoo.hosts.grid_attention import GridAttention
from modelzoo.hosts.site import AttentionSite, make_mechanism

__all__ = ["coat_sites"]


def coat_sites(model: CoaT) -> list[AttentionSite]:
    """Attention sites of CoaT: one per serial block, stage by stage."""
    stages = (model.serial_blocks1, model.serial_blocks2, model.serial_blocks3, model.serial_blocks4)
    return [CoatSite(model, block) for stage in stages for block in stage]


class CoatSite:
    """Attention site of one serial block."""

    def __init__(self, model: CoaT, block: nn.Module) -> None:
        self._model = model
        self._block = block

    @property
    def weight(self) -> torch.Tensor:
        return self._host.qkv.weight

    @property
    def _host(self) -> FactorAttnConvRelPosEnc:
        assert isinstance(self._block.factoratt_crpe, FactorAttnConvRelPosEnc)
        return self._block.factoratt_crpe

    def why_not(self, name: str) -> str | None:
        if name != "groupmix":
            return f"uses {FactorAttnConvRelPosEnc.__module__}.FactorAttnConvRelPosEnc, which forms no attention map"
        return "has parallel blocks that share one attention over three scales" if self._model.parallel_blocks else None

    def replaces(self, name: str) -> list[str]:
        return [] if self._host.crpe is None else ["convolutional position term of its stage (crpe)"]

    @property
    def slot(self) -> Slot:
        host = self._host
        return Slot(
            dim=host.qkv.in_features,
            num_heads=host.num_heads,
            num_prefix_tokens=1,
            qkv_bias=host.qkv.bias is not None,
            attn_drop=host.attn_drop.p,
            proj_drop=host.proj_drop.p,
        )

    def put(self, name: str, options: Mapping[str, Any]) -> None:
        host = self._host
        mechanism = make_mechanism(name, self.slot, options, host.qkv)
        assert isinstance(mechanism, GroupMixAttention)
        mechanism.qkv = host.qkv
        if isinstance(mechanism.proj, nn.Linear):
            mechanism.proj = host.proj
        self._block.factoratt_crpe = GridAttention(mechanism)
        self._drop_position_term(host.crpe)

    def _drop_position_term(self, crpe: nn.Module | None) -> None:
        """Remove the stage's position encoding from the model if no block of the stage uses it any longer."""
        left = [module for module in self._model.modules() if isinstance(module, FactorAttnConvRelPosEnc)]
        if any(attention.crpe is crpe for attention in left):
            return
        for name, child in self._model.named_children():
            if child is crpe:
                self._model.register_module(name, None)
