"""Attention maps that travel from block to block inside a plain host (Refiner): layout, blocks, and the swap.

`sharing: alternate` is the released layout: of each two neighbours among the chosen blocks the first has plain softmax
attention and the second computes only V and refines the map of the first; a last block without a partner stays plain.
`sharing: 2` has two such blocks behind each plain one, 3 three, and so on, as in table 13 of the paper: each refines
the same map by its own weights. Where the number of blocks is no multiple, the last group is shorter; the release,
whose depths are even, has no rule for that. With `refine_shared: false` V is weighed by the borrowed map as it came.
`residual_map` adds head_dim ** -0.5 times the map that the block before hands on to every softmax but the first one's.
A plain or refining block hands on the map that weighed V, a sharing block the map it was given.

timm passes one tensor from block to block, in four ways (the whole sequence, one by one, checkpointed, one by one for
intermediates). So the map is an attribute of that tensor: the block that made the tokens sets it, the block that gets
these very tokens finds it. Nothing is stored in the model, therefore forwards may nest and overlap, a checkpoint that
runs a block again finds what it found the first time, and torch.compile sees through it. Where a hook or reentrant
checkpointing replaces the tokens between two blocks, the map is missing, and the block raises.

Paper:   Refiner: Refining Self-attention for Vision Transformers, Zhou et al. 2021, arXiv:2106.03714.
Source:  written from a description of the released blocks. The mechanisms are in `attention/refiner.py`.

Shapes:  B images, N tokens, D dim, H heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn

from modelzoo.attention.contract import TokenAttention
from modelzoo.attention.distributed_local_attention import expanded_maps
from modelzoo.attention.refiner import MapSharingAttention, RefinedAttention
from modelzoo.hosts.plain import PlainSite
from modelzoo.hosts.site import AttentionSite, foreign_host, own_random_numbers
from search_space.parsing.errors import Problem, SpecError
from search_space.schema.attention import RefinerSpec
from search_space.schema.trial import ArchSpec

__all__ = ["Carrier", "MapCarryingBlock", "carriers", "carries_maps", "hand_on", "handed_map", "swap_carrying"]

_RIDER = "attention_map_of_last_block"


def carries_maps(spec: RefinerSpec) -> bool:
    """Whether an option asks for maps that go from block to block."""
    return spec.sharing != "none" or spec.residual_map or not spec.refine_shared


def swap_carrying(
    model: nn.Module,
    arch: ArchSpec,
    spec: RefinerSpec,
    sites: Sequence[AttentionSite],
    chosen: Sequence[int],
    seed: int,
) -> None:
    """Replace the chosen blocks by blocks that pass maps to each other.

    Only plain hosts have the same tokens in all their blocks.

    Raises:
        SpecError: another host, blocks that are no neighbours where they must be, or maps that cannot be added.
    """
    which = "residual_map" if spec.residual_map and spec.sharing == "none" else "sharing"
    plain = {index: site for index in chosen if isinstance(site := sites[index], PlainSite)}
    if len(plain) < len(chosen) or not isinstance(model, VisionTransformer):
        has_same_tokens = hasattr(model, "blocks")
        reason = (
            "have more than plain attention, and only timm's plain `Block` is rebuilt to hand on maps"
            if has_same_tokens
            else "do not attend over the same tokens"
        )
        raise SpecError(
            Problem(
                f"{which} hands attention maps from block to block, but the blocks of {arch.model!r} {reason}",
                path=f"arch.attention.{which}",
                hint="legal hosts: `vit` and timm's plain vision transformers (vit_*, deit_*, deit3_*)",
            )
        )
    other = next((site.block for site in plain.values() if type(site.block) is not Block), None)
    if other is not None:
        kind = type(other).__name__
        raise SpecError(foreign_host(arch, f"has blocks of kind {kind}, which cannot hand on attention maps"))
    num_heads = plain[chosen[0]].slot.num_heads
    num_maps = num_heads if spec.reduction else expanded_maps(num_heads, spec.expansion)
    for carrier in carriers(spec, chosen, num_heads, num_maps):
        with own_random_numbers(plain[carrier.index], seed, carrier.index):
            model.blocks[carrier.index] = carrier.block(plain[carrier.index], spec)


@dataclass(frozen=True)
class Carrier:
    """Role of one block."""

    index: int
    shares: bool
    refines: bool
    takes_map: bool
    hands_on: bool

    def block(self, site: PlainSite, spec: RefinerSpec) -> MapCarryingBlock:
        """The block of `site` in its new role; new weights come from torch's generator."""
        left_out = {"name", "blocks"} | RefinedAttention.layout
        options = {name: getattr(spec, name) for name in type(spec).model_fields if name not in left_out}
        if self.shares:
            attention = MapSharingAttention(site.slot, apply_transform=self.refines, **options)
        else:
            attention = RefinedAttention(site.slot, apply_transform=self.refines, **options)
        host = site.host.qkv
        attention = attention.to(dtype=host.weight.dtype).train(host.training)
        with torch.no_grad():
            site.with_hosts_linears(attention)
        return MapCarryingBlock(site.block, attention, takes_map=self.takes_map, hands_on=self.hands_on)


