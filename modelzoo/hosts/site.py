"""Replaceable attention position of a host model: the contract of every family of hosts, and draws of new weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import nn

from modelzoo.attention import ATTENTION, Slot, TokenAttention
from search_space.parsing.errors import Problem, SpecError
from search_space.plugins import plugin_of
from search_space.plugins.contracts import member_failed
from search_space.schema.trial import ArchSpec

__all__ = [
    "NO_GRID",
    "AttentionSite",
    "fixed_grid",
    "foreign_host",
    "make_mechanism",
    "own_random_numbers",
    "unknown_attention",
]

NO_GRID = "takes images of any size, so that its blocks do not know the grid of their patches"

_LEGAL_HOSTS = (
    "legal hosts: `vit` and timm's plain vision transformers (vit_*, deit_*, deit3_*), eva*, beit*, naflexvit_*, "
    "swin_*, swinv2_*, pvt_v2_*, and coat_lite_* for groupmix (docs/hosts.md has the table); "
    "`softmax` keeps the attention that a model has"
)

# Why a kind of attention has no map that the mechanisms could take, by the name of its class.
_WHY = {
    "ChannelAttention": "attends between channels, so it forms no map between tokens",
    "ChannelAttentionV2": "attends between channels, so it forms no map between tokens",
    "ClassAttn": "lets only the class token attend, so its maps have one row",
    "CrossCovarianceAttn": "attends between channels, so it forms no map between tokens",
    "DiffAttention": "weighs V by the difference of two softmax maps, and the mechanisms are defined for one",
    "FactorAttnConvRelPosEnc": "forms no attention map",
    "TalkingHeadAttn": "mixes its heads before and after the softmax by itself",
    "XCA": "attends between channels, so it forms no map between tokens",
}


class AttentionSite(Protocol):
    """Attention site: one attention layer of a host that a mechanism can replace."""

    @property
    def weight(self) -> torch.Tensor:
        """A weight of the current attention, for the device and dtype of the site."""
        ...

    @property
    def slot(self) -> Slot:
        """Sizes that a mechanism gets here; only if `why_not` returns None."""
        ...

    def replaces(self, name: str) -> list[str]:
        """What else of the host the mechanism takes the place of, beside its attention map; only if it fits."""
        ...

    def why_not(self, name: str) -> str | None:
        """Reason why the mechanism `name` does not fit here, as the end of `... of MODEL, which `; None if it fits."""
        ...

    def put(self, name: str, options: Mapping[str, Any]) -> None:
        """Replace the attention by the mechanism, which takes over the linear layers that both have.

        Raises:
            SpecError: the mechanism does not fit the sizes.
        """
        ...


def make_mechanism(name: str, slot: Slot, options: Mapping[str, Any], like: nn.Linear) -> TokenAttention:
    """Build a mechanism with the dtype and training mode of a linear layer of the host.

    Raises:
        SpecError: it does not fit the sizes; or the constructor of a plug-in raised, with the line of its file.
    """
    kind = ATTENTION[name]
    try:
        made = kind(slot, **options)
    except SpecError:
        raise
    except Exception as err:
        if plugin_of(kind.__module__) is None:
            raise
        raise SpecError(replace(member_failed("attention", name, err), path="arch.attention")) from err
    return made.to(dtype=like.weight.dtype).train(like.training)


def fixed_grid(model: nn.Module) -> tuple[int, int] | None:
    """Patch grid (height, width) that a model was built for; None if its patch embedding has none."""
    grid = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    return None if grid is None else (int(grid[0]), int(grid[1]))


def unknown_attention(host: nn.Module) -> str:
    """Reason against an attention that no file of this folder adapts."""
    why = "is a mechanism already" if isinstance(host, TokenAttention) else "archsweep has no adapter for"
    return f"uses {type(host).__module__}.{type(host).__qualname__}, which {_WHY.get(type(host).__name__, why)}"


@contextmanager
def own_random_numbers(site: AttentionSite | nn.Linear, seed: int, index: int) -> Iterator[None]:
    """Random numbers of one block, on the device of its site: they depend on seed and block alone, and leave torch's
    generator as it was."""
    own = int.from_bytes(hashlib.sha256(f"{seed}:{index}".encode()).digest()[:7], "big")
    with torch.random.fork_rng(devices=[]), torch.device(site.weight.device):
        torch.default_generator.manual_seed(own)
        yield


def foreign_host(arch: ArchSpec, reason: str) -> Problem:
    """A mechanism that cannot replace the attention of the host, and why."""
    return Problem(
        f"attention {arch.attention.name!r} cannot replace the attention of {arch.model!r}, which {reason}",
        path="arch.attention",
        hint=_LEGAL_HOSTS,
    )
