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

__all__ = ["AttentionSite", "foreign_host", "make_mechanism", "own_random_numbers"]

_LEGAL_HOSTS = (
    "legal hosts: `vit` and timm's plain vision transformers (vit_*, deit_*, deit3_*) without such extras, "
    "swin_* and pvt_v2_* for every mechanism, coat_lite_* for groupmix; "
    "`softmax` keeps the attention that a model has"
)


class AttentionSite(Protocol):
    """Attention site: one attention layer of a host that a mechanism can replace."""

    @property
    def weight(self) -> torch.Tensor:
        """A weight of the current attention, for the device and dtype of the site."""
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
    """Build a mechanism with the dtype and training mode of a linear layer of the host."""
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
        hint=_LEGAL_HOSTS,
    )
