"""Official arguments that are at their defaults in the recorded cases: their effect, and their error messages."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from modelzoo import from_official
from modelzoo.models.deepvit import state_dict_adapter as deepvit_official
from modelzoo.models.groupmixformer import state_dict_adapter as groupmixformer_official
from modelzoo.models.refined_vit import state_dict_adapter as refined_vit_official
from modelzoo.models.refined_vit.mix_token import draw_box
from search_space.parsing.errors import SpecError

DEEPVIT = {
    "img_size": 16,
    "patch_size": 4,
    "num_classes": 5,
    "embed_dim": 24,
    "depth": [False, False],
    "num_heads": 3,
    "qkv_bias": True,
    "apply_transform": [False, True],
}
REFINED = {**DEEPVIT, "depth": [False, True], "apply_transform": [False, False], "use_cnn_embed": False}
GROUPMIX = {
    "num_classes": 5,
    "embedding_dims": [20, 40, 40, 40],
    "serial_depths": [1, 1, 1, 1],
    "mlp_ratios": [2, 2, 3, 2],
}
BUILD = {
    "deepvit": deepvit_official.build_official,
    "refined_vit": refined_vit_official.build_official,
    "groupmixformer": groupmixformer_official.build_official,
}


def randomised_state(system, config):
    """Random state dict with the shapes that follow from the arguments."""
    generator = torch.Generator().manual_seed(0)
    state = BUILD[system](config).state_dict()
    for key, value in state.items():
        if value.is_floating_point():
            noise = torch.randn(value.shape, generator=generator)
            state[key] = 0.5 + noise.abs() if key.endswith("running_var") else 0.3 * noise
    return state


def official(system, config, **changes):
    config = {**config, **changes}
    return from_official(system, config, randomised_state(system, config)).eval()


def images(*shape):
    return torch.randn(*(shape or (2, 3, 16, 16)), generator=torch.Generator().manual_seed(1))


def refusal(system, config) -> str:
    with pytest.raises(SpecError) as caught:
        BUILD[system](config)
    return str(caught.value)


@pytest.mark.parametrize(("system", "config"), [("deepvit", DEEPVIT), ("refined_vit", REFINED)])
@pytest.mark.parametrize("blocks", [[False, False], [True, True]])
def test_qk_scale_scales_the_queries(system, config, blocks):
    """Twice the default scale must equal twice the weights of q, if the scale is not used elsewhere."""
    config = {**config, "apply_transform": blocks, "depth": [False]}
    state = randomised_state(system, config)
    asked = from_official(system, {**config, "qk_scale": 2 * 8**-0.5}, state).eval()
    for kind in ("weight", "bias"):
        state[f"blocks.0.attn.qkv.{kind}"][:24] *= 2
    torch.testing.assert_close(asked(images()), from_official(system, config, state).eval()(images()))


def test_transform_scale_multiplies_the_mixed_map_by_the_softmax_scale():
    state = randomised_state("deepvit", DEEPVIT)
    scaled = from_official("deepvit", {**DEEPVIT, "transform_scale": True, "qk_scale": 0.25}, state).eval()
    for kind in ("weight", "bias"):
        state[f"blocks.1.attn.var_norm.{kind}"] *= 0.25
    want = from_official("deepvit", {**DEEPVIT, "qk_scale": 0.25}, state).eval()(images())
    torch.testing.assert_close(scaled(images()), want)


def test_residual_scale_divides_the_branches():
    """s = 1/4: each branch is multiplied by four; the norms' input is a quarter, which has no effect with eps = 0."""
    config = {**DEEPVIT, "layer_norm_eps": 0.0}
    state = randomised_state("deepvit", config)
    scaled = from_official("deepvit", {**config, "scale_adjustment": 0.25}, state).eval()
    for block in range(2):
        for linear in ("attn.proj", "mlp.fc2"):
            for kind in ("weight", "bias"):
                state[f"blocks.{block}.{linear}.{kind}"] *= 4
    torch.testing.assert_close(scaled(images()), from_official("deepvit", config, state).eval()(images()))


