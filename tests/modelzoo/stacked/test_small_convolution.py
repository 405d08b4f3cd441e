"""Depthwise convolutions as products of matrices, against torch's convolution."""

from __future__ import annotations

import pytest
import torch

from modelzoo.attention.same_padding import SameConv2d
from modelzoo.stacked.small_convolution import small_depthwise


@pytest.mark.parametrize("side", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("size", [(4, 4), (2, 5)])
def test_it_is_the_convolution(side, size):
    drawn = torch.Generator().manual_seed(side)
    conv = SameConv2d(3, 3, side, groups=3).double()
    images = torch.randn(2, 3, *size, generator=drawn, dtype=torch.float64, requires_grad=True)
    grads = torch.randn(2, 3, *size, generator=drawn, dtype=torch.float64)
    assert conv.bias is not None
    inputs = (images, conv.weight, conv.bias)
    expected = torch.autograd.grad((conv(images) * grads).sum(), inputs)
    found = small_depthwise(images, conv.weight, conv.bias)
    torch.testing.assert_close(found, conv(images))
    torch.testing.assert_close(torch.autograd.grad((found * grads).sum(), inputs), expected)
