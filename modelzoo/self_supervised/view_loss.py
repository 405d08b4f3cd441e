"""View loss of DINO: the student's distribution of every view follows the teacher's of each global view.

    L = 1 / T  sum over q < G, v != q  of  mean over images  of  - sum_k P_q,k log S_v,k
    P = softmax((teacher - center) / teacher_temp),  S = softmax(student / student_temp),  T = G V - G terms

The centre is the moving average of the teacher's mean logits; it is updated after the loss. Losses and centres are
functions of given tensors: who trains owns the centre, and averages its batch means over processes.

Paper:   DINO, Caron et al. 2021, arXiv:2104.14294, algorithm 1.
Source:  written from the equations; checked against recorded losses, gradients and centres.

Shapes:  V views of B images in all, the first G of them global; K prototypes. Rows are view-major: all images of view
         0, then of view 1, ... Softmax is computed in float32 at least, whatever autocast asks for.
"""

from __future__ import annotations

import torch
from torch import Tensor

from modelzoo.self_supervised.comparison import Distance, Operation, distance, student_side, teacher_side

__all__ = ["entropy", "mean_logits", "num_terms", "update_center", "view_loss"]


def view_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    center: Tensor,
    num_views: int,
    student_temp: float,
    teacher_temp: float,
    num_global: int = 2,
    metric: Distance = "cross_entropy",
    operation: Operation | None = None,
) -> Tensor:
    """The loss, a scalar; no gradient flows to the teacher.

    Args:
        student: Logits (V * B, K) of all views.
        teacher: Logits (G * B, K) of the global views.
        center: (1, K) or (K,), as it was before this batch. Zeros: no centring.
        metric, operation: What is compared, and what is done to the teacher's logits instead of centring
            (`comparison.py`).

    Raises:
        ValueError: numbers of rows that are not those of these views.
    """
    terms = num_terms(num_views, num_global)
    num_images = len(student) // num_views
    if len(student) != num_views * num_images or len(teacher) != num_global * num_images:
        raise ValueError(f"{num_views} and {num_global} views cannot have {len(student)} and {len(teacher)} rows")
    with torch.autocast(student.device.type, enabled=False):
        targets = teacher_side(teacher, center, teacher_temp, metric, operation).chunk(num_global)
        outputs = student_side(student, student_temp, metric).chunk(num_views)
        total = sum(
            distance(target_BK, output_BK, metric)
            for q, target_BK in enumerate(targets)
            for v, output_BK in enumerate(outputs)
            if v != q
        )
        assert isinstance(total, Tensor)
        return total / terms


def num_terms(num_views: int, num_global: int) -> int:
    """Pairs of a global view and another view; `num_terms(2 + 8, 2) == 18`.

    Raises:
        ValueError: there is no such pair.
    """
    if num_global < 1 or num_views < max(num_global, 2):
        raise ValueError(f"the loss compares views, but got {num_views} views, {num_global} of them global")
    return num_global * (num_views - 1)


def mean_logits(teacher: Tensor) -> Tensor:
    """Mean over rows, (1, K): what moves the centre. Processes average theirs, of equal batches, before the update."""
    return _wide(teacher.detach()).mean(dim=0, keepdim=True)


@torch.no_grad()
def update_center(center: Tensor, batch_mean: Tensor, *, momentum: float) -> None:
    """Move the centre in place: center = momentum * center + (1 - momentum) * batch_mean."""
    center.mul_(momentum).add_(batch_mean.reshape(center.shape), alpha=1 - momentum)


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy of distributions (..., K) in nats; ln K of a uniform one.

    Of the teacher's mean distribution it shows a collapse: ln K where all images look alike to an undecided teacher, 0
    where it always decides for one prototype.
    """
    return -torch.xlogy(probabilities, probabilities).sum(dim=-1)


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