def test_without_reattention_transform_and_residual_scale_have_no_effect():
    plain = {**DEEPVIT, "re_atten": False, "apply_transform": [True, True]}
    state = randomised_state("deepvit", plain)
    assert not [key for key in state if "reatten" in key]
    want = from_official("deepvit", {**plain, "apply_transform": [False, False]}, state).eval()(images())
    got = from_official("deepvit", {**plain, "scale_adjustment": 0.5, "transform_scale": True}, state).eval()(images())
    torch.testing.assert_close(got, want, rtol=0, atol=0)


def test_cos_reg_returns_the_maps_of_all_blocks_in_training_only():
    model = official("deepvit", DEEPVIT, cos_reg=True)
    assert model(images()).shape == (2, 5)
    logits, maps = model.train()(images())
    assert logits.shape == (2, 5)
    assert [tuple(attn.shape) for attn in maps] == [(2, 3, 17, 17)] * 2
    torch.testing.assert_close(maps[0].sum(dim=-1), torch.ones(2, 3, 17))


def test_cos_reg_of_refined_vit_returns_the_maps_passed_between_blocks():
    logits, patch_logits, box, maps = official("refined_vit", REFINED, cos_reg=True, mix_token=False).train()(images())
    assert (logits.shape, patch_logits.shape, box) == ((2, 5), (2, 16, 5), (0, 0, 0, 0))
    # A sharing block passes on its incoming map.
    torch.testing.assert_close(maps[1], maps[0], rtol=0, atol=0)
    model = official("refined_vit", REFINED, cos_reg=True, mix_token=False, return_dense=False)
    logits, maps = model.train()(images())
    assert (logits.shape, len(maps)) == ((2, 5), 2)
    assert model.eval()(images()).shape == (2, 5)


def test_dense_head_adds_half_the_maximum_of_the_patches():
    config = {**REFINED, "mix_token": False}
    model = official("refined_vit", config)
    tokens = model.forward_features(images())
    want = model.head(tokens[:, 0]) + 0.5 * torch.stack([model.aux_head(t) for t in tokens[:, 1:].unbind(1)]).amax(0)
    torch.testing.assert_close(model(images()), want)


