"""Construction and weights as of timm's own models: device and dtype, files, another image size.

Every name of the zoo is built at a small size; the default run has one of each kind, `slow` the others.
"""

from __future__ import annotations

import pytest
import timm
import torch
from safetensors.torch import load_file
from timm.models import save_for_hf

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


@pytest.mark.parametrize(
    "place", [pytest.param(place, marks=() if place in ("bfloat16", "both") else pytest.mark.slow) for place in PLACES]
)
@pytest.mark.zoo("swin_tiny_patch4_window7_224")
def test_device_and_dtype_of_construction_are_those_of_a_moved_model(small_model, name, place):
    """timm's own Swin fulfils the same condition."""
    sizes = {"img_size": 64, "embed_dim": 12, "num_heads": (1, 2, 2, 4)} if name.startswith("swin") else {}
    made = small_model(name, **sizes, **PLACES[place])
    assert tensors(made) == tensors(small_model(name, **sizes).to(**PLACES[place]))


@pytest.mark.zoo
def test_a_model_of_another_dtype_computes_what_the_moved_one_does(small_model, small_images, name):
    moved = small_model(name).to(torch.float64).eval()
    made = small_model(name, dtype=torch.float64).eval()
    made.load_state_dict(moved.state_dict())
    image = small_images(name, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(made(image), moved(image))


@pytest.mark.zoo
def test_a_classifier_replaced_later_is_of_the_dtype_of_the_model(small_model, small_images, name):
    model = small_model(name, dtype=torch.float64).eval()
    model.reset_classifier(3)
    with torch.no_grad():
        assert model(small_images(name, dtype=torch.float64)).dtype == torch.float64


# Blocks of timm's kind alone use no option of the mechanism, so another check has to find the wrong word.
PLAIN_BLOCKS = {
    "deepvit_small_patch16_224": [{"reattention_blocks": 0}],
    "refined_vit_small_patch16_224": [{"layout": "plain"}],
}


@pytest.mark.zoo("swin_tiny_patch4_window7_224", "vit_tiny_patch16_224", slow="none")
def test_an_unknown_keyword_is_a_type_error_and_the_channels_can_be_asked_for(small_model, name):
    """Symptom: a zoo model took the wrong word for an option without effect, which timm's callers do not catch."""
    for given in [{}, *PLAIN_BLOCKS.get(name, [])]:
        with pytest.raises(TypeError, match="unexpected keyword argument 'embed_dims_'"):
            small_model(name, **given, embed_dims_=8, device="meta")
    assert small_model(name, in_chans=2, device="meta").in_chans == 2


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


@pytest.mark.zoo
def test_every_entry_of_the_state_owns_its_memory(small_model, name):
    """A view would be written to a file with all of its base, and safetensors refuses it."""
    for key, value in small_model(name).state_dict().items():
        assert value.is_contiguous(), key
        assert value.untyped_storage().nbytes() == value.numel() * value.element_size(), key


@pytest.mark.zoo
def test_a_model_saved_for_the_hub_is_built_from_its_folder(small_model, small_images, name, tmp_path):
    """Symptom: `save_for_hf` of Focal v2 ended with a ValueError about a tensor that is not contiguous."""
    model = small_model(name).eval()
    save_for_hf(model, tmp_path, safe_serialization=True)
    again = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    state, saved = model.state_dict(), load_file(tmp_path / "model.safetensors")
    assert list(again.state_dict()) == list(state)
    assert saved.keys() == state.keys()
    assert all(torch.equal(saved[key], value) for key, value in state.items())
    with torch.no_grad():
        assert torch.equal(again(small_images(name)), model(small_images(name)))


# Tracing takes seconds, so the default run has the two families whose batch was fixed, with few blocks.
FEW_BLOCKS = {
    "refined_vit_small_patch16_224": {"depth": 2},
    "regionvit_base_w14_peg_224": {
        "embed_dim": (8, 8, 16),
        "depths": (1, 1),
        "num_heads": (1, 2),
        "downsampling": ("c", "sc"),
    },
}


@pytest.mark.default_run("refined_vit_small_patch16_224")
@pytest.mark.zoo(default=FEW_BLOCKS, slow="kinds")
def test_export_with_any_number_of_images(small_model, small_images, name):
    """Symptom: RegionViT and Refined-ViT fixed the number of images in the exported program."""
    model = small_model(name, **FEW_BLOCKS.get(name, {})).eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (small_images(name, 3),), dynamic_shapes=({0: batch},)).module()
    with torch.no_grad():
        for num_images in (1, 2, 5):
            image = small_images(name, num_images)
            torch.testing.assert_close(program(image), model(image), rtol=1e-5, atol=1e-6)
