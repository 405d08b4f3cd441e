"""Convolutional patch embedding: convolutions at half resolution, then a patch convolution of half the patch size.

Paper:   DeepViT, Zhou et al. 2021, arXiv:2103.11886 (S and L), after Tokens-to-Token ViT, arXiv:2101.11986.
Source:  the widths of the released models; DeepViT uses 64, 64, Refined-ViT 32, 64, 128. Parity is tested for both.
Differs: the argument `widths` selects one of the two.

Shapes:  B images, C channels, H x W image, h x w patch grid, D embed_dim, N = h * w.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from modelzoo.models.built_size import of_built_size
from search_space.parsing.errors import Problem, SpecError

__all__ = ["ConvolutionalStem", "conv_embed_layer"]


class ConvolutionalStem(nn.Module):
    """Convolutional stem with the interface of timm's `PatchEmbed`.

    Args:
        patch_size: Stride of the whole stem; even.
        widths: Channels after each convolution: the first is 7 x 7 with stride 2, the others are 3 x 3.
        flatten: Return tokens (B, N, D) if true, else a map (B, D, h, w).
        output_fmt: NHWC returns a map (B, h, w, D) instead.
        strict_img_size: Refuse images of another size than `img_size`.
    """

    def __init__(
        self,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        in_chans: int = 3,
        embed_dim: int = 768,
        *,
        widths: tuple[int, ...] = (64, 64),
        flatten: bool = True,
        output_fmt: str | None = None,
        bias: bool = True,
        strict_img_size: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        if patch_size % 2:
            raise SpecError(
                Problem(
                    f"a convolutional stem needs an even patch_size, but got {patch_size}",
                    path="arch.patch_size",
                    hint="its first convolution halves the image; or choose the linear stem",
                )
            )
        assert output_fmt in (None, "NHWC")
        self.patch_size = (patch_size, patch_size)
        self.flatten, self.output_fmt, self.strict_img_size = flatten, output_fmt, strict_img_size
        self.set_input_size(img_size)
        self.num_convs = len(widths)
        channels = in_chans
        for index, width in enumerate(widths, start=1):
            kernel, stride = (7, 2) if index == 1 else (3, 1)
            convolution = nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False, **factory)
            self.add_module(f"conv{index}", convolution)
            self.add_module(f"bn{index}", nn.BatchNorm2d(width, **factory))
            channels = width
        self.proj = nn.Conv2d(channels, embed_dim, patch_size // 2, patch_size // 2, bias=bias, **factory)

    def set_input_size(self, img_size: int | tuple[int, int] | None = None, patch_size: None = None) -> None:
        """Set the image size; the patch size is fixed."""
        if patch_size is not None:
            raise ValueError("the patches of a convolutional stem cannot be resized")
        if img_size is not None:
            self.img_size = (img_size, img_size) if isinstance(img_size, int) else (img_size[0], img_size[1])
            self.grid_size = self.dynamic_feat_size(self.img_size)
            self.num_patches = self.grid_size[0] * self.grid_size[1]

    def feat_ratio(self, as_scalar: bool = True) -> int | tuple[int, int]:
        """Pixels per patch side."""
        return self.patch_size[0] if as_scalar else self.patch_size

    def dynamic_feat_size(self, img_size: tuple[int, int]) -> tuple[int, int]:
        """Patch grid of an image of this size: the first convolution rounds up, the patches round down."""
        half = self.patch_size[0] // 2
        return (img_size[0] + 1) // 2 // half, (img_size[1] + 1) // 2 // half

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.strict_img_size:
            x = of_built_size(x, self.img_size)
        for index in range(1, self.num_convs + 1):
            x = F.relu(self.get_submodule(f"bn{index}")(self.get_submodule(f"conv{index}")(x)))
        x_BDhw = self.proj(x)
        if self.output_fmt == "NHWC":
            return x_BDhw.permute(0, 2, 3, 1)
        return x_BDhw.flatten(2).transpose(1, 2) if self.flatten else x_BDhw


def conv_embed_layer(**options: Any) -> Any:
    """Factory of `ConvolutionalStem` with the signature of timm's `embed_layer`."""

    # timm also passes dynamic padding; models with this stem do not use it.
    def embed(*, dynamic_img_pad: bool, **kwargs: Any) -> nn.Module:
        assert not dynamic_img_pad
        return ConvolutionalStem(**kwargs, **options)

    return embed
