"""Cost of models: parameters and GMACs equal the published ones and counts on real tensors, without allocation."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from modelzoo import ATTENTION, Cost, available_models, build_model, measure_cost
from search_space.parsing.errors import SpecError
from search_space.schema.trial import ArchSpec


def cost(data_size=224, in_chans=3, num_classes=1000, **arch) -> Cost:
    spec = ArchSpec.model_validate(arch)
    return measure_cost(spec, img_size=data_size, in_chans=in_chans, num_classes=num_classes)


def params(measured: Cost) -> int:
    return round(measured.params_m * 1e6)


# Counted on the official DeepViT code: 1000 classes, 224 x 224, patch 16, 12 heads, mlp_ratio 3; GMACs to three places.
@pytest.mark.default_run("reattention-12-18509272-3.969", "softmax-12-18507112-3.902")
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("attention", "depth", "num_params", "gmacs"),
    [
        ("softmax", 12, 18_507_112, 3.902),
        pytest.param("softmax", 16, 24_423_784, 5.183, marks=pytest.mark.slow),
        pytest.param("softmax", 24, 36_257_128, 7.745, marks=pytest.mark.slow),
        ("softmax", 32, 48_090_472, 10.308),
        ("reattention", 12, 18_509_272, 3.969),
        pytest.param("reattention", 16, 24_426_664, 5.272, marks=pytest.mark.slow),
        pytest.param("reattention", 24, 36_261_448, 7.879, marks=pytest.mark.slow),
        ("reattention", 32, 48_096_232, 10.486),
    ],
)
def test_deepvit_and_its_baselines(attention, depth, num_params, gmacs):
    measured = cost(depth=depth, embed_dim=384, num_heads=12, mlp_ratio=3, attention=attention)
    assert params(measured) == num_params
    assert measured.gmacs == pytest.approx(gmacs, abs=5.1e-4)


@pytest.mark.default_run("768-12-4-86567656-17.564")
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("embed_dim", "num_heads", "mlp_ratio", "num_params", "gmacs"),
    [
        (256, 8, 3, 8_406_248, 1.827),
        pytest.param(512, 8, 3, 32_540_136, 6.752, marks=pytest.mark.slow),
        (768, 12, 3, 72_402_664, 14.775),
        pytest.param(256, 8, 4, 9_982_184, 2.136, marks=pytest.mark.slow),
        pytest.param(384, 12, 4, 22_050_664, 4.599, marks=pytest.mark.slow),
        pytest.param(512, 8, 4, 38_837_736, 7.991, marks=pytest.mark.slow),
        (768, 12, 4, 86_567_656, 17.564),
    ],
)
def test_widths_of_the_deepvit_paper(embed_dim, num_heads, mlp_ratio, num_params, gmacs):
    measured = cost(depth=12, embed_dim=embed_dim, num_heads=num_heads, mlp_ratio=mlp_ratio)
    assert params(measured) == num_params
    assert measured.gmacs == pytest.approx(gmacs, abs=5.1e-4)


# Counted on the official Refiner code: 16 blocks of 384 channels and 12 heads, every block refined with a 3 x 3 kernel.
# Its stem and its MLP scale are not ours, so the differences to the same model without refinement are compared.
UNREFINED = (27_378_056, 6.957)


@pytest.mark.default_run("3-27400136-7.694")
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("expansion", "num_params", "gmacs"),
    [
        (1, 27_383_240, 7.113),
        pytest.param(2, 27_393_032, 7.448, marks=pytest.mark.slow),
        (3, 27_400_136, 7.694),
        pytest.param(4, 27_407_240, 7.940, marks=pytest.mark.slow),
        pytest.param(5, 27_414_344, 8.186, marks=pytest.mark.slow),
        (6, 27_421_448, 8.432),
    ],
)
def test_what_refinement_adds(expansion, num_params, gmacs):
    sizes = {"depth": 16, "embed_dim": 384, "num_heads": 12, "mlp_ratio": 3}
    plain = cost(**sizes)
    refined = cost(**sizes, attention={"name": "refiner", "expansion": expansion, "kernel_size": 3})
    assert params(refined) - params(plain) == num_params - UNREFINED[0]
    # Difference of two official figures, each rounded to three places.
    assert refined.gmacs - plain.gmacs == pytest.approx(gmacs - UNREFINED[1], abs=1.1e-3)


def test_vit_b16_by_its_name():
    measured = cost(model="vit_base_patch16_224")
    assert params(measured) == 86_567_656
    assert measured.gmacs == pytest.approx(17.56, abs=0.01)


def test_gmacs_of_one_block_by_hand():
    """Patch embedding, one block, head; 4 patches and a class token, 8 channels, MLP of 16, 3 classes."""
    patches = 4 * (2 * 2 * 1) * 8
    attention = 5 * 8 * 24 + 2 * 5 * 5 * 8 + 5 * 8 * 8
    mlp = 2 * 5 * 8 * 16
    measured = cost(4, 1, 3, depth=1, embed_dim=8, num_heads=2, mlp_ratio=2, patch_size=2)
    assert measured.gmacs * 1e9 == pytest.approx(patches + attention + mlp + 8 * 3)


@pytest.mark.parametrize("name", sorted(ATTENTION))
@pytest.mark.parametrize("class_token", [False, True])
def test_meta_device_counts_what_real_tensors_need(name, class_token):
    arch = ArchSpec.model_validate(
        {
            "depth": 2,
            "embed_dim": 40,
            "num_heads": 4,
            "patch_size": 2,
            "class_token": class_token,
            "attention": name,
        }
    )
    model = build_model(arch, img_size=(6, 4), in_chans=3, num_classes=5).eval()
    # Not every torch counts the fused kernel of the CPU.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, 6, 4))
    measured = measure_cost(arch, img_size=(6, 4), in_chans=3, num_classes=5)
    assert measured.gmacs == counter.get_total_flops() / 2e9
    assert params(measured) == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.thorough
def test_nothing_is_allocated():
    """The model has 800 GB of weights: about 12 D^2 per block."""
    measured = cost(depth=64, embed_dim=16384, num_heads=128, mlp_ratio=4)
    assert measured.params_m * 1e6 == pytest.approx(64 * 12 * 16384**2, rel=1e-3)


def test_a_named_model_is_measured_at_its_own_size_unless_one_is_given():
    """ResNets process images of any size, so a quarter of the pixels needs about a quarter of the operations."""
    own, small = cost(32, model="resnet18"), cost(32, model="resnet18", img_size=112)
    assert own.gmacs == pytest.approx(1.814, abs=0.01)
    assert small.gmacs == pytest.approx(own.gmacs / 4, rel=0.1)
    assert small.params_m == own.params_m == pytest.approx(11.69, abs=0.01)


def test_models_that_pass_weights_to_modules_are_counted():
    """CaiT passes its class token to its last blocks. 12.0 M parameters; the official table has 2.5 GFLOPs."""
    measured = cost(model="cait_xxs24_224")
    assert measured.params_m == pytest.approx(12.0, abs=0.05)
    assert measured.gmacs == pytest.approx(2.5, abs=0.05)


def test_images_that_a_model_cannot_process_are_refused():
    """vgg11 halves the image five times, which is impossible for 8 pixels."""
    with pytest.raises(SpecError) as caught:
        cost(model="vgg11", img_size=8)
    (problem,) = caught.value.problems
    assert problem.path == "arch.img_size"
    # The rest of the message is torch's own.
    assert problem.message.startswith("'vgg11' cannot process a 8x8 image with 3 channels: ")
    assert problem.hint == "choose another arch.img_size or another model"


@pytest.mark.parametrize("pattern", ["", "*", "vit"])
def test_available_models_begin_with_our_own(pattern):
    names = available_models(pattern)
    assert names[0] == "vit"
    assert "vit_tiny_patch16_224" in names


def test_available_models_by_pattern():
    assert available_models("deit_tiny_*") == ["deit_tiny_distilled_patch16_224", "deit_tiny_patch16_224"]
    assert available_models("no_such_model") == []
    assert all("swin" in name for name in available_models("swin"))
