"""Sampling error that a test set gives the difference of two accuracies, paired over its images.

Both arms classify the same images, so most of what makes an image easy or hard cancels in their difference, and what is
left needs the predictions of each image. For image i, with S paired seeds,

    d_i = 1/S sum_s (correct of the arm - correct of the baseline),   delta = mean of d_i,   SE = sd(d_i) / sqrt(n)

It is the error of drawing n test images, for these trained models; the choice of the training seeds is not in it. With
one seed, b images that only the arm has right and c that only the baseline has right, it is the closed form behind
McNemar's test: SE^2 = ((b + c) - (b - c)^2 / n) / (n (n - 1)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from results.predictions.correct_images import CorrectImages

__all__ = ["paired_image_error"]


def paired_image_error(pairs: Sequence[tuple[CorrectImages, CorrectImages]]) -> float | None:
    """Standard error of the mean paired difference over images, in percent points.

    Args:
        pairs: arm and baseline, one pair per seed.

    Returns:
        None without a pair, for a single image, and where the numbers of images differ.
    """
    sizes = {images.num for pair in pairs for images in pair}
    if len(sizes) != 1 or (num := sizes.pop()) < 2:
        return None
    total = np.zeros(num, dtype=np.int64)  # S d_i, exactly
    for arm, base in pairs:
        total += _bits(arm)
        total -= _bits(base)
    sum_of_squares = int(total @ total) - int(total.sum()) ** 2 / num
    return 100 / len(pairs) * math.sqrt(max(0.0, sum_of_squares) / (num * (num - 1)))


def _bits(images: CorrectImages) -> np.ndarray:
    return np.unpackbits(np.frombuffer(images.packed, np.uint8), count=images.num)
