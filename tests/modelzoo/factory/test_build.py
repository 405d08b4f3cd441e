"""Model factory: architectures become models, or readable errors."""

from __future__ import annotations

import pytest
import timm
import torch

from modelzoo import build_model, resolve_img_size
from modelzoo.factory.build import VIT_OPTIONS
from search_space.parsing.errors import SpecError
from search_space.schema.trial import ArchSpec


def build(img_size=8, in_chans=1, num_classes=5, **arch):
    with torch.device("meta"):
        return build_model(ArchSpec.model_validate(arch), img_size=img_size, in_chans=in_chans, num_classes=num_classes)


def refusal(**arguments) -> str:
    with pytest.raises(SpecError) as caught:
        build(**arguments)
    return "\n".join(f"{problem.path}: {problem.message}\n  {problem.hint}" for problem in caught.value.problems)


def test_vit_has_the_given_sizes():
    model = build(
        depth=3,
        embed_dim=24,
        num_heads=4,
        mlp_ratio=2.5,
        patch_size=2,
        img_size=(8, 4),
        qkv_bias=False,
        class_token=False,
        global_pool="avg",
        drop_path_rate=0.2,
        options={"init_values": 1e-5, "reg_tokens": 2},
    )
    block = model.blocks[-1]
    assert len(model.blocks) == 3
    assert model.patch_embed.grid_size == (4, 2)
    assert (block.attn.qkv.weight.shape, block.attn.qkv.bias) == ((72, 24), None)
    assert block.mlp.fc1.weight.shape == (60, 24)
    assert block.ls1.gamma.shape == (24,)
    assert block.drop_path1.drop_prob == pytest.approx(0.2)
    assert model.pos_embed.shape == (1, 8 + 2, 24)
    assert model.cls_token is None


def test_named_models_get_only_what_is_given():
    theirs = timm.create_model("vit_tiny_patch16_224", num_classes=5, depth=2)
    ours = build(model="vit_tiny_patch16_224", depth=2, in_chans=3)
    shapes = [{key: value.shape for key, value in model.state_dict().items()} for model in (ours, theirs)]
    assert shapes[0] == shapes[1]


def test_image_size_of_arch_overrides_that_of_the_data():
    assert build(img_size=8, patch_size=2).patch_embed.img_size == (8, 8)
    model = build_model(
        ArchSpec.model_validate({"img_size": [4, 6], "patch_size": 2, "depth": 1}),
        img_size=8,
        in_chans=1,
        num_classes=2,
    )
    assert model.patch_embed.img_size == (4, 6)


@pytest.mark.parametrize(
    ("arch", "img_size", "want"),
    [
        ({}, 8, (8, 8)),
        ({}, (8, 6), (8, 6)),
        ({"img_size": 12}, 8, (12, 12)),
        ({"img_size": [12, 6]}, 8, (12, 6)),
        ({"model": "vit_base_patch16_384"}, 8, (384, 384)),
        ({"model": "resnet18"}, None, (224, 224)),
        ({"model": "resnet18", "img_size": 32}, 8, (32, 32)),
    ],
)
def test_image_size_that_a_model_expects(arch, img_size, want):
    assert resolve_img_size(ArchSpec.model_validate(arch), img_size) == want


@pytest.mark.parametrize("model", ["resnet18", "convnext_atto", "inception_v3", "poolformer_s12", "hrnet_w18_small"])
def test_convolutional_models_need_none_of_the_transformers_arguments(model):
    assert build(model=model, in_chans=3).num_classes == 5


def test_all_problems_of_a_vit_are_reported_at_once():
    message = refusal(embed_dim=190, num_heads=4, patch_size=3, mlp_ratio=0.001, class_token=False, global_pool="token")
    assert message == (
        "arch.num_heads: embed_dim % num_heads == 0 must hold, but got embed_dim=190, num_heads=4\n"
        "  num_heads for embed_dim=190: 1, 2, 5, 10, 19, 38, 95, 190; near embed_dim for num_heads=4: 188, 192\n"
        "arch.patch_size: img_size % patch_size == 0 must hold, but got img_size=8x8, patch_size=3\n"
        "  patch_size for 8x8 images: 1, 2, 4, 8; near sides for patch_size=3: 6, 9\n"
        "arch.global_pool: global_pool 'token' reads the class token, but class_token is false\n"
        "  without a class token choose from avg, avgmax, map, max\n"
        "arch.mlp_ratio: embed_dim * mlp_ratio >= 1 must hold, but got embed_dim=190, mlp_ratio=0.001\n"
        "  for embed_dim=190 choose a mlp_ratio of at least 0.00526"
    )


