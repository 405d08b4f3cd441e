"""Region loss of EsViT: every region of a student's view follows the teacher's most similar region of the same image.

    L = 1 / T  sum over q < G, v != q  of  mean over images and regions i of v  of  - sum_k P_q,j(i),k log S_v,i,k
    j(i) = argmax over the regions j of q  of  cos(student feature i, teacher feature j)

Similar are features of the backbones, before the heads. P, S and T as in the view loss, with a centre of its own. The
total loss of the released code is half the view loss plus half this one.

Paper:   EsViT, Li et al. 2022, arXiv:2106.09785, equation 2 (which has the sum of both losses, without halves).
Source:  written from the equations; checked against recorded losses, gradients and centres.
Differs: works without local views, where the released code raises IndexError, and with views of any sizes.

Shapes:  V views of B images, the first G of them global; view v has N_v regions; D features; K prototypes. Rows are
         those of view 0, then 1, ...; within a view all regions of image 0, then of image 1, ...
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from modelzoo.self_supervised.comparison import Distance, Operation, distance, student_side, teacher_side
from modelzoo.self_supervised.view_loss import num_terms

__all__ = ["most_similar_regions", "region_loss"]


def region_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    student_features: Tensor,
    teacher_features: Tensor,
    num_regions: Sequence[int],
    teacher_num_regions: Sequence[int],
    center: Tensor,
    student_temp: float,
    teacher_temp: float,
    metric: Distance = "cross_entropy",
    operation: Operation | None = None,
) -> Tensor:
    """The loss, a scalar; no gradient flows to the teacher, nor through the matching.

    Args:
        student: Logits (sum of B * N_v over all views, K).
        teacher: Logits (sum of B * N_v over the global views, K).
        student_features, teacher_features: Features (rows as the logits, D) before the heads.
        num_regions: N_v of all views, of the student.
        teacher_num_regions: N_v of the global views, of the teacher: it differs where the student drops patches.
        center: (1, K) or (K,), as it was before this batch.
        metric, operation: As in `view_loss`.

    Raises:
        ValueError: numbers of rows that are not those of these views.
    """
    terms = num_terms(len(num_regions), len(teacher_num_regions))
    num_images = len(student) // sum(num_regions)
    for rows, of_teacher in ((student, teacher), (student_features, teacher_features)):
        _check_rows(rows, num_regions, num_images)
        _check_rows(of_teacher, teacher_num_regions, num_images)
    with torch.autocast(student.device.type, enabled=False):
        outputs = _per_view(student_side(student, student_temp, metric), num_regions, num_images)
        of_teacher = teacher_side(teacher, center, teacher_temp, metric, operation)
        targets = _per_view(of_teacher, teacher_num_regions, num_images)
        seen = _per_view(student_features.detach(), num_regions, num_images)
        looked_up = _per_view(teacher_features.detach(), teacher_num_regions, num_images)
        total = student.new_zeros((), dtype=outputs[0].dtype)
        for q, target_BMK in enumerate(targets):
            for v, output_BNK in enumerate(outputs):
                if v == q:
                    continue
                best_BN = most_similar_regions(seen[v], looked_up[q])
                matched_BNK = target_BMK.gather(1, best_BN[..., None].expand(-1, -1, target_BMK.shape[-1]))
                total = total + distance(matched_BNK, output_BNK, metric)
    return total / terms


def most_similar_regions(of_BND: Tensor, among_BMD: Tensor) -> Tensor:
    """Index (B, N) of the region among M with the largest cosine, per image; the first of equal ones."""
    unit_BND, unit_BMD = (
        F.normalize(each.to(torch.promote_types(each.dtype, torch.float32)), dim=-1) for each in (of_BND, among_BMD)
    )
    return (unit_BND @ unit_BMD.transpose(1, 2)).argmax(dim=2)


def _per_view(rows: Tensor, num_regions: Sequence[int], num_images: int) -> list[Tensor]:
    """Rows of each view as (B, N_v, ...)."""
    views = rows.split([num_images * count for count in num_regions])
    return [view.unflatten(0, (num_images, count)) for view, count in zip(views, num_regions, strict=True)]


def _check_rows(rows: Tensor, num_regions: Sequence[int], num_images: int) -> None:
    if len(rows) != num_images * sum(num_regions):
        raise ValueError(
            f"{num_images} images with {list(num_regions)} regions cannot have {len(rows)} rows: rows are those of all "
            "views in their order"
        )
