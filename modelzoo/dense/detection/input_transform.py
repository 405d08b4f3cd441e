"""What a detector does to its images: scale, normalise, pad to one size; and boxes and masks back to the image's size.

torchvision's own transform, but for three things. In training the images come scaled from the data, because their
random scale belongs to the image's own random stream. Padding goes to multiples of what the backbone takes, or to the
canvas of a backbone that takes one size. Images of the data are normalised already, so that mean and standard deviation
are 0 and 1 unless others are given; padding has the value 0 afterwards, the mean colour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from modelzoo.dense.detection.options import InputSides
from search_space.parsing.errors import Problem, SpecError

__all__ = ["InputTransform"]

_MULTIPLE = 32
"""Sides of a batch of a published detector are multiples of it: the stride of the coarsest map."""


class InputTransform(GeneralizedRCNNTransform):
    """Images of any sizes -> one batch, and detections back.

    Args:
        sides: To which images are scaled.
        canvas: The size (height, width) of every batch; None: as large as its images.
        multiple_of: Sides of the backbone's images are multiples of this.
        mean, std: Per channel; None: images are normalised.
        scales_in_training: Whether training images are scaled here, too.
    """

    def __init__(
        self,
        sides: InputSides,
        *,
        in_chans: int,
        canvas: tuple[int, int] | None = None,
        multiple_of: int = 1,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        scales_in_training: bool = False,
    ) -> None:
        super().__init__(
            sides.short,
            sides.long,
            [0.0] * in_chans if mean is None else list(mean),
            [1.0] * in_chans if std is None else list(std),
            size_divisible=math.lcm(_MULTIPLE, multiple_of),
        )
        self.canvas = canvas
        self.scales_in_training = scales_in_training

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        """The scaled image and its scaled target."""
        if self.training and not self.scales_in_training:
            return image, target
        return super().resize(image, target)

    def batch_images(self, images: list[Tensor], size_divisible: int = _MULTIPLE) -> Tensor:
        """Images (C, h, w) padded below and to the right to one batch (B, C, H, W).

        Raises:
            SpecError: an image is larger than the canvas.
        """
        if self.canvas is None:
            return super().batch_images(images, size_divisible)
        height, width = self.canvas
        too_large = [tuple(image.shape[-2:]) for image in images if image.shape[-2] > height or image.shape[-1] > width]
        if too_large:
            raise SpecError(
                Problem(
                    f"an image of {too_large[0][0]}x{too_large[0][1]} does not fit into the canvas of {height}x{width}"
                    ", the only size that the model takes",
                    path="task.long_side",
                    hint=f"sides of at most {min(self.canvas)}",
                )
            )
        batch = images[0].new_zeros((len(images), images[0].shape[0], height, width))
        for row, image in zip(batch, images, strict=True):
            row[:, : image.shape[-2], : image.shape[-1]] = image
        return batch