COUNT = 1 + len(timm.list_models())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"img_size": None},
            "arch.img_size: no image size: neither the data nor 'vit' defines one\n"
            "  write arch.img_size: SIDE or [HEIGHT, WIDTH]",
        ),
        (
            {"model": "vit_tinny_patch16_224"},
            "arch.model: unknown model 'vit_tinny_patch16_224'\n"
            "  Did you mean 'vit_tiny_patch16_224' or 'deit_tiny_patch16_224' or 'vit_tiny_patch16_384'?  "
            f"`archsweep models PATTERN` searches the {COUNT} known names.",
        ),
        (
            {"model": "hf-hub:timm/vit"},
            "arch.model: unknown model 'hf-hub:timm/vit'\n"
            f"  `archsweep models PATTERN` searches the {COUNT} known names.",
        ),
        (
            {"model": "resnet18", "depth": 3},
            "arch.depth: 'resnet18' takes no depth, but 3 is given\n"
            "  remove it, or choose a model that has it (`model: vit` has every field of `arch`)",
        ),
        (
            {"model": "poolformer_s12", "depth": 3, "num_heads": 2},
            "arch.depth: 'poolformer_s12' takes no depth, but 3 is given\n"
            "  remove it, or choose a model that has it (`model: vit` has every field of `arch`)\n"
            "arch.num_heads: 'poolformer_s12' takes no num_heads, but 2 is given\n"
            "  remove it, or choose a model that has it (`model: vit` has every field of `arch`)",
        ),
        (
            {"model": "inception_v3", "drop_path_rate": 0.1},
            "arch.drop_path_rate: 'inception_v3' takes no drop_path_rate, but 0.1 is given\n"
            "  remove it, or choose a model that has it (`model: vit` has every field of `arch`)",
        ),
        (
            {"model": "vit_tiny_patch16_224", "embed_dim": 100},
            "arch.model: timm cannot build 'vit_tiny_patch16_224' with embed_dim=100: "
            "AssertionError: dim should be divisible by num_heads\n"
            "  `model: vit` supports any size; `archsweep models` lists the available models",
        ),
        (
            {"model": "vit_tiny_patch16_224", "options": {"bogus": 1}},
            "arch.options.bogus: 'vit_tiny_patch16_224' takes no bogus, but 1 is given\n"
            f"  known: {', '.join(VIT_OPTIONS)}.",
        ),
        (
            {"patch_size": 2, "options": {"depth": 3, "pretrained": True}},
            "arch.options.depth: 'depth' is a field of arch\n  write it as arch.depth\n"
            "arch.options.pretrained: 'pretrained' cannot be set by a sweep\n"
            "  archsweep takes channels and classes from the data and trains from fresh weights",
        ),
        (
            {"patch_size": 2, "options": {"norm_layer": "nope"}},
            "arch.options: timm cannot build 'vit' with norm_layer='nope': KeyError: 'nope'\n"
            "  the options and their values are those of timm's VisionTransformer",
        ),
    ],
)
def test_refusals(arguments, message):
    assert refusal(**arguments) == message


def test_patches_that_do_not_tile_the_image_of_a_named_model():
    with torch.device("meta"), pytest.raises(SpecError) as caught:
        build_model(
            ArchSpec.model_validate({"model": "vit_tiny_patch16_224", "img_size": 30}),
            img_size=None,
            in_chans=3,
            num_classes=5,
        )
    assert str(caught.value) == (
        "arch.patch_size: img_size % patch_size == 0 must hold, but got img_size=30x30, patch_size=16\n"
        "  patch_size for 30x30 images: 1, 2, 3, 5, 6, 10, 15, 30; near sides for patch_size=16: 16, 32"
    )


def test_a_misspelt_option_of_vit_suggests_the_correct_one():
    assert refusal(patch_size=2, options={"qk_nrm": True}).endswith("Did you mean 'qk_norm'?")
