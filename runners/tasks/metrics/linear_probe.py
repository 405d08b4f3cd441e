"""Linear probe on frozen features: how well one linear layer separates the classes.

Recipe:   features standardised by mean and deviation of the bank; softmax regression by SGD with momentum 0.9 and no
          weight decay, learning rate by a half cosine to 0 over the epochs; weights from N(0, 0.01), biases 0.
Source:   DINO's evaluation, with its optimiser, schedule and initialisation.
Differs:  features are computed once, without augmentation, and standardised: untrained ones have a tiny scale, at which
          a fixed learning rate learns nothing. The last epoch is reported, not the best one on the queries.

Random numbers (weights, order of the bank) come from a generator of its own on the CPU: equal seeds give equal probes
on every device, and torch's global generator is not touched.

Shapes:  M features of the bank, N queries, D dim, K classes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from runners.data.transfer import sent

__all__ = ["Probe", "linear_probe"]


class Probe(NamedTuple):
    """Predicted classes (N,) of the queries, and how many of them are right, in %."""

    predictions: Tensor
    top1: float


def linear_probe(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    query_labels: Tensor,
    *,
    num_classes: int,
    seed: int,
    lr: float,
    epochs: int = 100,
    batch_size: int = 256,
) -> Probe:
    """Train a linear layer on the bank and classify the queries.

    Also inside `torch.inference_mode` and autocast, which do not reach the training here.

    Args:
        bank, queries: Features (M, D) and (N, D) on one device.
        bank_labels, query_labels: Classes (M,) and (N,), integers below `num_classes`.
        lr: Learning rate of the first epoch; DINO's is 0.001 * batch_size / 256, for a bank of millions.
        batch_size: The last batch of an epoch may be smaller.

    Raises:
        ValueError: an empty bank, or no queries.
    """
    if not len(bank) or not len(queries):
        raise ValueError(f"{len(bank)} features in the bank and {len(queries)} queries: none may be 0")
    with torch.inference_mode(False), torch.autocast(bank.device.type, enabled=False):
        # Arithmetic makes usual tensors of those of inference mode.
        mean, deviation = _statistics(bank)
        features_MD, features_ND = (bank.float() - mean) / deviation, (queries.float() - mean) / deviation
        labels_M = bank_labels.to(features_MD.device).long() + 0
        weight_KD, bias_K = _trained(
            features_MD, labels_M, num_classes=num_classes, seed=seed, lr=lr, epochs=epochs, batch_size=batch_size
        )
        predictions = F.linear(features_ND, weight_KD, bias_K).argmax(dim=1)
    right = (predictions == query_labels.to(predictions.device)).double().mean()
    return Probe(predictions, 100 * right.item())


def _statistics(bank: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation (D,) of every dimension; the deviation of a constant one is 1."""
    wide = bank.double()
    mean, deviation = wide.mean(dim=0), wide.std(dim=0, correction=0)
    # Rounding leaves a constant that is no power of two a tiny deviation.
    is_constant = deviation <= 1e-7 * mean.abs()
    return mean.float(), deviation.masked_fill(is_constant, 1.0).float()


def _trained(
    features_MD: Tensor, labels_M: Tensor, *, num_classes: int, seed: int, lr: float, epochs: int, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Weight (K, D) and bias (K,) after the last epoch."""
    device, generator = features_MD.device, torch.Generator().manual_seed(seed)
    weight_KD = 0.01 * torch.randn(num_classes, features_MD.shape[1], generator=generator, device="cpu")
    weight_KD = weight_KD.to(device).requires_grad_()
    bias_K = torch.zeros(num_classes, device=device, requires_grad=True)
    optimizer = torch.optim.SGD([weight_KD, bias_K], lr=lr, momentum=0.9)
    with torch.enable_grad():
        for epoch in range(epochs):
            optimizer.param_groups[0]["lr"] = 0.5 * lr * (1 + math.cos(math.pi * epoch / epochs))
            order = sent(torch.randperm(len(features_MD), generator=generator, device="cpu"), device)
            for batch in order.split(batch_size):
                loss = F.cross_entropy(F.linear(features_MD[batch], weight_KD, bias_K), labels_M[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return weight_KD.detach(), bias_K.detach()
