"""timm interface of RegionViT: names, sizes, costs, features, heads; and each of its options."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay

from modelzoo import measure_cost
from modelzoo.models.regionvit.registry import RegionViT
from search_space.parsing.errors import SpecError
from search_space.schema.trial import ArchSpec

# Parameters measured on the released code; 10^9 multiply-accumulates as published, if published.
PARAMS = {
    "regionvit_tiny_224": 13_842_676,
    "regionvit_small_224": 30_586_618,
    "regionvit_medium_224": 41_215_906,
    "regionvit_base_224": 72_747_232,
    "regionvit_small_w14_224": 31_354_714,
    "regionvit_small_w14_peg_224": 31_367_674,
    "regionvit_base_w14_224": 73_825_120,
    "regionvit_base_w14_peg_224": 73_842_400,
}
GMACS = {"regionvit_tiny_224": 2.4, "regionvit_small_224": 5.3, "regionvit_medium_224": 7.4, "regionvit_base_224": 13.0}
TINY = {
    "img_size": 32,
    "num_classes": 3,
    "embed_dim": (8, 8, 16, 16, 32),
    "depths": (1, 2, 1, 1),
    "num_heads": (1, 2, 2, 4),
    "window_size": 2,
    "mlp_ratio": 2,
}


def tiny(**options):
    torch.manual_seed(0)
    return timm.create_model("regionvit_tiny_224", **{**TINY, **options}).eval()


def test_all_names_are_listed():
    assert set(timm.list_models("regionvit*")) == set(PARAMS)


@pytest.mark.parametrize("name", PARAMS)
def test_named_model_has_the_released_number_of_parameters(name):
    with torch.device("meta"):
        model = timm.create_model(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMS[name]


@pytest.mark.default_run("regionvit_tiny_224")
@pytest.mark.thorough
@pytest.mark.xdist_group("released sizes")
@pytest.mark.parametrize("name", GMACS)
def test_named_model_costs_what_was_published(name):
    cost = measure_cost(ArchSpec(model=name), img_size=224, in_chans=3, num_classes=1000)
    assert round(cost.gmacs, 1) == GMACS[name]


def test_default_cfg_names_real_layers():
    for name in PARAMS:
        with torch.device("meta"):
            model = timm.create_model(name)
        cfg = model.pretrained_cfg
        assert model.get_classifier() is model.get_submodule(cfg["classifier"])
        assert [model.get_submodule(conv).in_channels for conv in cfg["first_conv"]] == [3, 3]
        assert (cfg["input_size"], cfg["crop_pct"], cfg["mean"]) == ((3, 224, 224), 0.875, (0.485, 0.456, 0.406))


def test_gradient_reaches_all_parameters():
    model = tiny(peg=True).train()
    model(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_only_the_last_position_table_never_reaches_the_logits():
    model = tiny()
    model(torch.randn(2, 3, 64, 64)).square().sum().backward()
    unused = [name for name, parameter in model.named_parameters() if not parameter.grad.any()]
    assert unused == ["layers.3.block.1.attn.rel_pos"]


def test_features_only_gives_the_local_maps():
    model = tiny(features_only=True, out_indices=(0, 2))
    assert [tuple(local.shape) for local in model(torch.randn(2, 3, 32, 32))] == [(2, 8, 8, 8), (2, 16, 2, 2)]
    assert (model.feature_info.channels(), model.feature_info.reduction()) == ([8, 16], [4, 16])


def test_intermediates_are_those_of_the_forward_pass():
    model, image = tiny(), torch.randn(2, 3, 32, 32)
    tokens, maps = model.forward_intermediates(image, indices=[-2, -1])
    assert torch.equal(model.forward_head(tokens), model(image))
    assert [tuple(local.shape) for local in maps] == [(2, 16, 2, 2), (2, 32, 1, 1)]
    early = model.forward_intermediates(image, indices=[2], stop_early=True, intermediates_only=True)
    assert torch.equal(early[0], maps[0])


def test_out_of_range_intermediates_are_refused():
    with pytest.raises(ValueError, match=r"^feature indices must be within 4 stages, but got \[4\]$"):
        tiny().forward_intermediates(torch.randn(1, 3, 32, 32), indices=[4])


def test_head_can_be_replaced_and_pooling_left_out():
    model, image = tiny(), torch.randn(2, 3, 64, 64)
    model.reset_classifier(7)
    assert model(image).shape == (2, 7)
    model.reset_classifier(0, "")
    # 64 pixels are 8 regions of 8 pixels per side, halved three times.
    assert model(image).shape == (2, 1, 32)
    assert model.forward_head(model.forward_features(image), pre_logits=True).shape == (2, 1, 32)


@pytest.mark.parametrize(
    "options", [{"in_chans": 1}, {"img_size": (40, 24)}, {"drop_path_rate": 0.5}, {"window_size": 3}]
)
def test_usual_arguments_work(options):
    model = tiny(**options)
    size = options.get("img_size", (32, 32))
    assert model(torch.randn(2, options.get("in_chans", 3), *size)).shape == (2, 3)


def test_checkpointing_changes_no_gradient():
    gradients = []
    for is_checkpointed in (False, True):
        model = tiny(peg=True).train()
        model.set_grad_checkpointing(is_checkpointed)
        torch.manual_seed(1)
        model(torch.randn(2, 3, 32, 32)).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.slow
def test_compiles_without_graph_breaks():
    model, image = tiny(peg=True), torch.randn(2, 3, 36, 28)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(image), model(image))


def test_layer_decay_orders_stem_stages_and_head():
    model = tiny(peg=True)
    scales = {}
    for group in param_groups_layer_decay(model, layer_decay=0.5):
        scales |= {id(parameter): group["lr_scale"] for parameter in group["params"]}
    assert len(scales) == len(list(model.parameters()))
    path = [
        model.patch_embed.proj[0].weight,
        model.layers[0].block[1].attn.qkv.weight,
        model.layers[1].block[0].proj[2].weight,
        model.layers[1].block[2].attn.qkv.weight,
        model.head.weight,
    ]
    ordered = [scales[id(parameter)] for parameter in path]
    assert ordered == sorted(set(ordered))
    assert scales[id(model.layers[1].peg.weight)] == scales[id(model.layers[1].block[1].attn.qkv.weight)]


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        # Stem convolution of the regions: 8 channels of an 8 x 8 patch of 3 channels, and their biases; five norms.
        ({"regional_tokens": "none"}, -(8 * 3 * 64 + 8) - 2 * (8 + 16 * 2 + 16 + 32)),
        ({"regional_tokens": "shared"}, -(8 * 3 * 64 + 8) + 8),
        ({"regional_tokens": "grid"}, -(8 * 3 * 64 + 8) + 8 * 4 * 4),
        ({"regional_attention": "none"}, -2 * (8 + 16 * 2 + 16 + 32)),
        ({"regional_attention": "separate"}, sum(4 * d * d + 4 * d for d in (8, 16, 16, 16, 32))),
        # Norm of the old width, nine weights and a bias per new channel.
        ({"share_projection": False}, sum(2 * a + 10 * b for a, b in ((8, 16), (16, 16), (16, 32)))),
        ({"rel_pos": False}, -9 * (1 + 2 * 2 + 2 + 4)),
        ({"peg": True}, 9 * (8 + 16 + 16 + 32)),
        ({"det_norm": True}, 2 * (8 + 16 + 16 + 32)),
        ({"corner": "intersection"}, 0),
    ],
    ids=lambda value: "-".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_each_part_is_an_argument(options, difference):
    image = torch.randn(2, 3, 36, 28)
    model = tiny(**options)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count - sum(parameter.numel() for parameter in tiny().parameters()) == difference
    assert model(image).shape == (2, 3)


def test_without_regional_tokens_distant_windows_are_independent_in_the_first_stage():
    """With 8 x 8 local tokens in 2 x 2 windows, a pixel affects one window, and all with regional tokens."""
    reached = {}
    for kind in ("computed", "none"):
        # In float32 the little that reaches a far token may be rounded away.
        model = tiny(regional_tokens=kind, stem="linear").double()
        image = torch.randn(1, 3, 32, 32, dtype=torch.float64)
        changed = image.clone()
        changed[..., 0, 0] += 1
        first = [model.forward_intermediates(x, indices=[0], intermediates_only=True)[0] for x in (image, changed)]
        reached[kind] = ((first[0] - first[1]).abs().amax(1) > 0).sum().item()
    assert reached == {"computed": 64, "none": 4}


def test_det_norm_normalises_the_maps_and_not_the_logits():
    image = torch.randn(2, 3, 32, 32)
    plain, normed = tiny(), tiny(det_norm=True)
    normed.load_state_dict(plain.state_dict(), strict=False)
    assert torch.equal(plain(image), normed(image))
    first = normed.forward_intermediates(image, intermediates_only=True)[0]
    torch.testing.assert_close(first.mean(1), torch.zeros(2, 8, 8), atol=1e-5, rtol=0)


def test_released_checkpoint_loads_through_timm(tmp_path):
    model = tiny()
    state = dict(model.state_dict())
    state |= {key.replace(".proj.", ".proj_cls."): value for key, value in state.items() if ".block.0.proj." in key}
    torch.save({"model": state}, tmp_path / "released.pth")
    overlay = {"file": str(tmp_path / "released.pth"), "num_classes": 3}
    again = timm.create_model("regionvit_tiny_224", pretrained=True, pretrained_cfg_overlay=overlay, **TINY).eval()
    image = torch.randn(1, 3, 32, 32)
    assert torch.equal(model(image), again(image))


def test_all_problems_of_the_arguments_are_reported_at_once():
    with pytest.raises(SpecError) as caught:
        RegionViT(
            32,
            8,
            embed_dim=(8, 8, 12),
            depths=(1, 0),
            num_heads=(3, 2),
            downsampling=("c", "s"),
            window_size=(2, 2, 2),
            corner="onion",
        )
    assert str(caught.value) == (
        "RegionViT: unknown corner 'onion'\n"
        "  known: intersection, union.  Did you mean 'union'?\n"
        "RegionViT: stem '3conv' needs patch_size == 4 and embed_dim[0] % 4 == 0, "
        "but got patch_size=8, embed_dim[0]=8\n"
        "  choose stem '1conv' or 'linear' for other patch sizes\n"
        "RegionViT: window_size needs one value per stage, 2 as in depths, but got 3"
    )


def test_incompatible_widths_and_heads_are_refused():
    with pytest.raises(SpecError) as caught:
        RegionViT(32, embed_dim=(8, 8, 12), depths=(1, 0), num_heads=(3, 2), downsampling=("c", "sc"))
    assert str(caught.value) == (
        "RegionViT: embed_dim % num_heads == 0 must hold, but stage 0 has embed_dim=8, num_heads=3\n"
        "  num_heads for embed_dim=8: 1, 2, 4, 8\n"
        "RegionViT: stage 1 needs a depth of at least 1, but got 0\n"
        "RegionViT: the width of stage 1 must be a multiple of the previous stage's, but got 12 after 8\n"
        "  a projection is a depthwise convolution, so its channel multiplier must be an integer"
    )


def test_windows_that_leave_local_tokens_without_a_region_are_refused():
    model = tiny(window_size=(4, 2, 2, 2))
    with pytest.raises(SpecError) as caught:
        model(torch.randn(1, 3, 64, 64))
    assert str(caught.value) == (
        "regions * window_size >= local map must hold in every stage, but a stage has 2x2 regions, window_size=2 "
        "and a local map of 8x8\n"
        "  choose window sizes that do not shrink from stage to stage, or another image size"
    )
