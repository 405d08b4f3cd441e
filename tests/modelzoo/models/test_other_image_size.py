"""Weights of one image size in a model of another, through timm's factory, against timm's own models."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from timm.layers import resample_abs_pos_embed, resize_rel_pos_bias_table

from modelzoo.official.checkpoints import zoo_models

VIT = "vit_tiny_patch16_224"
LG = "lg_transformer_tiny_224"
SWIN = "swin_tiny_patch4_window7_224"
PLAIN = {"embed_dim": 24, "depth": 2, "num_heads": 3, "patch_size": 8, "num_classes": 5}
# Swin and an LG-Transformer of one path per stage are the same network; windows of 7 do not fit its smaller maps.
PYRAMID = {"embed_dim": 12, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 2, 4), "num_classes": 5}
WITH_TOKENS = [
    "deepvit_baseline_12b_patch16_224",
    "deepvit_16b_patch16_224",
    "deepvit_small_patch16_224",
    "refined_vit_small_patch16_224",
]


def test_these_are_models_of_the_zoo():
    assert {*WITH_TOKENS, LG} <= set(zoo_models())


def created(name, **options) -> Any:
    torch.manual_seed(0)
    vit = {"reattention_blocks": 1} if name == "deepvit_small_patch16_224" else {}
    sizes = PYRAMID if name.startswith(("swin", "lg_")) else {**PLAIN, **vit}
    return timm.create_model(name, **{**sizes, **options}).eval()


def loaded(name, path, **options) -> Any:
    """Model with the weights of a file, as timm loads released ones."""
    overlay = {"file": str(path), "input_size": (3, *options.pop("trained_at", (64, 64))), "num_classes": 5}
    return created(name, pretrained=True, pretrained_cfg_overlay=overlay, **options)


@pytest.fixture
def weights(tmp_path):
    """Function that saves the state of a model, wrapped as a training script would."""

    def save(model):
        torch.save({"state_dict": model.state_dict()}, tmp_path / "weights.pth")
        return tmp_path / "weights.pth"

    return save


@pytest.mark.parametrize("size", [(96, 96), (48, 80), (32, 32)])
@pytest.mark.parametrize("name", [VIT, *WITH_TOKENS])
def test_positions_of_patches_are_resampled_and_the_class_token_is_kept(weights, name, size):
    """timm's own ViT fulfils the same condition."""
    source = created(name, img_size=64)
    got = loaded(name, weights(source), img_size=size)
    grid = [side // 8 for side in size]
    want = resample_abs_pos_embed(source.pos_embed, new_size=grid, old_size=[8, 8], num_prefix_tokens=1)
    assert got.pos_embed.shape == want.shape == (1, 1 + grid[0] * grid[1], 24)
    assert torch.equal(got.pos_embed, want)
    assert torch.equal(got.pos_embed[:, 0], source.pos_embed[:, 0])
    others = {key: value for key, value in source.state_dict().items() if key != "pos_embed"}
    assert all(torch.equal(got.state_dict()[key], value) for key, value in others.items())


@pytest.mark.parametrize("name", [VIT, *WITH_TOKENS])
def test_weights_of_the_same_size_stay_as_they_are(weights, name):
    source = created(name, img_size=64)
    got = loaded(name, weights(source), img_size=64).state_dict()
    assert all(torch.equal(got[key], value) for key, value in source.state_dict().items())


@pytest.mark.parametrize("name", [VIT, *WITH_TOKENS])
def test_weights_of_images_that_are_not_square(weights, name):
    """As many patches, in another arrangement: 4 x 16 positions become 8 x 8."""
    # timm divides the kernel of the patches into the image, which a convolutional stem halves: it assumes a square.
    source = created(name, img_size=(32, 128))
    got = loaded(name, weights(source), img_size=64, trained_at=(32, 128))
    want = resample_abs_pos_embed(source.pos_embed, new_size=[8, 8], old_size=[4, 16], num_prefix_tokens=1)
    assert torch.equal(got.pos_embed, want)
    assert not torch.equal(got.pos_embed, source.pos_embed)


def test_a_baseline_with_resampled_weights_computes_what_timms_vit_does(weights):
    source = created(VIT, img_size=64, mlp_ratio=3.0)
    path = weights(source)
    image = torch.randn(2, 3, 96, 96)
    mine = loaded("deepvit_baseline_12b_patch16_224", path, img_size=96)
    theirs = loaded(VIT, path, img_size=96, mlp_ratio=3.0)
    with torch.no_grad():
        torch.testing.assert_close(mine(image), theirs(image), rtol=0, atol=0)


def test_positions_on_a_grid_of_their_own_are_not_touched(weights):
    """They are resized at every call, so the grid of the images does not matter."""
    name, options = "refined_vit_small_patch16_224", {"pos_grid": (8, 8), "stem": "linear"}
    source = created(name, img_size=64, **options)
    got = loaded(name, weights(source), img_size=96, **options)
    assert torch.equal(got.pos_embed, source.pos_embed)


@pytest.mark.parametrize("paths", [((1,), (1,), (1,), (1,)), ((1, 4, 8), (1, 2, 4), (1, 2), (1,))])
def test_tables_of_windows_are_resized(weights, paths):
    source = created(LG, img_size=224, paths=paths)
    got = loaded(LG, weights(source), img_size=96, paths=paths)
    state = source.state_dict()
    tables = {key: value for key, value in got.state_dict().items() if key.endswith("bias_table")}
    resized = [key for key, value in tables.items() if value.shape != state[key].shape]
    # At 96 pixels maps have 24, 12, 6 and 3 cells a side, so windows of 7 fit into those of the first two only.
    assert len(resized) == (2 if len(paths[0]) == 1 else 7)
    for key in resized:
        window = got.get_submodule(key.rpartition(".")[0]).window_size
        assert torch.equal(tables[key], resize_rel_pos_bias_table(state[key], window, tuple(tables[key].shape)))


def test_an_lg_transformer_of_one_path_resizes_as_swin_does(weights):
    """Swin's weights fit, its tables included, and both compute the same at another size."""
    path = weights(created(SWIN, img_size=224))
    image = torch.randn(2, 3, 96, 96)
    mine = loaded(LG, path, img_size=96, paths=((1,), (1,), (1,), (1,)))
    theirs = loaded(SWIN, path, img_size=96)
    with torch.no_grad():
        torch.testing.assert_close(mine(image), theirs(image))


@pytest.mark.parametrize("name", [VIT, *WITH_TOKENS])
def test_checkpoint_path_loads_strictly_as_in_timm(weights, name):
    path = weights(created(name, img_size=64))
    assert created(name, img_size=64, checkpoint_path=str(path)).pos_embed.shape == (1, 65, 24)
    with pytest.raises(RuntimeError, match="size mismatch for pos_embed"):
        created(name, img_size=96, checkpoint_path=str(path))
