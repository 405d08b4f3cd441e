"""Forms of the local kernel that convolves every attention map by itself, with weights of its own.

    square       k x k on the map: neighbours in the order of the queries and in the order of the keys
    spatial      k x k on every row of the map, the weights of one query, as an image of the patches it attends to
    row_column   1 x k along the rows plus k x 1 along the columns of the map; the two results are added

Paper:   Refiner: Refining Self-attention for Vision Transformers, Zhou et al. 2021, arXiv:2106.03714, table 4.
Source:  written from the names of the rows of that table; the release has `square` only.
Differs: the paper leaves open what happens to the class token in `spatial`. Ours: each prefix token among the keys is
         an image of one pixel, which only the kernel's own tap sees; the row of a prefix token among the queries is an
         image like all others. It also leaves open how rows and columns are joined. Ours: side by side, added before
         the norm, so that neither sees the other's result. Even kernels have their odd tap at the bottom and right.
Cost:    multiply-accumulates per map: k^2 N K (square), k^2 N h w (spatial), 2 k N K (row_column).

Shapes:  B images, M maps, N queries, K keys (P prefix tokens, then h x w patches), k kernel side.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from timm.models import register_notrace_function
from torch import nn

from modelzoo.attention.contract import Slot
from modelzoo.attention.placebo import HeldConv2d, without_neighbours
from modelzoo.attention.same_padding import SameConv2d
from search_space.parsing.errors import Problem, SpecError

__all__ = ["KernelForm", "RowColumnConvolution", "SpatialConvolution", "check_kernel_form", "make_map_convolution"]

KernelForm = Literal["square", "spatial", "row_column"]


class SpatialConvolution(nn.Module):
    """Convolution of every row of every map as an image of the patches.

    Args:
        grid_size: (h, w) of the patches among the keys.
        num_prefix_tokens: keys before them.
    """

    def __init__(
        self, num_maps: int, kernel_size: int, *, grid_size: tuple[int, int], num_prefix_tokens: int, **factory: Any
    ) -> None:
        """`factory`: `device` and `dtype`."""
        super().__init__()
        self.grid_size, self.num_prefix_tokens = grid_size, num_prefix_tokens
        self.conv = SameConv2d(num_maps, num_maps, kernel_size, groups=num_maps, bias=False, **factory)

    def hold_maps_apart(self) -> None:
        """As `DistributedLocalAttention.hold_maps_apart`."""
        self.conv = without_neighbours(self.conv)

    def forward(self, map_BMNK: torch.Tensor) -> torch.Tensor:
        map_BMNK = _checked(map_BMNK, self.num_prefix_tokens, self.grid_size)
        N = map_BMNK.shape[2]
        prefix_BMNP = map_BMNK[..., : self.num_prefix_tokens]
        # (B, M, N, h * w) -> (B * N, M, h, w): every query of every image is an image of M channels.
        rows_XMhw = map_BMNK[..., self.num_prefix_tokens :].transpose(1, 2).flatten(0, 1).unflatten(-1, self.grid_size)
        patches_BMNL = self.conv(rows_XMhw).flatten(2).unflatten(0, (-1, N)).transpose(1, 2)
        if not self.num_prefix_tokens:
            return patches_BMNL
        return torch.cat([prefix_BMNP * self._own_tap(), patches_BMNL], dim=-1)

    def _own_tap(self) -> torch.Tensor:
        """Entry (M, 1, 1) of the kernel that a pixel has on itself."""
        kernel = self.conv.kernel() if isinstance(self.conv, HeldConv2d) else self.conv.weight
        own = (self.conv.kernel_size[0] - 1) // 2
        return kernel[:, :, own, own, None]


class RowColumnConvolution(nn.Module):
    """Sum of a 1-D convolution along the rows of every map and one along its columns."""

    def __init__(self, num_maps: int, kernel_size: int, **factory: Any) -> None:
        """`factory`: `device` and `dtype`."""
        super().__init__()
        self.row = SameConv2d(num_maps, num_maps, (1, kernel_size), groups=num_maps, bias=False, **factory)
        self.column = SameConv2d(num_maps, num_maps, (kernel_size, 1), groups=num_maps, bias=False, **factory)

    def hold_maps_apart(self) -> None:
        """As `DistributedLocalAttention.hold_maps_apart`."""
        self.row, self.column = without_neighbours(self.row), without_neighbours(self.column)

    def forward(self, map_BMNK: torch.Tensor) -> torch.Tensor:
        return self.row(map_BMNK) + self.column(map_BMNK)


def make_map_convolution(
    form: KernelForm,
    num_maps: int,
    kernel_size: int,
    *,
    grid_size: tuple[int, int] | None,
    num_prefix_tokens: int,
    **factory: Any,
) -> SameConv2d | SpatialConvolution | RowColumnConvolution:
    """The convolution of `num_maps` maps; a `SameConv2d` for `square`."""
    if form == "spatial":
        assert grid_size is not None, "checked by check_kernel_form"
        sizes = {"grid_size": grid_size, "num_prefix_tokens": num_prefix_tokens}
        return SpatialConvolution(num_maps, kernel_size, **sizes, **factory)
    if form == "row_column":
        return RowColumnConvolution(num_maps, kernel_size, **factory)
    return SameConv2d(num_maps, num_maps, kernel_size, groups=num_maps, bias=False, **factory)


def check_kernel_form(slot: Slot, form: str, kernel_size: int) -> None:
    """Raises SpecError if a form of the kernel is unknown, sees no neighbours, or needs a grid that is not known."""
    path = "arch.attention.kernel_form"
    if form not in get_args(KernelForm):
        hint = f"legal: {', '.join(sorted(get_args(KernelForm)))}"
        raise SpecError(Problem(f"unknown kernel_form {form!r}", path=path, hint=hint))
    if form != "square" and kernel_size == 1:
        text = f"a kernel of 1 sees no neighbours, so kernel_form={form} would have no effect, but got kernel_size=1"
        raise SpecError(Problem(text, path=path, hint="leave kernel_form out, or choose a kernel_size of 2 or more"))
    if form == "spatial" and slot.grid_size is None:
        text = "kernel_form=spatial takes the keys as an image, but here they are no fixed grid of patches"
        raise SpecError(Problem(text, path=path, hint="choose square or row_column, or a model with one key per patch"))


@torch.fx.wrap  # compares sizes, which have no value in a symbolic trace
@register_notrace_function
def _checked(map_BMNK: torch.Tensor, num_prefix: int, grid_size: tuple[int, int]) -> torch.Tensor:
    num_keys, (height, width) = map_BMNK.shape[3], grid_size
    if num_keys != num_prefix + height * width:
        raise ValueError(
            f"kernel_form=spatial was built for {num_prefix} prefix tokens and a {height}x{width} grid, "
            f"but got maps over {num_keys} keys"
        )
    return map_BMNK
