"""Weighted k nearest neighbours on frozen features: how well they separate the classes without any training.

Definition:  the k features of the bank with the largest cosine vote for their class with exp(cosine / temperature); the
             class with most votes is the prediction, the first of equal ones.
Source:      written from a description of DINO's evaluation (k 20, temperature 0.07 there); checked against it and
             against a loop in float64.
Differs:     any number of queries, and a k larger than the bank is the whole bank. Computed in float64, so that the
             result depends neither on the size of the chunks nor on the precision of a training.

Shapes:  M features of the bank, N queries, D dim, K classes.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Neighbours", "nearest_neighbours"]


class Neighbours(NamedTuple):
    """Predicted classes (N,) of the queries, and how many of them are right, in %."""

    predictions: Tensor
    top1: float


@torch.inference_mode()
def nearest_neighbours(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    query_labels: Tensor,
    *,
    num_classes: int,
    k: int = 20,
    temperature: float = 0.07,
    chunk_bytes: int = 2**28,
) -> Neighbours:
    """Classify queries by their neighbours in the bank; features are L2-normalised here.

    Args:
        bank, queries: Features (M, D) and (N, D) on one device.
        bank_labels, query_labels: Classes (M,) and (N,), integers below `num_classes`.
        chunk_bytes: Memory for cosines: so many queries are compared at once.

    Raises:
        ValueError: an empty bank, no queries, or a k below 1.
    """
    if k < 1 or not len(bank) or not len(queries):
        raise ValueError(f"k is {k}, with {len(bank)} features in the bank and {len(queries)} queries: none may be 0")
    unit_bank = F.normalize(bank.double(), dim=1)
    votes_of = functools.partial(
        _votes, unit_bank, bank_labels.long(), k=min(k, len(bank)), num_classes=num_classes, temperature=temperature
    )
    rows = max(1, chunk_bytes // (8 * len(bank)))
    predictions = torch.cat([votes_of(chunk).argmax(dim=1) for chunk in queries.split(rows)])
    right = (predictions == query_labels.to(predictions.device)).double().mean()
    return Neighbours(predictions, 100 * right.item())


def _votes(
    unit_bank: Tensor, bank_labels: Tensor, queries: Tensor, *, k: int, num_classes: int, temperature: float
) -> Tensor:
    """Sums of votes (N, K)."""
    cosines, places = (F.normalize(queries.double(), dim=1) @ unit_bank.T).topk(k, dim=1)
    votes = cosines.new_zeros(len(queries), num_classes)
    return votes.scatter_add_(1, bank_labels[places], (cosines / temperature).exp())
