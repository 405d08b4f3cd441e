"""Construction and weights as of timm's own models: device and dtype, files, another image size.

Every name of the zoo is built at a small size; the default run has one of each kind, `slow` the others.
"""

from __future__ import annotations

import pytest
import torch

from modelzoo.official.checkpoints import zoo_models

KINDS = (
    "deepvit_16b_patch16_224",
    "deepvit_baseline_12b_patch16_224",
    "deepvit_small_patch16_224",
    "focal_tiny_patch4_window7_224",
    "focalv2_tiny_conv_patch4_window7_224",
    "groupmixformer_tiny_224",
    "lg_transformer_tiny_224",
    "refined_vit_small_every_block_patch16_224",
    "refined_vit_small_patch16_224",
    "regionvit_base_w14_peg_224",
    "regionvit_tiny_224",
)
NAMES = [pytest.param(name, marks=() if name in KINDS else pytest.mark.slow) for name in zoo_models()]
PLACES = {
    "meta": {"device": "meta"},
    "bfloat16": {"dtype": torch.bfloat16},
    "float64": {"dtype": torch.float64},
    "both": {"device": "meta", "dtype": torch.float16},
}


def tensors(model):
    """Shape, dtype and device of every parameter and buffer, those that are not saved included."""
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: (value.shape, value.dtype, value.device) for name, value in named.items()}


@pytest.mark.parametrize("place", sorted(PLACES))
@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", *NAMES])
def test_device_and_dtype_of_construction_are_those_of_a_moved_model(small_model, name, place):
    """timm's own Swin fulfils the same condition."""
    sizes = {"img_size": 64, "embed_dim": 12, "num_heads": (1, 2, 2, 4)} if name.startswith("swin") else {}
    made = small_model(name, **sizes, **PLACES[place])
    assert tensors(made) == tensors(small_model(name, **sizes).to(**PLACES[place]))


@pytest.mark.parametrize("name", NAMES)
def test_a_model_of_another_dtype_computes_what_the_moved_one_does(small_model, small_images, name):
    moved = small_model(name).to(torch.float64).eval()
    made = small_model(name, dtype=torch.float64).eval()
    made.load_state_dict(moved.state_dict())
    image = small_images(name, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(made(image), moved(image))


@pytest.mark.parametrize("name", NAMES)
def test_a_classifier_replaced_later_is_of_the_dtype_of_the_model(small_model, small_images, name):
    model = small_model(name, dtype=torch.float64).eval()
    model.reset_classifier(3)
    with torch.no_grad():
        assert model(small_images(name, dtype=torch.float64)).dtype == torch.float64


def test_options_without_a_layer_of_their_own_kind_have_the_dtype_too(small_model):
    """Layers that only options build: learned regions, layer scale, position embeddings, pooling, norms."""
    options = {
        "regionvit_tiny_224": [
            {"regional_tokens": "grid", "regional_attention": "separate", "share_projection": False, "det_norm": True},
            {"stem": "1conv", "peg": True},
            {"stem": "linear", "regional_tokens": "shared"},
        ],
        "focal_tiny_patch4_window7_224": [
            {"layerscale_value": 0.1, "pos_embed": True, "focal_pool": "conv", "shift": True},
            {"pre_norm_downsample": True, "conv_embed": True},
        ],
        "lg_transformer_tiny_224": [{"fusion": "concat", "shift_paths": "all"}],
        "refined_vit_small_patch16_224": [{"stem": "linear", "pos_grid": (3, 3)}],
        "deepvit_16b_patch16_224": [{"norm": "layer", "num_heads": 4}, {"reattention_blocks": 1, "fused": False}],
    }
    for name, kinds in options.items():
        for given in kinds:
            made = small_model(name, **given, dtype=torch.float64, device="meta")
            assert tensors(made) == tensors(small_model(name, **given).to("meta", torch.float64)), (name, given)
