"""Parallel blocks of vision transformers as hosts: several attentions side by side, or attention beside the MLP.

Paper:   Three Things Everyone Should Know about Vision Transformers, Touvron et al. 2022, arXiv:2203.09795
         (`ParallelThingsBlock`: its attentions are sites like any other, and a chosen block swaps all of them);
         Scaling Vision Transformers to 22 Billion Parameters, Dehghani et al. 2023, arXiv:2302.05442
         (`ParallelScalingBlock`: one projection in front of attention and MLP, so the block itself is rebuilt).
Source:  written from timm's interface; equal to timm's blocks at the identity (see tests).

Shapes:  B images, N tokens, D dim, H heads, E head_dim, M maps that weigh V, F hidden width of the MLP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from timm.models import register_notrace_module
from timm.models.vision_transformer import ParallelScalingBlock, ParallelThingsBlock
from torch import nn

from modelzoo.attention import ATTENTION, Slot
from modelzoo.attention.contract import TokenAttention, softmax_map, unmasked
from modelzoo.attention.groupmix import GroupMixAttention
from modelzoo.hosts.hosted_attention import adopt
from modelzoo.hosts.site import NO_GRID, AttentionSite, fixed_grid, make_mechanism
from search_space.parsing.errors import Problem, SpecError

__all__ = ["ParallelScalingSite", "ParallelThingsSite", "is_parallel_scaling", "is_parallel_things"]


def is_parallel_things(block: nn.Module) -> bool:
    """Whether the block has several attentions side by side."""
    return type(block) is ParallelThingsBlock


def is_parallel_scaling(block: nn.Module) -> bool:
    """Whether the block computes attention and MLP from one projection."""
    return type(block) is ParallelScalingBlock


class ParallelThingsSite:
    """The attentions of one block, which are swapped together."""

    def __init__(self, branches: Sequence[AttentionSite]) -> None:
        self._branches = branches

    @property
    def weight(self) -> torch.Tensor:
        return self._branches[0].weight

    @property
    def slot(self) -> Slot:
        return self._branches[0].slot

    def why_not(self, name: str) -> str | None:
        return next((reason for branch in self._branches if (reason := branch.why_not(name)) is not None), None)

    def replaces(self, name: str) -> list[str]:
        return self._branches[0].replaces(name)

    def put(self, name: str, options: Mapping[str, Any]) -> None:
        for branch in self._branches:
            branch.put(name, options)


class ParallelScalingSite:
    """Attention site of one block with attention beside the MLP."""

    def __init__(self, model: nn.Module, block: nn.Module) -> None:
        assert isinstance(block, ParallelScalingBlock)
        self._model = model
        self._block = block

    @property
    def weight(self) -> torch.Tensor:
        return self._block.in_proj.weight

    @property
    def slot(self) -> Slot:
        return Slot(
            dim=self._block.in_proj.in_features,
            num_heads=self._block.num_heads,
            grid_size=fixed_grid(self._model),
            num_prefix_tokens=int(self._model.num_prefix_tokens),  # pyright: ignore[reportArgumentType]
            attn_drop=self._block.attn_drop.p,
        )

    def why_not(self, name: str) -> str | None:
        if ATTENTION[name].mixes_maps:
            return None
        if name != "groupmix":
            return "has attention and MLP behind one projection"
        return NO_GRID if fixed_grid(self._model) is None else None

    def replaces(self, name: str) -> list[str]:
        has_norm = not isinstance(self._block.q_norm, nn.Identity)
        return ["norm of queries and keys (q_norm, k_norm)"] if name == "groupmix" and has_norm else []

    def put(self, name: str, options: Mapping[str, Any]) -> None:
        block = self._block
        mechanism = make_mechanism(name, self.slot, options, block.in_proj)
        if isinstance(mechanism.proj, nn.Identity) and block.out_proj is not None:
            raise SpecError(
                Problem(
                    "token_ensemble=False omits the output projection, which this block shares with its MLP",
                    path="arch.attention.token_ensemble",
                    hint="remove token_ensemble",
                )
            )
        kind = ParallelMapBlock if ATTENTION[name].mixes_maps else ParallelGroupMixBlock
        blocks = self._model.get_submodule("blocks")
        index = next(index for index, child in blocks.named_children() if child is block)
        blocks.register_module(index, kind(block, mechanism))


class _ParallelBlock(nn.Module):
    """timm's block with the same parts under the same names; `values` is what attends."""

    in_norm: nn.Module
    in_proj: nn.Linear
    mlp_bias: nn.Parameter | None
    mlp_drop: nn.Module
    mlp_act: nn.Module
    out_proj: nn.Linear | None
    attn_out_proj: nn.Module
    mlp_out_proj: nn.Module
    ls: nn.Module
    drop_path: nn.Module

    def __init__(self, block: ParallelScalingBlock, mechanism: TokenAttention) -> None:
        super().__init__()
        adopt(self, block, "in_norm", "in_proj", "mlp_bias", "mlp_drop", "mlp_act")
        adopt(self, block, "out_proj", "attn_out_proj", "mlp_out_proj", "ls", "drop_path")
        self.in_split = list(block.in_split)
        if isinstance(mechanism.proj, nn.Identity):  # a mechanism without output projection, by an option
            self.attn_out_proj = nn.Identity()
        mechanism.drop_linears()
        self.mechanism = mechanism
        self.train(block.training)

    def forward(
        self, x_BND: torch.Tensor, attn_mask: torch.Tensor | None = None, is_causal: bool = False
    ) -> torch.Tensor:
        x_BND = unmasked(x_BND, attn_mask, is_causal, type(self.mechanism).__name__)
        with self.mechanism.in_query_precision(x_BND) as wide:
            projected = self.in_proj(wide(self.in_norm(x_BND)))
        mlp_BNF, q_BND, k_BND, v_BND = projected.split(self.in_split, dim=-1)
        if self.mlp_bias is not None:
            mlp_BNF = mlp_BNF + self.mlp_bias
        mlp_BNF = self.mlp_drop(self.mlp_act(mlp_BNF))
        out_BND = self.values(q_BND, k_BND, v_BND)
        if self.out_proj is None:
            y_BND = self.attn_out_proj(out_BND) + self.mlp_out_proj(mlp_BNF)
        else:
            y_BND = self.out_proj(torch.cat((out_BND, mlp_BNF), dim=-1))
        return x_BND + self.drop_path(self.ls(y_BND))

    def values(self, q_BND: torch.Tensor, k_BND: torch.Tensor, v_BND: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class ParallelMapBlock(_ParallelBlock):
    """The block with a mechanism that transforms its maps."""

    q_norm: nn.Module
    k_norm: nn.Module
    attn_drop: nn.Module

    def __init__(self, block: ParallelScalingBlock, mechanism: TokenAttention) -> None:
        super().__init__(block, mechanism)
        adopt(self, block, "q_norm", "k_norm", "attn_drop")
        self.num_heads, self.scale = block.num_heads, block.scale

    def values(self, q_BND: torch.Tensor, k_BND: torch.Tensor, v_BND: torch.Tensor) -> torch.Tensor:
        heads = (each.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for each in (q_BND, k_BND, v_BND))
        q_BHNE, k_BHNE, v_BHNE = heads
        with self.mechanism.in_map_precision(q_BHNE) as wide:
            softmax_BHNN = softmax_map(self.q_norm(wide(q_BHNE)), self.k_norm(wide(k_BHNE)), self.scale)
            attn_BMNN = self.mechanism.transform(self.attn_drop(softmax_BHNN))
        return self.mechanism.weigh(attn_BMNN, v_BHNE).transpose(1, 2).flatten(2)


class ParallelGroupMixBlock(_ParallelBlock):
    """The block with Group-Mix beside its MLP."""

    def values(self, q_BND: torch.Tensor, k_BND: torch.Tensor, v_BND: torch.Tensor) -> torch.Tensor:
        assert isinstance(self.mechanism, GroupMixAttention)
        return self.mechanism.mix(torch.stack((q_BND, k_BND, v_BND)))


# A leaf of timm's tracer: a trace through it would lose the precision of its maps.
register_notrace_module(_ParallelBlock)
