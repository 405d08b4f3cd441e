"""What a loss compares: distributions by cross-entropy, or L2-normalised outputs by their squared distance.

    cross_entropy   - sum_k P_k log S_k      P = operation(teacher),  S = softmax(student / student_temp)
    mse             || t / |t| - s / |s| ||^2     t = teacher - center,  s = student

The mean squared error is that of DINO's table 14, as in BYOL: of normalised outputs, centred, without temperatures. It
is 2 - 2 cos(t, s).

An `Operation` on the teacher's outputs takes the place of the centre, and uses the whole batch. An iteration of
Sinkhorn-Knopp divides exp(x / tau) by its sums over the batch, then by its sums over the prototypes, so that each
prototype gets an equal share of the batch. One iteration is the softmax over the batch of table 15.

Paper:   DINO, Caron et al. 2021, arXiv:2104.14294, algorithm 1 and appendix B; EsViT, Li et al. 2022,
         arXiv:2106.09785, section 4.3 (mean squared error between regions).
Source:  written from the equations; Sinkhorn-Knopp with logarithms, so that no sum is 0.
Note:    the batch is all rows of all global views: the paper does not state whether it treats the views apart.

Shapes:  R rows, K prototypes. Everything is computed in float32 at least, whatever autocast asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "Distance",
    "Operation",
    "distance",
    "sinkhorn_probabilities",
    "student_log_probabilities",
    "student_side",
    "teacher_probabilities",
    "teacher_side",
]

Distance = Literal["cross_entropy", "mse"]
Operation = Callable[[Tensor, float], Tensor]
"""From logits (R, K) of a whole batch and a temperature to distributions (R, K)."""


def student_side(logits: Tensor, temperature: float, metric: Distance) -> Tensor:
    """What of the student's logits (R, K) is compared: log-probabilities, or rows of length 1."""
    return F.normalize(_wide(logits), dim=-1) if metric == "mse" else student_log_probabilities(logits, temperature)


def teacher_side(
    logits: Tensor, center: Tensor, temperature: float, metric: Distance, operation: Operation | None = None
) -> Tensor:
    """What of the teacher's logits (R, K) is compared, without gradient: distributions, or rows of length 1.

    Args:
        operation: Instead of centring and sharpening; then `center` is not used.
    """
    if metric == "mse":
        return F.normalize(_wide(logits.detach()) - _wide(center), dim=-1)
    if operation is not None:
        return operation(_wide(logits.detach()), temperature)
    return teacher_probabilities(logits, center, temperature)


def distance(target: Tensor, output: Tensor, metric: Distance) -> Tensor:
    """Mean distance of rows (..., K): of `teacher_side` and `student_side`."""
    if metric == "mse":
        return (target - output).square().sum(dim=-1).mean()
    # Sums of products, not a matrix product: that one may be computed in TF32.
    return -(target * output).sum(dim=-1).mean()


def teacher_probabilities(logits: Tensor, center: Tensor, temperature: float) -> Tensor:
    """Centred and sharpened distributions (R, K) of the teacher, without gradient.

    A temperature of 0 is the limit: all of the probability is that of the largest output.
    """
    centred = _wide(logits.detach()) - _wide(center)
    if temperature == 0:
        return F.one_hot(centred.argmax(dim=-1), centred.shape[-1]).to(centred.dtype)
    return (centred / temperature).softmax(dim=-1)


def student_log_probabilities(logits: Tensor, temperature: float) -> Tensor:
    """Log-probabilities (R, K) of the student."""
    return F.log_softmax(_wide(logits) / temperature, dim=-1)


def sinkhorn_probabilities(
    logits: Tensor,
    temperature: float,
    *,
    iterations: int,
    gathered: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Distributions (R, K), which sum to 1 over the prototypes.

    Args:
        gathered: Rows (1, K) of this process -> those of all processes (P, K), where a batch is shared among several.
    """
    logs = logits / temperature
    for _ in range(iterations):
        of_batch = logs.logsumexp(dim=0, keepdim=True)
        if gathered is not None:
            of_batch = gathered(of_batch).logsumexp(dim=0, keepdim=True)
        logs = (logs - of_batch).log_softmax(dim=1)
    return logs.exp()


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
