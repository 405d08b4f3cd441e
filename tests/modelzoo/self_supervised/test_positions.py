"""Interpolated positions and features of the last blocks, where no released code has recorded an answer."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from modelzoo.self_supervised import build_feature_backbone
from modelzoo.self_supervised.positions import interpolated_positions, last_tokens
from search_space.parsing.errors import SpecError
from search_space.schema.trial import ArchSpec

VIT = {"model": "vit", "depth": 3, "embed_dim": 16, "num_heads": 2, "patch_size": 8}
REFINED = {"model": "refined_vit_small_patch16_224", "depth": 3, "embed_dim": 24, "num_heads": 3, "patch_size": 8}
PVT = {"model": "pvt_v2_b0", "options": {"depths": [1, 1, 1, 1], "embed_dims": [8, 16, 40, 16]}}


def backbone(arch=VIT, size: Any = 32, local: Any = 16):
    return build_feature_backbone(
        ArchSpec.model_validate(arch), img_size=size, local_size=local, in_chans=3, seed=0
    ).eval()


def images(*size):
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))


def table(num_prefix, num_patches):
    return torch.randn(1, num_prefix + num_patches, 5, generator=torch.Generator().manual_seed(0))


def test_positions_of_the_models_own_grid_are_untouched():
    given = table(1, 12)
    assert interpolated_positions(given, num_prefix=1, old_grid=(3, 4), new_grid=(3, 4)) is given


@pytest.mark.parametrize("num_prefix", [0, 1, 3])
def test_constant_positions_stay_constant_and_prefix_tokens_keep_theirs(num_prefix):
    given = torch.cat([table(num_prefix, 0), torch.ones(1, 12, 5)], dim=1)
    new = interpolated_positions(given, num_prefix=num_prefix, old_grid=(3, 4), new_grid=(5, 2))
    assert torch.equal(new[:, :num_prefix], given[:, :num_prefix])
    torch.testing.assert_close(new[:, num_prefix:], torch.ones(1, 10, 5))


def test_linear_positions_are_sampled_on_a_slightly_larger_grid():
    """Far from the borders: patch i of n new ones is at (i + 0.5) * old / (n + 0.1) - 0.5 of the old ones.

    torch's bicubic kernel (a = -0.75) reproduces a line to 0.05; without the margin it would be up to 0.13 off.
    """
    old, new = 24, 16
    given = torch.arange(old, dtype=torch.float64).expand(old, old).reshape(1, old * old, 1)
    found = interpolated_positions(given, num_prefix=0, old_grid=(old, old), new_grid=(new, new))
    columns = found.reshape(new, new)[new // 2]
    want = (torch.arange(new, dtype=torch.float64) + 0.5) * old / (new + 0.1) - 0.5
    torch.testing.assert_close(columns[2:-2], want[2:-2], rtol=0, atol=0.05)
    without_margin = (torch.arange(new, dtype=torch.float64) + 0.5) * old / new - 0.5
    assert (columns - without_margin)[2:-2].abs().max() > 0.1


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pre_norm": True},
        {"reg_tokens": 2},
        {"reg_tokens": 2, "no_embed_class": True},
        {"pos_embed": "none"},
        {"pos_drop_rate": 0.3, "patch_drop_rate": 0.4},
    ],
    ids=str,
)
def test_tokens_at_the_models_own_size_are_timms(options):
    """In training, with the same random numbers; there nothing is interpolated."""
    model, given = backbone({**VIT, "options": {**options, "dynamic_img_size": True}}).model.train(), images(32, 32)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        ours = last_tokens(model, given)
        torch.manual_seed(1)
        torch.testing.assert_close(ours, model.forward_features(given))


def test_canvas_that_is_not_square_takes_other_sizes():
    """Each side has its own scale."""
    ours = backbone(size=(32, 48), local=(16, 24))
    assert ours.canvas == (32, 48)
    with torch.no_grad():
        assert ours(images(16, 24)).shape == ours(images(32, 48)).shape == (2, 16)
        assert ours.with_regions(images(16, 24)).regions.shape == (2, 2 * 3, 16)


def test_size_that_the_model_was_built_for_stays():
    ours = backbone()
    with torch.no_grad():
        before = ours(images(32, 32))
        ours(images(16, 16))
        assert torch.equal(ours(images(32, 32)), before)
    assert ours.model.patch_embed.img_size == (32, 32)
    assert ours.model.pos_embed.shape == (1, 17, 16)


@pytest.mark.parametrize("arch", [VIT, REFINED, {**VIT, "attention": "refiner"}], ids=["vit", "refined", "refiner"])
@pytest.mark.parametrize("local", [16, 32])
def test_features_of_the_last_blocks_end_with_the_feature(arch, local):
    """However the model computes its blocks: all of them carry on what the one before gave."""
    if arch is REFINED:
        local = 32
    ours, given = backbone(arch, local=local), images(local, local)
    with torch.no_grad():
        found = ours.last_blocks(given, 2)
        dim = ours.dim
        assert found.shape == (2, 2 * dim)
        torch.testing.assert_close(found[:, dim:], ours(given))
        torch.testing.assert_close(found, ours.last_blocks(given, 3)[:, dim:])
        assert not torch.allclose(found[:, :dim], found[:, dim:])


@pytest.mark.parametrize(
    ("arch", "num", "message"),
    [
        (PVT, 4, "PyramidVisionTransformerV2 has blocks of several widths, so it gives no features of these"),
        (VIT, 4, "VisionTransformer has 3 blocks, but 4 are asked for, so it gives no features of these"),
    ],
)
def test_last_blocks_that_do_not_exist_are_refused(arch, num, message):
    with pytest.raises(SpecError, match=message):
        backbone(arch, local=None).last_blocks(images(32, 32), num)
