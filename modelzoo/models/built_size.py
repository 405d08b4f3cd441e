"""Check that images have the size that a model was built for, also in a symbolic trace."""

from __future__ import annotations

import torch
from timm.models import register_notrace_function

__all__ = ["of_built_size"]


def of_built_size(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The image (B, C, H, W) itself.

    Raises:
        ValueError: its height and width are not `size`.
    """
    return _checked(image, size)


@torch.fx.wrap  # sizes have no value in a symbolic trace, which therefore records a call of this function
@register_notrace_function
def _checked(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    came = (image.shape[-2], image.shape[-1])
    if came != tuple(size):
        raise ValueError(f"built for images of {tuple(size)}, but got {came}; build it with img_size={came}")
    return image
