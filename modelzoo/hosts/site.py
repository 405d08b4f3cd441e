"""Replaceable attention position of a host model: the contract of every family of hosts, and draws of new weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import nn

from modelzoo.attention import ATTENTION, Slot, TokenAttention
from search_space.parsing.errors import Problem
from search_space.schema.trial import ArchSpec

__all__ = ["LEGAL_HOSTS", "AttentionSite", "foreign_host", "make_mechanism", "own_random_numbers"]

LEGAL_HOSTS = (
    "legal hosts: `vit` and timm's plain vision transformers (vit_*, deit_*, deit3_*) without such extras, "
    "swin_* and pvt_v2_* for every mechanism, coat_lite_* for groupmix; "
    "`softmax` keeps the attention that a model has"
)


class AttentionSite(Protocol):
    """One attention of a host."""

    @property
    def weight(self) -> torch.Tensor:
        """A weight of the present attention: its device and dtype are those of the site."""
        ...

    def why_not(self, name: str) -> str | None:
        """What speaks against the mechanism `name` here, as the end of `... of MODEL, which `; None: nothing."""
        ...

    def put(self, name: str, options: Mapping[str, Any]) -> None:
        """Replaces the attention by the mechanism; linears that both have move into it.

        Raises:
            SpecError: the mechanism does not fit the sizes.
        """
        ...


def make_mechanism(name: str, slot: Slot, options: Mapping[str, Any], like: nn.Linear) -> TokenAttention:
    """The mechanism, new, with the dtype and mode of a linear of the host."""
    return ATTENTION[name](slot, **options).to(dtype=like.weight.dtype).train(like.training)


@contextmanager
def own_random_numbers(site: AttentionSite, seed: int, index: int) -> Iterator[None]:
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
        hint=LEGAL_HOSTS,
    )
