"""timm interface of DeepViT, Refined-ViT and GroupMixFormer: as timm's own models, with the released sizes."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.optim import param_groups_layer_decay

import modelzoo
from search_space.schema.trial import ArchSpec

# Parameters, entries of the state and GMACs, counted on the released models.
RELEASED = {
    "deepvit_12b_patch16_224": (18_509_272, 236, 3.969),
    "deepvit_16b_patch16_224": (24_426_664, 312, 5.272),
    "deepvit_24b_patch16_224": (36_261_448, 464, 7.879),
    "deepvit_32b_patch16_224": (48_096_232, 616, 10.486),
    "deepvit_small_patch16_224": (27_312_632, 247, 6.361),
    "deepvit_large_patch16_224": (58_883_708, 488, 13.149),
    "deepvit_large_patch16_384": (59_043_308, 488, 44.792),
    "deepvit_baseline_12b_patch16_224": (18_507_112, 152, 3.902),
    "deepvit_baseline_16b_patch16_224": (24_423_784, 200, 5.183),
    "deepvit_baseline_24b_patch16_224": (36_257_128, 296, 7.745),
    "deepvit_baseline_32b_patch16_224": (48_090_472, 392, 10.308),
    "refined_vit_small_patch16_224": (25_408_656, 420, 6.817),
    "refined_vit_small_patch16_384": (25_554_576, 420, 24.089),
    "refined_vit_small_patch16_448": (25_634_448, 420, 35.832),
    "refined_vit_medium_patch16_224": (55_450_932, 812, 13.500),
    "refined_vit_medium_patch16_384": (55_610_532, 812, 48.149),
    "refined_vit_medium_patch16_448": (55_697_892, 812, 71.904),
    "refined_vit_large_patch16_224": (81_150_192, 812, 19.187),
    "refined_vit_large_patch16_384": (81_344_752, 812, 68.510),
    "refined_vit_large_patch16_448": (81_451_248, 812, 102.364),
    "refined_vit_small_every_block_patch16_224": (27_400_136, 602, 7.694),
    "refined_vit_medium_every_block_patch16_224": (60_710_252, 1178, 15.529),
    "refined_vit_large_every_block_patch16_224": (89_077_768, 1178, 22.279),
    # The released counter of these models also counts norms.
    "groupmixformer_mobile_224": (5_733_120, 1149, 1.350),
    "groupmixformer_tiny_224": (10_949_152, 1249, 3.720),
    "groupmixformer_small_224": (22_421_320, 1149, 5.164),
    "groupmixformer_base_224": (45_827_272, 1849, 17.552),
    "groupmixformer_large_224": (71_833_648, 2949, 38.246),
}
VIT_TOY = {"embed_dim": 24, "depth": 3, "num_heads": 3, "img_size": 32, "patch_size": 8}
TOYS = {
    "deepvit_16b_patch16_224": VIT_TOY,
    "deepvit_small_patch16_224": {**VIT_TOY, "reattention_blocks": 2},
    "deepvit_baseline_12b_patch16_224": VIT_TOY,
    "refined_vit_small_patch16_224": VIT_TOY,
    "refined_vit_small_every_block_patch16_224": {**VIT_TOY, "stem": "linear"},
    "groupmixformer_tiny_224": {
        "embed_dims": (20, 40),
        "depths": (1, 2),
        "mlp_ratios": (2, 2),
        "num_heads": 4,
        "img_size": 32,
    },
}


def toy(name, **options):
    torch.manual_seed(0)
    return timm.create_model(name, **{**TOYS[name], "num_classes": 5, "drop_path_rate": 0.0, **options})


def images(size=32, in_chans=3):
    return torch.randn(2, in_chans, size, size, generator=torch.Generator().manual_seed(0))


def settled(name, **options):
    """Toy model in evaluation mode whose batch norms were updated by a few batches."""
    model = toy(name, **options).train()
    with torch.no_grad():
        for seed in range(5):
            model(torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(seed)))
    return model.eval()


@pytest.fixture(scope="module", params=sorted(RELEASED))
def released(request):
    """Name and model at full size, on the meta device."""
    with torch.device("meta"):
        return request.param, timm.create_model(request.param)


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.xdist_group("released sizes")
def test_size_is_the_released_one(released):
    name, model = released
    params, keys, gmacs = RELEASED[name]
    assert sum(parameter.numel() for parameter in model.parameters()) == params
    assert len(model.state_dict()) == keys
    in_chans, *img_size = model.default_cfg["input_size"]
    cost = modelzoo.measure_cost(ArchSpec(model=name), img_size=tuple(img_size), in_chans=in_chans, num_classes=1000)
    exact = pytest.approx(gmacs, abs=5e-4)
    assert cost.gmacs == (pytest.approx(gmacs, rel=0.015) if "groupmix" in name else exact)


def test_timm_lists_all_of_them():
    listed = {*timm.list_models("deepvit*"), *timm.list_models("refined_vit*"), *timm.list_models("groupmixformer*")}
    assert listed == set(RELEASED)
    assert listed <= set(modelzoo.available_models())


def test_data_configurations_are_the_released_ones():
    crops = {
        "deepvit_16b_patch16_224": 0.9,
        "deepvit_large_patch16_384": 1.0,
        "refined_vit_small_patch16_224": 0.9,
        "refined_vit_medium_patch16_384": 1.0,
        "refined_vit_large_patch16_448": 1.13,
        "groupmixformer_base_224": 0.875,
    }
    for name, crop_pct in crops.items():
        cfg = timm.get_pretrained_cfg(name)
        side = int(name.rpartition("_")[2])
        assert (cfg.input_size, cfg.crop_pct, cfg.interpolation) == ((3, side, side), crop_pct, "bicubic")
        imagenet = (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
        assert (cfg.mean, cfg.std) == (imagenet if "groupmix" in name else ((0.5,) * 3, (0.5,) * 3))


@pytest.mark.default_run(
    "deepvit_16b_patch16_224", "deepvit_small_patch16_224", "refined_vit_small_patch16_224", "groupmixformer_mobile_224"
)
@pytest.mark.thorough
@pytest.mark.xdist_group("released sizes")
def test_first_convolution_and_classifier_are_as_in_timms_config(released):
    _, model = released
    cfg = model.pretrained_cfg
    assert model.get_submodule(cfg["first_conv"]).weight.shape[1] == 3
    classifiers = cfg["classifier"] if isinstance(cfg["classifier"], tuple) else (cfg["classifier"],)
    for classifier in classifiers:
        assert model.get_submodule(classifier).weight.shape[0] == 1000
    assert ("aux_head" in classifiers) == (getattr(model, "aux_head", None) is not None)


@pytest.mark.parametrize("name", sorted(TOYS))
def test_gradient_reaches_every_parameter(name):
    model = toy(name).train()
    model(images()).square().sum().backward()
    # A constant that is added to a map before its batch norm has no effect, so its gradient is zero.
    vanishing = ("reatten_matrix.bias", "DLA.bn3.bias")
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().sum() > 0 or key.endswith(vanishing), key


@pytest.mark.parametrize("name", sorted(TOYS))
def test_sizes_channels_and_classes_can_be_chosen(name):
    model = toy(name, img_size=(32, 48), in_chans=1, num_classes=7, drop_path_rate=0.1).eval()
    assert model(torch.randn(2, 1, 32, 48)).shape == (2, 7)
    assert model.num_classes == 7


@pytest.mark.parametrize("name", sorted(TOYS))
def test_drop_path_rises_from_zero_to_its_rate(name):
    model = toy(name, drop_path_rate=0.2)
    rates = [getattr(m, "drop_prob", 0.0) for n, m in model.named_modules() if n.endswith("drop_path1")]
    assert rates == pytest.approx([0.0, 0.1, 0.2])


@pytest.mark.parametrize("name", sorted(TOYS))
def test_classifier_can_be_replaced_and_removed(name):
    model = toy(name).eval()
    model.reset_classifier(7)
    assert model(images()).shape == (2, 7)
    model.reset_classifier(0)
    assert model(images()).shape == (2, model.num_features)
    model.reset_classifier(4)
    assert model(images()).shape == (2, 4)


@pytest.mark.parametrize("name", sorted(TOYS))
def test_head_and_features_make_the_output(name):
    model = settled(name)
    torch.testing.assert_close(model.forward_head(model.forward_features(images())), model(images()))
    pooled = model.forward_head(model.forward_features(images()), pre_logits=True)
    assert pooled.shape == (2, model.num_features)


@pytest.mark.parametrize("name", sorted(TOYS))
def test_intermediates_end_where_forward_features_does(name):
    model = settled(name)
    final, maps = model.forward_intermediates(images(), norm=True)
    torch.testing.assert_close(final, model.forward_features(images()))
    last = final if final.ndim == 4 else final[:, 1:].transpose(1, 2).unflatten(2, (4, 4))
    torch.testing.assert_close(maps[-1], last)
    [early] = model.forward_intermediates(images(), indices=[1], stop_early=True, intermediates_only=True)
    torch.testing.assert_close(early, model.forward_intermediates(images(), intermediates_only=True)[1])


@pytest.mark.parametrize("name", sorted(TOYS))
def test_features_only(name):
    model = toy(name, features_only=True, out_indices=(0, 1)).eval()
    reductions = {"groupmixformer_tiny_224": [4, 8]}.get(name, [8, 8])
    channels = {"groupmixformer_tiny_224": [20, 40]}.get(name, [24, 24])
    assert (model.feature_info.reduction(), model.feature_info.channels()) == (reductions, channels)
    shapes = [tuple(features.shape) for features in model(images())]
    assert shapes == [(2, channel, 32 // r, 32 // r) for channel, r in zip(channels, reductions, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TOYS))
def test_compiles_as_one_graph(name):
    model = settled(name)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images()), model(images()))


@pytest.mark.parametrize("name", sorted(TOYS))
def test_grad_checkpointing_changes_no_gradient(name):
    model = toy(name).train()
    gradients = []
    for enable in (False, True):
        model.set_grad_checkpointing(enable)
        model.zero_grad()
        model(images()).sum().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    torch.testing.assert_close(gradients[1], gradients[0])


@pytest.mark.parametrize("name", sorted(TOYS))
def test_grad_checkpointing_changes_no_running_statistics(name):
    buffers = []
    for enable in (False, True):
        torch.manual_seed(0)
        model = toy(name).train()
        model.set_grad_checkpointing(enable)
        for _ in range(2):
            model(images()).sum().backward()
        buffers.append(dict(model.named_buffers()))
    assert all(torch.equal(buffers[1][key], value) for key, value in buffers[0].items())


@pytest.mark.parametrize("name", sorted(TOYS))
def test_layer_decay_falls_from_head_to_stem(name):
    model = toy(name)
    groups = param_groups_layer_decay(model, layer_decay=0.5, no_weight_decay_list=model.no_weight_decay())
    scale = {id(parameter): group["lr_scale"] for group in groups for parameter in group["params"]}
    first_conv = model.get_submodule(model.pretrained_cfg["first_conv"])
    mlps = [module.fc1 for key, module in model.named_modules() if key.endswith("mlp")]
    scales = [scale[id(module.weight)] for module in (first_conv, *mlps, model.head)]
    assert scales == sorted(set(scales))
    if getattr(model, "aux_head", None) is not None:
        assert scale[id(model.aux_head.weight)] == scale[id(model.head.weight)]


@pytest.mark.parametrize("name", ["deepvit_16b_patch16_224", "refined_vit_small_patch16_224"])
def test_tokens_and_position_embedding_have_equal_initialisation_and_no_weight_decay(name):
    model = timm.create_model(name, depth=2, num_classes=0)
    assert {"cls_token", "pos_embed"} <= model.no_weight_decay()
    for parameter in (model.cls_token, model.pos_embed):
        assert parameter.std().item() == pytest.approx(0.02, rel=0.15)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("deepvit_small_patch16_224", {"reattention_blocks": 3, "theta_bias": False}),
        pytest.param("refined_vit_small_patch16_224", {"layout": "every", "expansion": 2.0}, marks=pytest.mark.slow),
        ("groupmixformer_tiny_224", {"token_ensemble": False}),
        pytest.param("focal_tiny_patch4_window7_224", {"focal_pool": "mean"}, marks=pytest.mark.slow),
        pytest.param("regionvit_tiny_224", {"peg": True}, marks=pytest.mark.slow),
        pytest.param("lg_transformer_tiny_224", {"fusion": "concat"}, marks=pytest.mark.slow),
    ],
)
def test_a_sweep_can_name_them_and_set_their_parts(name, options):
    arch = ArchSpec(model=name, options=options)
    with torch.device("meta"):
        model = modelzoo.build_model(arch, img_size=224, in_chans=1, num_classes=10)
        plain = modelzoo.build_model(ArchSpec(model=name), img_size=224, in_chans=1, num_classes=10)
    count = [sum(parameter.numel() for parameter in each.parameters()) for each in (model, plain)]
    assert count[0] != count[1]
    cost = modelzoo.measure_cost(arch, img_size=224, in_chans=1, num_classes=10)
    assert cost.params_m == pytest.approx(count[0] / 1e6)


def test_plain_blocks_support_what_timms_blocks_support():
    """The baseline is a host for every mechanism, including those that pass maps between blocks."""
    attention = {"name": "refiner", "sharing": "alternate", "blocks": {"last": 2}}
    arch = ArchSpec(model="deepvit_baseline_12b_patch16_224", attention=attention, depth=4)
    with torch.device("meta"):
        model = modelzoo.build_model(arch, img_size=224, in_chans=3, num_classes=10)
    assert [type(block.attn).__name__ for block in model.blocks[2:]] == ["RefinedAttention", "MapSharingAttention"]
