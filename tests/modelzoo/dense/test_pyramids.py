"""Pyramids: sizes of the levels, the simple pyramid by a second implementation, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from modelzoo.dense.pyramid import LevelNorms, build_pyramid
from search_space.parsing.errors import SpecError


@pytest.mark.parametrize("patch", [4, 8, 16, 32])
def test_simple_pyramid_has_levels_4_to_32_for_every_patch_size(patch):
    """Of a 64x96 image."""
    pyramid = build_pyramid(None, [24], [patch], dim=6)
    maps = pyramid([torch.randn(2, 24, 64 // patch, 96 // patch)])
    assert (pyramid.channels, pyramid.reductions) == ((6,) * 4, (4, 8, 16, 32))
    assert [tuple(each.shape) for each in maps] == [(2, 6, 64 // r, 96 // r) for r in (4, 8, 16, 32)]


def channel_norm(x, norm):
    return F.layer_norm(x.permute(0, 2, 3, 1), norm.weight.shape, norm.weight, norm.bias, norm.eps).permute(0, 3, 1, 2)


def test_simple_pyramid_is_the_papers():
    """Level by level, as section 3 of the paper describes it, for patches of 16 pixels."""
    pyramid = build_pyramid("simple", [16, 16], [16, 16], dim=6)
    for weight in pyramid.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    x = torch.randn(2, 16, 3, 5)
    four, two, one, half = ([*level] for level in pyramid.levels)

    def projected(x, layers):
        conv1, norm1, conv3, norm3 = layers
        assert (conv1.bias, conv3.bias, conv1.kernel_size, conv3.kernel_size) == (None, None, (1, 1), (3, 3))
        x = channel_norm(F.conv2d(x, conv1.weight), norm1)
        return channel_norm(F.conv2d(x, conv3.weight, padding=1), norm3)

    def doubled(x, layer):
        return F.conv_transpose2d(x, layer.weight, layer.bias, stride=2)

    assert (four[0].out_channels, four[3].out_channels, two[0].out_channels) == (8, 4, 8)
    upsampled = doubled(F.gelu(channel_norm(doubled(x, four[0]), four[1])), four[3])
    want = [
        projected(upsampled, four[4:]),
        projected(doubled(x, two[0]), two[1:]),
        projected(x, one),
        projected(F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-torch.inf), 2), half[1:]),
    ]
    # The first of the two maps of this backbone is not used.
    got = pyramid([torch.full_like(x, torch.nan), x])
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_a_map_of_one_pixel_stays_one():
    assert build_pyramid(None, [8], [16], dim=4)([torch.randn(1, 8, 1, 1)])[3].shape == (1, 4, 1, 1)


def test_fpn_merges_every_coarser_level_into_the_finer_ones():
    pyramid = build_pyramid(None, [4, 8, 12], [8, 16, 32], dim=6)
    maps = [torch.randn(1, dim, 16 // 2**i, 24 // 2**i) for i, dim in enumerate((4, 8, 12))]
    before = pyramid(maps)
    assert [tuple(each.shape) for each in before] == [(1, 6, 16, 24), (1, 6, 8, 12), (1, 6, 4, 6)]
    for changed in range(3):
        other = [each + 1 if level == changed else each for level, each in enumerate(maps)]
        moved = [not torch.equal(one, two) for one, two in zip(pyramid(other), before, strict=True)]
        assert moved == [level <= changed for level in range(3)]


def test_level_norms_look_at_one_pixel_at_a_time():
    """Mean 0 and variance 1 over the channels of every pixel, so that padding changes nothing elsewhere."""
    maps = [3 + 2 * torch.randn(2, 32, 4, 6), 100 * torch.randn(2, 64, 2, 3)]
    norms = LevelNorms([32, 64])
    for before, after in zip(maps, norms(maps), strict=True):
        torch.testing.assert_close(after.mean(1), torch.zeros_like(after[:, 0]), atol=1e-5, rtol=0)
        torch.testing.assert_close(after.var(1, correction=0), torch.ones_like(after[:, 0]), atol=1e-4, rtol=0)
        assert before.shape == after.shape


@pytest.mark.parametrize(
    ("kind", "reductions", "want"),
    [
        ("bifpn", [16], "task.pyramid: unknown pyramid 'bifpn'\n  known: fpn, simple.  Did you mean 'fpn'?"),
        (
            "fpn",
            [16],
            "task.pyramid: pyramid 'fpn' does not fit a backbone with one reduction: [16]\n"
            "  write pyramid: simple, or leave it out",
        ),
        (
            "simple",
            [4, 8],
            "task.pyramid: pyramid 'simple' does not fit a backbone with several reductions: [4, 8]\n"
            "  write pyramid: fpn, or leave it out",
        ),
        (
            None,
            [14],
            "arch.patch_size: a simple pyramid of levels [4, 8, 16, 32] cannot be made of maps of reduction 14\n"
            "  patch sizes with a simple pyramid: 4, 8, 16, 32",
        ),
    ],
)
def test_what_does_not_fit_is_refused(kind, reductions, want):
    with pytest.raises(SpecError) as caught:
        build_pyramid(kind, [8] * len(reductions), reductions, dim=4)
    assert str(caught.value) == want