def box_by_cutmix(seed: int, height: int, width: int) -> tuple[int, int, int, int]:
    """Box of CutMix, step by step, with numpy's legacy generator."""
    random = np.random.RandomState(seed)
    ratio = np.sqrt(1.0 - random.beta(1, 1))
    cut_h, cut_w = int(height * ratio), int(width * ratio)
    cy, cx = random.randint(height), random.randint(width)
    corners = (cy - cut_h // 2, cx - cut_w // 2, cy + cut_h // 2, cx + cut_w // 2)
    return tuple(int(v) for v in np.clip(corners, 0, (height, width, height, width)))


@pytest.mark.parametrize("seed", range(20))
def test_box_is_the_one_of_numpys_seed(seed):
    np.random.seed(seed)
    assert tuple(draw_box((4, 6))) == box_by_cutmix(seed, 4, 6)


def test_mixed_tokens_are_mixed_images_and_separated_again():
    """Exchanging whole patches equals exchanging pixels, because the linear stem processes each patch separately."""
    model = official("refined_vit", REFINED).train()
    x = images()
    np.random.seed(1)
    logits, patch_logits, (top, left, bottom, right) = model(x)
    assert (top, left, bottom, right) == box_by_cutmix(1, 4, 4)
    assert bottom > top
    assert right > left
    mixed = x.clone()
    rows, columns = slice(4 * top, 4 * bottom), slice(4 * left, 4 * right)
    mixed[:, :, rows, columns] = x.flip(0)[:, :, rows, columns]
    plain = official("refined_vit", REFINED, mix_token=False).train()
    want, want_patches, _ = plain(mixed)
    torch.testing.assert_close(logits, want)
    inside = torch.zeros(4, 4, dtype=torch.bool)
    inside[top:bottom, left:right] = True
    torch.testing.assert_close(patch_logits[:, ~inside.flatten()], want_patches[:, ~inside.flatten()])
    torch.testing.assert_close(patch_logits[:, inside.flatten()], want_patches.flip(0)[:, inside.flatten()])


def test_interpolated_position_embedding_is_bilinear_between_corners():
    """A 14 x 14 embedding that is linear in row and column remains linear on 4 x 6 patches, with equal corners."""
    config = {**REFINED, "img_size": [16, 24], "mix_token": False, "interpolate_pos_embedding": True}
    state = randomised_state("refined_vit", config)
    assert state["pos_embed"].shape == (1, 197, 24)
    row, column = torch.meshgrid(torch.arange(14.0), torch.arange(14.0), indexing="ij")
    state["pos_embed"][0, 1:] = (row + 0.1 * column).flatten()[:, None]
    by_hand = {key: value.clone() for key, value in state.items()}
    row, column = torch.meshgrid(torch.linspace(0, 13, 4), torch.linspace(0, 13, 6), indexing="ij")
    patches = (row + 0.1 * column).flatten()[:, None].expand(-1, 24)
    by_hand["pos_embed"] = torch.cat([state["pos_embed"][0, :1], patches])[None]
    got = from_official("refined_vit", config, state).eval()(images(2, 3, 16, 24))
    want = from_official("refined_vit", {**config, "interpolate_pos_embedding": False}, by_hand).eval()
    torch.testing.assert_close(got, want(images(2, 3, 16, 24)))


def test_head_expand_and_kernel_reach_refined_blocks_and_not_sharing_ones():
    config = {**REFINED, "depth": [False, False, True], "apply_transform": [False, True, False]}
    config |= {"head_expand": 1.5, "refinement_kernel": 4}
    state = randomised_state("refined_vit", config)
    # round(3 * 1.5) = 4 expanded maps; sharing blocks always have 3 * 3 with kernel 3.
    assert state["blocks.1.attn.DLA.depth_sep_conv.weight"].shape == (4, 1, 4, 4)
    assert state["blocks.2.attn.DLA.depth_sep_conv.weight"].shape == (9, 1, 3, 3)
    assert official("refined_vit", config)(images()).shape == (2, 5)


@pytest.mark.parametrize(("system", "config"), [("deepvit", DEEPVIT), ("refined_vit", REFINED)])
@pytest.mark.parametrize("conv", [True, False])
def test_images_may_be_rectangular_or_grey(system, config, conv):
    model = official(system, config, img_size=(8, 24), in_chans=2, use_cnn_embed=conv, num_classes=3)
    assert model.pos_embed.shape == (1, 13, 24)
    assert model(images(2, 2, 8, 24)).shape == (2, 3)


@pytest.mark.parametrize(("system", "config"), [("deepvit", DEEPVIT), ("refined_vit", REFINED)])
def test_dropouts_are_where_the_official_constructor_puts_them(system, config):
    model = official(system, config, drop_rate=0.3, attn_drop_rate=0.2, drop_path_rate=0.1)
    block = model.blocks[1]
    assert (model.pos_drop.p, block.attn.proj_drop.p, block.mlp.drop1.p, block.mlp.drop2.p) == (0.3,) * 4
    assert (block.attn.attn_drop.p, block.drop_path1.drop_prob, model.head_drop.p) == (0.2, pytest.approx(0.1), 0.0)
    assert isinstance(model.blocks[0].drop_path1, torch.nn.Identity)


@pytest.mark.parametrize(("system", "config"), [("deepvit", DEEPVIT), ("refined_vit", REFINED)])
def test_arguments_that_are_never_read_change_nothing(system, config):
    state = randomised_state(system, config)
    want = from_official(system, config, state).eval()(images())
    ignored = {"group": True, **({"share_atten": True} if system == "refined_vit" else {})}
    torch.testing.assert_close(from_official(system, {**config, **ignored}, state).eval()(images()), want)


def test_eps_of_all_norms_is_the_given_one():
    model = official("refined_vit", REFINED, use_cnn_embed=True, batch_norm_eps=0.5, layer_norm_eps=0.25)
    norms = [m for m in model.modules() if hasattr(m, "eps")]
    assert {m.eps for m in norms if isinstance(m, nn.BatchNorm2d)} == {0.5}
    assert {m.eps for m in norms if not isinstance(m, nn.BatchNorm2d)} == {0.25}


def test_dense_groupmixformer_returns_the_maps_of_its_stages():
    model = official("groupmixformer", GROUPMIX, return_interm_layers=True)
    assert not [key for key in model.state_dict() if key.startswith(("head", "norm4"))]
    maps = model(images(1, 3, 64, 96))
    assert [tuple(each.shape) for each in maps] == [(1, 20, 16, 24), (1, 40, 8, 12), (1, 40, 4, 6), (1, 40, 2, 3)]


def test_fewer_stages_than_listed_share_the_drop_path_of_all():
    model = official("groupmixformer", GROUPMIX, num_stages=3, drop_path_rate=0.3)
    assert model(images(1, 3, 32, 32)).shape == (1, 5)
    rates = [getattr(m, "drop_prob", 0.0) for name, m in model.named_modules() if name.endswith("drop_path1")]
    assert rates == pytest.approx([0.0, 0.1, 0.2])


def test_groupmixformer_stores_its_attention_dropout_and_never_applies_it():
    state = randomised_state("groupmixformer", GROUPMIX)
    models = [
        from_official("groupmixformer", {**GROUPMIX, "drop_path_rate": 0.0, **more}, state).train()
        for more in ({}, {"attn_drop_rate": 0.9, "patch_size": 2, "pretrained": True, "out_features": [1]})
    ]
    torch.testing.assert_close(models[0](images(2, 3, 64, 64)), models[1](images(2, 3, 64, 64)))


@pytest.mark.parametrize("channels", [{"in_dim": 1}, {"in_channels": 1}])
def test_groupmixformer_takes_other_channels(channels):
    assert official("groupmixformer", GROUPMIX, **channels)(images(1, 1, 32, 32)).shape == (1, 5)


REFUSALS = [
    (
        "deepvit",
        {**DEEPVIT, "hybrid_backbone": "resnet26d"},
        "deepvit: hybrid_backbone is not supported\n  legal: None; use_cnn_embed gives a conv stem",
    ),
    ("deepvit", {**DEEPVIT, "depth": 12}, "deepvit: depth must be a list with an entry per block, but got 12"),
    (
        "refined_vit",
        {**REFINED, "apply_transform": [True]},
        "refined_vit: apply_transform has 1 entries, but depth has 2\n  write one entry per block in both",
    ),
    ("refined_vit", {"depth": [False]}, "refined_vit: argument 'apply_transform' is missing"),
    (
        "refined_vit",
        {**REFINED, "depth": [True, False]},
        "the first block cannot be sharing: there is no previous block whose attention map it could use\n"
        "  make block 0 plain or refined",
    ),
    (
        "refined_vit",
        {**REFINED, "return_dense": False},
        "refined_vit: mix_token needs return_dense, but got mix_token=True, return_dense=False\n"
        "  only patch logits can separate the mixed patches; write mix_token: false",
    ),
    (
        "deepvit",
        {**DEEPVIT, "use_cnn_embed": True, "patch_size": 5},
        "arch.patch_size: a convolutional stem needs an even patch_size, but got 5\n"
        "  its first convolution halves the image; or choose the linear stem",
    ),
    (
        "groupmixformer",
        {**GROUPMIX, "num_heads": 4},
        "groupmixformer: num_heads must be 8, but got 4\n  the released position term has windows for 2 + 3 + 3 heads",
    ),
    (
        "groupmixformer",
        {**GROUPMIX, "num_stages": 1},
        "groupmixformer: the released head is as wide as embedding_dims[3], but num_stages=1 ends with 20 of "
        "[20, 40, 40, 40]\n  write return_interm_layers: true for a model without head",
    ),
    (
        "groupmixformer",
        {**GROUPMIX, "in_dim": 3, "in_channels": 3},
        "groupmixformer: in_channels and in_dim are the same argument\n  give one of them",
    ),
]


@pytest.mark.parametrize(("system", "config", "message"), REFUSALS, ids=[message[:40] for *_, message in REFUSALS])
def test_invalid_arguments_are_refused_with_a_reason(system, config, message):
    assert refusal(system, config) == message


def test_state_of_a_whole_model_must_fit():
    state = randomised_state("deepvit", DEEPVIT)
    state["blocks.1.attn.var_norm.wait"] = state.pop("blocks.1.attn.var_norm.weight")
    state["head.weight"] = torch.zeros(4, 24)
    with pytest.raises(SpecError) as caught:
        from_official("deepvit", DEEPVIT, state)
    assert str(caught.value) == (
        "deepvit: key 'blocks.1.attn.var_norm.weight' is missing from the state\n"
        "deepvit: key 'head.weight' must have shape (5, 24), but has (4, 24)\n"
        "deepvit: unexpected key 'blocks.1.attn.var_norm.wait' in the state\n"
        "  Did you mean 'blocks.1.attn.var_norm.weight'?"
    )
