"""timm interface of Focal Transformers: as timm's own pyramids, with the published sizes."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.optim import param_groups_layer_decay

from modelzoo import measure_cost
from modelzoo.models.focal.registry import FocalTransformer
from search_space.schema.trial import ArchSpec

# Parameters counted in the released models, and GFLOPs by their own counter.
PUBLISHED = {
    "focal_tiny_patch4_window7_224": (28_880_380, 4.92),
    "focal_small_patch4_window7_224": (51_141_940, 9.43),
    "focal_base_patch4_window7_224": (89_815_400, 16.37),
    "focal_tiny_conv_patch4_window7_224": (30_825_244, 5.17),
    "focal_small_conv_patch4_window7_224": (53_086_804, 9.68),
    "focal_base_conv_patch4_window7_224": (93_268_712, 16.80),
    "focalv2_tiny_conv_patch4_window7_224": (30_220_564, 5.32),
    "focalv2_small_conv_patch4_window7_224": (51_526_540, 9.88),
    "focalv2_base_conv_patch4_window7_224": (91_186_824, 17.03),
}
KINDS = ["focal_tiny_patch4_window7_224", "focal_tiny_conv_patch4_window7_224", "focalv2_tiny_conv_patch4_window7_224"]
TOY = {"embed_dim": 8, "depths": (2, 1), "num_heads": (1, 2), "focal_windows": (3, 1), "window_size": 3}


def toy(kind=KINDS[0], **options):
    """Toy model with two stages for 24 x 24 images: maps of 6 x 6 and 3 x 3 tokens."""
    torch.manual_seed(0)
    return timm.create_model(kind, **{**TOY, "img_size": 24, "num_classes": 5, **options})


def images(size=24, in_chans=3):
    return torch.randn(2, in_chans, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.default_run(
    "focalv2_tiny_conv_patch4_window7_224", "focal_tiny_conv_patch4_window7_224", "focal_tiny_patch4_window7_224"
)
@pytest.mark.thorough
@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_parameters_are_the_published_ones(name):
    with torch.device("meta"):
        model = timm.create_model(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == PUBLISHED[name][0]


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.xdist_group("released sizes")
@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_compute_is_the_published_one_within_two_percent(name):
    """The released counter omits or estimates some small products, so the numbers are not equal."""
    cost = measure_cost(ArchSpec(model=name), img_size=224, in_chans=3, num_classes=1000)
    assert cost.gmacs == pytest.approx(PUBLISHED[name][1], rel=0.02)


def test_timm_lists_them_and_knows_their_data():
    assert set(PUBLISHED) <= set(timm.list_models("focal*"))
    for name in PUBLISHED:
        cfg = timm.get_pretrained_cfg(name)
        assert (cfg.input_size, cfg.crop_pct, cfg.interpolation) == ((3, 224, 224), 0.875, "bicubic")
        assert (cfg.mean, cfg.std) == (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
        assert (cfg.first_conv, cfg.classifier, cfg.license) == ("patch_embed.proj", "head", "mit")


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_reaches_every_parameter(kind):
    model = toy(kind, layerscale_value=0.1, pos_embed=True).train()
    model(images()).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_a_pyramid(kind):
    model = timm.create_model(kind, features_only=True, img_size=64, embed_dim=8, num_heads=(1, 1, 2, 2), window_size=4)
    assert model.feature_info.channels() == [8, 16, 32, 64]
    assert model.feature_info.reduction() == [4, 8, 16, 32]
    shapes = [tuple(features.shape) for features in model(images(64))]
    assert shapes == [(2, 8, 16, 16), (2, 16, 8, 8), (2, 32, 4, 4), (2, 64, 2, 2)]


def test_features_of_chosen_stages_are_the_intermediates():
    model, getter = toy().eval(), toy(features_only=True, out_indices=(0,)).eval()
    state = {name: value for name, value in model.state_dict().items() if name in getter.model.state_dict()}
    getter.model.load_state_dict(state)
    [want] = model.forward_intermediates(images(), indices=[0], intermediates_only=True)
    [got] = getter(images())
    torch.testing.assert_close(got, want)


def test_forward_intermediates_ends_where_forward_features_does():
    model = toy().eval()
    final, maps = model.forward_intermediates(images(), norm=True)
    torch.testing.assert_close(final, model.forward_features(images()))
    torch.testing.assert_close(maps[-1], final.permute(0, 3, 1, 2))
    assert [tuple(each.shape) for each in maps] == [(2, 8, 6, 6), (2, 16, 3, 3)]
    nhwc = model.forward_intermediates(images(), output_fmt="NHWC", intermediates_only=True, stop_early=True)
    torch.testing.assert_close(nhwc[0].permute(0, 3, 1, 2), maps[0])


def test_head_and_features_make_the_output():
    model = toy().eval()
    pooled = model.forward_head(model.forward_features(images()), pre_logits=True)
    torch.testing.assert_close(pooled, model.forward_features(images()).mean(dim=(1, 2)))
    torch.testing.assert_close(model.get_classifier()(pooled), model(images()))


def test_classifier_can_be_replaced_and_removed():
    model = toy().eval()
    model.reset_classifier(7)
    assert (model(images()).shape, model.num_classes) == ((2, 7), 7)
    model.reset_classifier(0)
    assert model(images()).shape == (2, model.num_features)
    model.reset_classifier(0, "")
    assert model(images()).shape == (2, 3, 3, 16)
    model.reset_classifier(4, "max")
    assert model(images()).shape == (2, 4)


@pytest.mark.parametrize("img_size", [20, (20, 32), 47])
def test_other_image_sizes_and_channels(img_size):
    model = toy(img_size=img_size, in_chans=1).eval()
    height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
    assert model(torch.randn(2, 1, height, width)).shape == (2, 5)


def test_an_image_of_another_size_is_refused():
    with pytest.raises(
        ValueError, match=r"^built for images of \(24, 24\), but got \(32, 24\); build it with img_size"
    ):
        toy()(torch.randn(1, 3, 32, 24))


@pytest.mark.default_run("focalv2_tiny_conv_patch4_window7_224")
@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_compiles_as_one_graph(kind):
    model = toy(kind, shift=kind == KINDS[0]).eval()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images()), model(images()))


def test_grad_checkpointing_changes_no_gradient():
    model = toy(drop_path_rate=0.0).train()
    gradients = []
    for enable in (False, True):
        model.set_grad_checkpointing(enable)
        model.zero_grad()
        model(images()).sum().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    torch.testing.assert_close(gradients[1], gradients[0])


def test_drop_path_rises_from_zero_to_its_rate():
    model = toy(drop_path_rate=0.2)
    rates = [block.drop_path1.drop_prob for stage in model.layers for block in stage.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2])


def test_position_tables_are_not_decayed():
    model = toy(pos_embed=True)
    named = {name for name in model.no_weight_decay() if name.startswith(("absolute", "layers.0.blocks.0."))}
    attn = "layers.0.blocks.0.attn.relative_position_bias_table"
    assert named == {"absolute_pos_embed", attn, f"{attn}_to_neighbors", f"{attn}_to_windows.0"}


def test_layer_decay_falls_from_head_to_stem():
    """In order of depth: stem, blocks of stage 0, its downsampling, blocks of stage 1, norm and head."""
    model = toy()
    groups = param_groups_layer_decay(model, layer_decay=0.5, no_weight_decay_list=model.no_weight_decay())
    scale = {id(parameter): group["lr_scale"] for group in groups for parameter in group["params"]}
    depth = [
        model.patch_embed.proj,
        model.layers[0].blocks[0].attn.qkv,
        model.layers[0].blocks[1].attn.qkv,
        model.layers[0].downsample.proj,
        model.layers[1].blocks[0].attn.qkv,
        model.head,
    ]
    scales = [scale[id(module.weight)] for module in depth]
    assert scales == sorted(set(scales))


def test_own_checkpoint_loads_strictly():
    state = toy().state_dict()
    assert not [name for name in state if "index" in name or "mask" in name]
    other = toy()
    other.load_state_dict(state)
    torch.testing.assert_close(other.eval()(images()), toy().eval()(images()))


def test_released_initialisation():
    """The window's own position table is zero at first, other tables and pooling are random, or pooling is the mean."""
    block = toy().layers[0].blocks[0]
    assert block.attn.relative_position_bias_table.abs().max() == 0
    assert block.attn.relative_position_bias_table_to_neighbors.std().item() == pytest.approx(0.02, rel=0.2)
    assert block.pool_layers[0].weight.std() > 0
    mean = toy(pool_init="mean").layers[0].blocks[0].pool_layers[0]
    torch.testing.assert_close(mean.weight, torch.full((1, 9), 1 / 9))
    x = torch.randn(1, 6, 6, 8)
    torch.testing.assert_close(mean(x)[0, 0, 1], x[0, :3, 3:].mean(dim=(0, 1)))


def test_dropout_of_head_and_of_blocks_are_separate():
    model = FocalTransformer(24, num_classes=5, **TOY, drop_rate=0.3, proj_drop_rate=0.2, attn_drop_rate=0.1)
    attn = model.layers[0].blocks[0].attn
    assert (model.head_drop.p, attn.proj_drop.p, attn.attn_drop.p, model.pos_drop.p) == (0.3, 0.2, 0.1, 0.0)
