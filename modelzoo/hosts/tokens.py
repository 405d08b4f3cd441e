"""Hosts that attend over all their tokens, with more than plain attention: extras, rotary positions, position biases.

EVA, EVA-02, DINOv3, BEiT, vision transformers with relative positions or with norms of queries and keys, and NaFlexViT.
What they have in common, one attention over the same tokens in every block, is in `hosted_attention.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from timm.layers.attention import Attention, AttentionRope
from timm.models.beit import Attention as BeitAttention
from timm.models.eva import EvaAttention
from timm.models.vision_transformer_relpos import RelPosAttention
from torch import nn

from modelzoo.attention import ATTENTION, Slot
from modelzoo.hosts.hosted_attention import PARTS, HostedGroupMixAttention, HostedMapAttention
from modelzoo.hosts.parallel import ParallelScalingSite, ParallelThingsSite, is_parallel_scaling, is_parallel_things
from modelzoo.hosts.plain import PlainSite, is_plain
from modelzoo.hosts.site import NO_GRID, AttentionSite, fixed_grid, make_mechanism, unknown_attention

__all__ = ["TokenSite", "token_sites"]

# Exactly these classes: a subclass computes a different function.
_KINDS = (Attention, AttentionRope, BeitAttention, EvaAttention, RelPosAttention)
# Positions that a model computes once and hands to all its blocks: name of the module -> what it is.
_SHARED_POSITIONS = {
    "rope": "rotary positions of queries and keys (rope)",
    "rel_pos_bias": "relative position bias that all blocks share (rel_pos_bias)",
    "shared_rel_pos": "relative position bias that all blocks share (shared_rel_pos)",
}


def token_sites(model: nn.Module) -> list[AttentionSite]:
    """Attention sites of a model whose blocks all attend over the same tokens: one per block."""
    return [_site(model, block) for block in model.get_submodule("blocks").children()]


def _site(model: nn.Module, block: nn.Module) -> AttentionSite:
    if is_parallel_things(block):
        return ParallelThingsSite(
            [_site_of(model, block, branch) for branch in block.get_submodule("attns").children()]
        )
    if is_parallel_scaling(block):
        return ParallelScalingSite(model, block)
    return _site_of(model, block, block)


def _site_of(model: nn.Module, block: nn.Module, owner: nn.Module) -> AttentionSite:
    if is_plain(getattr(owner, "attn", None)):
        return PlainSite(model, block, owner)
    return TokenSite(model, block, owner)


class TokenSite:
    """Attention site of one block.

    Args:
        owner: the module that has it as `attn`: the block, or a branch of it.
    """

    def __init__(self, model: nn.Module, block: nn.Module, owner: nn.Module) -> None:
        self.block = block
        self._owner = owner
        self._model = model

    @property
    def weight(self) -> torch.Tensor:
        return self._first_linear.weight

    @property
    def _host(self) -> nn.Module:
        return self._owner.get_submodule("attn")

    @property
    def _first_linear(self) -> nn.Linear:
        host = self._host
        linear = host.q_proj if getattr(host, "qkv", None) is None else host.qkv
        assert isinstance(linear, nn.Linear)
        return linear

    @property
    def slot(self) -> Slot:
        """Sizes of the attention between its projections: its width may differ from the block's."""
        host, linear = self._host, self._first_linear
        width = linear.out_features // (1 if getattr(host, "qkv", None) is None else 3)
        return Slot(
            dim=width,
            num_heads=int(host.num_heads),  # pyright: ignore[reportArgumentType]
            grid_size=fixed_grid(self._model),
            num_prefix_tokens=int(self._model.num_prefix_tokens),  # pyright: ignore[reportArgumentType]
            attn_drop=_rate(host, "attn_drop"),
            proj_drop=_rate(host, "proj_drop"),
        )

    def why_not(self, name: str) -> str | None:
        host = getattr(self._owner, "attn", None)
        if host is None:
            return f"has blocks of kind {type(self.block).__name__}, without one attention of their own"
        if type(host) not in _KINDS:
            return unknown_attention(host)
        if foreign := _parts_of(host) - PARTS:
            return f"has attention with a part that archsweep does not know ({', '.join(sorted(foreign))})"
        if ATTENTION[name].mixes_maps:
            return None
        if name != "groupmix":
            return "has attention of its own kind"
        if getattr(host, "num_kv_groups", 1) > 1:
            return "has fewer heads of keys and values than of queries, which Group-Mix aggregates together"
        return NO_GRID if fixed_grid(self._model) is None else None

    def replaces(self, name: str) -> list[str]:
        if name != "groupmix":
            return []
        host, found = self._host, list[str]()
        if not isinstance(getattr(host, "q_norm", nn.Identity()), nn.Identity):
            found.append("norm of queries and keys (q_norm, k_norm)")
        if any(getattr(host, part, None) is not None for part in ("rel_pos", "relative_position_bias_table")):
            found.append("relative position bias")
        shared = [what for part, what in _SHARED_POSITIONS.items() if getattr(self._model, part, None) is not None]
        return found + shared

    def put(self, name: str, options: Mapping[str, Any]) -> None:
        mechanism = make_mechanism(name, self.slot, options, self._first_linear)
        if ATTENTION[name].mixes_maps:
            self._owner.attn = HostedMapAttention(self._host, mechanism)
            return
        self._owner.attn = HostedGroupMixAttention(self._host, mechanism)
        self._drop_shared_positions()

    def _drop_shared_positions(self) -> None:
        """Remove the positions that the model computes for its blocks if no block uses them any longer."""
        blocks = self._model.get_submodule("blocks").children()
        if not all(isinstance(getattr(block, "attn", None), HostedGroupMixAttention) for block in blocks):
            return
        for part in _SHARED_POSITIONS:
            if isinstance(getattr(self._model, part, None), nn.Module):
                self._model.register_module(part, None)


def _parts_of(host: nn.Module) -> set[str]:
    modules = {name for name, _ in host.named_children()}
    weights = {name for name, _ in host.named_parameters(recurse=False)}
    return modules | weights | {name for name, _ in host.named_buffers(recurse=False)}


def _rate(host: nn.Module, part: str) -> float:
    dropout = host.get_submodule(part)
    return dropout.p if isinstance(dropout, nn.Dropout) else 0.0
