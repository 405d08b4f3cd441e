"""Refiner's ways to use a map twice, inside plain hosts: which block shares, which adds, which hands on.

`sharing: alternate` is the released layout: of each two neighbours among the chosen blocks the first has plain softmax
attention and the second computes only V and refines the map of the first; a last block without a partner stays plain.
`residual_map` adds head_dim ** -0.5 times the map that the block before hands on to every softmax but the first one's.
What a block hands on: a plain or refining block the map that weighed V, a sharing block the map it was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from modelzoo.attention.map_carrying import MapCarryingBlock
from modelzoo.attention.refiner import MapSharingAttention, RefinedAttention
from modelzoo.hosts.plain import PlainSite
from search_space.parsing.errors import Problem, SpecError
from search_space.schema.attention import RefinerSpec

__all__ = ["Carrier", "carriers"]


@dataclass(frozen=True)
class Carrier:
    """What one block becomes."""

    index: int
    shares: bool
    refines: bool
    takes_map: bool
    hands_on: bool

    def block(self, site: PlainSite, spec: RefinerSpec) -> MapCarryingBlock:
        """The block of `site` in its new role; new weights come from torch's generator."""
        options = {name: getattr(spec, name) for name in ("expansion", "kernel_size", "reduction", "identity")}
        if self.shares:
            attention = MapSharingAttention(site.slot, **options)
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
    alternates = spec.sharing == "alternate"
    problems = []
    if alternates:
        problems += _sharing_problems(chosen)
    if spec.residual_map:
        problems += _residual_problems(chosen, num_heads, num_heads if alternates else num_maps)
    if problems:
        raise SpecError(problems)
    roles = []
    for position, index in enumerate(chosen):
        shares = alternates and position % 2 == 1
        is_last = position == len(chosen) - 1
        roles.append(
            Carrier(
                index,
                shares=shares,
                refines=not alternates,
                takes_map=shares or (spec.residual_map and position > 0),
                hands_on=not is_last and (spec.residual_map or (alternates and position % 2 == 0)),
            )
        )
    return roles


def _sharing_problems(chosen: Sequence[int]) -> list[Problem]:
    apart = [pair for pair in zip(chosen[::2], chosen[1::2], strict=False) if pair[1] != pair[0] + 1]
    if len(chosen) < 2:
        text = f"sharing='alternate' needs two neighbouring blocks, but got {list(chosen)}"
    elif apart:
        pairs = " and ".join(f"block {second} the map of block {first}" for first, second in apart)
        text = f"a block can share only the map of the block right before it, but here {pairs}"
    else:
        return []
    return [Problem(text, path="arch.attention.blocks", hint="choose pairs of neighbours, such as all or [2, 3, 6, 7]")]


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
