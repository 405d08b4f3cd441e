"""Blocks that hand their attention map to the next one, inside a host that hands on nothing but tokens.

timm passes one tensor from block to block, in four ways (the whole sequence, one by one, checkpointed, one by one for
intermediates). So the map rides on that tensor, as its attribute: the block that made the tokens puts it there, the
block that gets these very tokens finds it. Nothing is stored in the model, therefore forwards may nest and overlap, a
checkpoint that runs a block again finds what it found the first time, and torch.compile sees through it. Where
somebody replaces the tokens between two blocks (a hook, reentrant checkpointing), the map is missing, and that is said.

Paper:   Refiner: Refining Self-attention for Vision Transformers, Zhou et al. 2021, arXiv:2106.03714.
Source:  written from a description of the released blocks.

Shapes:  B images, N tokens, D dim, H heads.
"""

from __future__ import annotations

import torch
from timm.models.vision_transformer import Block
from torch import nn

from modelzoo.attention.contract import TokenAttention

__all__ = ["MapCarryingBlock"]

_RIDER = "attention_map_of_last_block"


class MapCarryingBlock(nn.Module):
    """timm's `Block` with the same parts under the same names, and maps that travel.

    Args:
        block: the block whose parts move in here.
        attention: takes the place of the block's attention.
        takes_map: whether the map of the block before goes into the attention.
        hands_on: whether the block after this one wants the map of this one.
    """

    def __init__(self, block: nn.Module, attention: TokenAttention, *, takes_map: bool, hands_on: bool) -> None:
        super().__init__()
        assert isinstance(block, Block)
        self.norm1, self.attn = block.norm1, attention
        self.ls1, self.drop_path1 = block.ls1, block.drop_path1
        self.norm2, self.mlp = block.norm2, block.mlp
        self.ls2, self.drop_path2 = block.ls2, block.drop_path2
        self.takes_map = takes_map
        self.hands_on = hands_on
        self.train(block.training)

    def extra_repr(self) -> str:
        return f"takes_map={self.takes_map}, hands_on={self.hands_on}"

    def forward(
        self, x_BND: torch.Tensor, attn_mask: torch.Tensor | None = None, is_causal: bool = False
    ) -> torch.Tensor:
        if attn_mask is not None or is_causal:
            raise ValueError("blocks that hand on attention maps cannot honour an attention mask")
        incoming_BHNN = self._incoming(x_BND) if self.takes_map else None
        out_BND, handed_on_BHNN = self.attn.attend(self.norm1(x_BND), incoming_BHNN)
        x_BND = x_BND + self.drop_path1(self.ls1(out_BND))
        x_BND = x_BND + self.drop_path2(self.ls2(self.mlp(self.norm2(x_BND))))
        if self.hands_on:
            setattr(x_BND, _RIDER, handed_on_BHNN)
        return x_BND

    def _incoming(self, x_BND: torch.Tensor) -> torch.Tensor:
        incoming_BHNN = getattr(x_BND, _RIDER, None)
        if incoming_BHNN is None:
            raise ValueError(
                "this block refines the attention map of the block before it, but its tokens came without one: "
                "run the blocks in their order, let no hook replace what a block returns, and checkpoint "
                "with use_reentrant=False"
            )
        return incoming_BHNN
