"""Random numbers of one part of a network, so that its weights depend on no other part.

A head then has the same weights on every backbone of equal widths, and a backbone the same under every head.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["own_random_numbers"]


@contextmanager
def own_random_numbers(seed: int, part: str) -> Iterator[None]:
    """Random numbers of one part; torch's generator is unchanged afterwards."""
    own = int.from_bytes(hashlib.sha256(f"{seed}:{part}".encode()).digest()[:7], "big")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(own)
        yield