def carriers(spec: RefinerSpec, chosen: Sequence[int], num_heads: int, num_maps: int) -> list[Carrier]:
    """The roles of the chosen blocks, in their order.

    Args:
        num_maps: maps that a refining block hands on.

    Raises:
        SpecError: blocks that lie apart where they must be neighbours, or maps that cannot be added.
    """
    chosen = sorted(chosen)
    # Blocks of a group: the one that computes the map, and those that borrow it.
    group = {"none": 1, "alternate": 2}.get(str(spec.sharing)) or int(spec.sharing) + 1
    problems = _unused_problems(spec)
    if group > 1:
        problems += _sharing_problems(spec, chosen, group)
    if spec.residual_map:
        problems += _residual_problems(chosen, num_heads, num_heads if group > 1 else num_maps)
    if problems:
        raise SpecError(problems)
    roles = []
    for position, index in enumerate(chosen):
        shares = position % group > 0
        is_last = position == len(chosen) - 1
        roles.append(
            Carrier(
                index,
                shares=shares,
                refines=spec.refine_shared if shares else group == 1,
                takes_map=shares or (spec.residual_map and position > 0),
                hands_on=not is_last and (spec.residual_map or (position + 1) % group > 0),
            )
        )
    return roles


class MapCarryingBlock(nn.Module):
    """timm's `Block` with the same parts under the same names, and maps that go from block to block.

    Args:
        block: the block whose parts move in here.
        attention: takes the place of the block's attention.
        takes_map: whether the map of the block before goes into the attention.
        hands_on: whether the block after this one needs the map of this one.
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
        incoming_BHNN = handed_map(x_BND) if self.takes_map else None
        out_BND, handed_on_BHNN = self.attn.attend(self.norm1(x_BND), incoming_BHNN)
        x_BND = x_BND + self.drop_path1(self.ls1(out_BND))
        x_BND = x_BND + self.drop_path2(self.ls2(self.mlp(self.norm2(x_BND))))
        if self.hands_on:
            hand_on(x_BND, handed_on_BHNN)
        return x_BND


def hand_on(x_BND: torch.Tensor, map_BHNN: torch.Tensor | None) -> None:
    """Let the block that gets these very tokens find the map."""
    setattr(x_BND, _RIDER, map_BHNN)


def handed_map(x_BND: torch.Tensor) -> torch.Tensor:
    """Map that came with these tokens.

    Raises:
        ValueError: none came.
    """
    incoming_BHNN = getattr(x_BND, _RIDER, None)
    if incoming_BHNN is None:
        raise ValueError(
            "this block refines the attention map of the block before it, but its tokens came without one: "
            "run the blocks in their order, let no hook replace what a block returns, and checkpoint "
            "with use_reentrant=False"
        )
    return incoming_BHNN


def _unused_problems(spec: RefinerSpec) -> list[Problem]:
    """Options that have no effect because no block refines a map."""
    if spec.refine_shared:
        return []
    if spec.sharing == "none":
        text = "no block shares the map of another, so refine_shared=False would have no effect"
        hint = "leave refine_shared out, or write sharing: alternate"
        return [Problem(text, path="arch.attention.refine_shared", hint=hint)]
    of_maps = sorted(set(type(spec).model_fields) - {"name", "blocks"} - RefinedAttention.layout)
    written = {name: getattr(spec, name) for name in of_maps}
    return [
        Problem(
            f"with refine_shared=False no block refines a map, so {name}={value} would have no effect",
            path=f"arch.attention.{name}",
            hint=f"leave {name} out",
        )
        for name, value in written.items()
        if value != type(spec).model_fields[name].get_default()
    ]


def _sharing_problems(spec: RefinerSpec, chosen: Sequence[int], group: int) -> list[Problem]:
    borrowing = [position for position in range(len(chosen)) if position % group]
    pairs = [(chosen[position - position % group], chosen[position], position % group) for position in borrowing]
    apart = [(first, second) for first, second, distance in pairs if second != first + distance]
    if len(chosen) < 2:
        text = f"sharing={spec.sharing!r} needs two neighbouring blocks, but got {list(chosen)}"
    elif apart:
        pairs = " and ".join(f"block {second} the map of block {first}" for first, second in apart)
        text = f"a block can share only the map of the block right before it, but here {pairs}"
    else:
        return []
    hint = f"choose groups of {group} neighbours, such as all"
    if group == 2:
        hint = "choose pairs of neighbours, such as all or [2, 3, 6, 7]"
    return [Problem(text, path="arch.attention.blocks", hint=hint)]


def _residual_problems(chosen: Sequence[int], num_heads: int, num_maps: int) -> list[Problem]:
    problems = []
    if len(chosen) < 2 or chosen[-1] - chosen[0] != len(chosen) - 1:
        problems.append(
            Problem(
                f"residual_map goes from block to block and needs neighbouring blocks, but got {list(chosen)}",
                path="arch.attention.blocks",
                hint="choose two or more neighbours, such as all, {last: 4} or {first: 4}",
            )
        )
    if num_maps != num_heads:
        problems.append(
            Problem(
                f"residual_map adds maps to maps, but without reduction {num_maps} maps meet the softmax maps of "
                f"num_heads={num_heads}",
                path="arch.attention.residual_map",
                hint="write reduction: true, or sharing: alternate",
            )
        )
    return problems
