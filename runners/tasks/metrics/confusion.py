"""Metrics of segmentation from one confusion matrix over all pixels of a split.

Definition:  the mean over classes of ratios of totals, as ADE20K and Cityscapes are measured; a mean over images would
             be another number. Counts are int64: a float32 sum stops growing at 2^24 pixels of a class.

Shapes:  K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["confusion_matrix", "confusion_metrics"]


def confusion_matrix(predicted: Tensor, labels: Tensor, *, num_classes: int, ignore_label: int) -> Tensor:
    """Pixels by label (row) and prediction (column), (K, K) int64; ignored pixels are in neither.

    Args:
        predicted, labels: integers of equal shape.
    """
    is_counted = labels != ignore_label
    pairs = labels[is_counted].long() * num_classes + predicted[is_counted].long()
    return torch.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def confusion_metrics(matrix: Tensor) -> dict[str, float]:
    """`miou`, `macc` and `pixel_acc` in %, without those that are undefined.

    A class without union (neither labelled nor predicted) leaves the mean of `miou`, one without label that of `macc`.
    """
    counts = matrix.double()
    right, labelled, predicted = counts.diagonal(), counts.sum(dim=1), counts.sum(dim=0)
    union = labelled + predicted - right
    found = {
        "miou": (right / union)[union > 0].mean(),
        "macc": (right / labelled)[labelled > 0].mean(),
        "pixel_acc": right.sum() / labelled.sum(),
    }
    return {name: 100 * value.item() for name, value in found.items() if not value.isnan()}
