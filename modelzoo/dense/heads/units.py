"""Units that the decode heads share: convolution + BatchNorm + ReLU, bilinear resizing, and the classifier of pixels.

Parameters are named as in mmsegmentation (`conv`, `bn`, `conv_seg`), so that its weights load without renaming.

Differs: initial weights are PyTorch's defaults. The reference's (classifier with a standard deviation of 0.01) keep a
         training of some hundred updates at "all background": on scenes UperNet had an mIoU of 21.9 with them and 40.8
         with these after 200 updates of 16 images. Over 160,000 updates no difference is expected; not measured.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from search_space.parsing.errors import Problem, SpecError

__all__ = ["ConvUnit", "PixelClassifier", "resize"]


def resize(x_BCHW: torch.Tensor, size: tuple[int, int] | torch.Size) -> torch.Tensor:
    """Bilinear, with corners that are not aligned: pixel centres are at half-integer positions."""
    return F.interpolate(x_BCHW, size=tuple(size), mode="bilinear", align_corners=False)


class ConvUnit(nn.Module):
    """Convolution of the same size without bias, BatchNorm, ReLU: (B, in_dim, H, W) -> (B, dim, H, W).

    Raises:
        SpecError: one value per channel in training, of which a BatchNorm has no statistics.
    """

    def __init__(self, in_dim: int, dim: int, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_dim, dim, kernel_size, padding=kernel_size // 2, bias=False)
        self.bn = nn.BatchNorm2d(dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            raise SpecError(
                Problem(
                    "the head cannot train on a batch of one image whose map is 1x1, as UperNet's average of the "
                    "coarsest map: a BatchNorm needs more than one value per channel",
                    path="train.batch_size",
                    hint="use at least 2 images per process and drop a last batch of one; for larger maps use larger "
                    "images, and pool_scales without 1",
                )
            )
        return F.relu(self.bn(self.conv(x)))


class PixelClassifier(nn.Module):
    """Dropout of whole channels and a 1x1 convolution: (B, dim, H, W) -> (B, num_classes, H, W)."""

    def __init__(self, dim: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.dropout = nn.Dropout2d(dropout)
        self.conv_seg = nn.Conv2d(dim, num_classes, 1)

    def classify(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of every pixel."""
        return self.conv_seg(self.dropout(x))
