"""Conditions that timm sets its own models: outputs, gradients, configurations, heads and intermediate features.

timm's package comes without its tests; these are their conditions, in our words (those about traces and files are in
`test_timm_graphs.py` and `test_timm_construction.py`). Every name of the zoo is built with few and narrow blocks, where
a configuration counts at its own image size; the default run has one of each kind, `slow` the others.
"""

from __future__ import annotations

import pytest
import timm
import torch
from timm.layers import get_channel_dim, get_spatial_dim
from timm.models import FeatureInfo

# Two of timm's own, one of each layout, fulfil the conditions at their own size too.
PEERS = ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"]


@pytest.fixture
def own_size(small_model):
    """Function that builds a narrow model for the images of its configuration, and draws one such image."""

    def build(name, **options):
        cfg = timm.get_pretrained_cfg(name)
        assert cfg is not None
        sizes = {"img_size": cfg.input_size[-1]}
        if name in PEERS:
            narrow = {"embed_dim": 24} | ({"depth": 2} if name.startswith("vit") else {"depths": (1, 1, 1, 1)})
            sizes |= narrow | {"num_heads": 3 if name.startswith("vit") else (3, 3, 3, 3)}
        elif "vit_" in name and not name.startswith("regionvit_"):
            sizes |= {"patch_size": 16}
        elif not name.startswith("groupmixformer_"):
            sizes |= {"window_size": 14 if "_w14_" in name else 7}
        model = small_model(name, **sizes, **options).eval()
        return model, torch.randn(1, *cfg.input_size, generator=torch.Generator().manual_seed(0))

    return build


@pytest.mark.zoo
def test_output_has_the_images_and_is_finite_also_with_recomputed_blocks(small_model, small_images, name):
    model, images = small_model(name).eval(), small_images(name, 1)
    output = model(images)
    assert output.shape == (1, 5)
    assert output.isfinite().all()
    model.set_grad_checkpointing()
    torch.testing.assert_close(model(images), output, rtol=1e-4, atol=1e-5)


@pytest.mark.zoo
def test_every_parameter_has_a_gradient(small_model, small_images, name):
    model = small_model(name, num_classes=42).train()
    output = model(small_images(name))
    output.mean().backward()
    assert output.shape == (2, 42)
    assert output.isfinite().all()
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.zoo(*PEERS)
def test_features_and_heads_have_the_sizes_of_the_configuration(own_size, name):
    """`pool_size` is that of the features; without a classifier the output is what it would get, without pooling too
    the features."""
    model, image = own_size(name)
    channel = -1
    with torch.no_grad():
        features = model.forward_features(image)
        pooled = model.forward_head(features, pre_logits=True)
        pool_size = model.default_cfg["pool_size"]
        if pool_size is not None:
            assert tuple(features.shape[axis] for axis in get_spatial_dim(model.output_fmt)) == pool_size
            channel = get_channel_dim(model.output_fmt)
        assert features.shape[channel] == model.num_features
        assert pooled.shape == (1, model.head_hidden_size)
        model.reset_classifier(0)
        assert model.num_classes == 0
        assert torch.equal(model(image), pooled)
        model.reset_classifier(0, "")
        assert torch.equal(model(image), features)


@pytest.mark.zoo(*PEERS)
def test_a_model_built_without_classifier_returns_its_features(own_size, name):
    model, image = own_size(name, num_classes=0)
    with torch.no_grad():
        assert model(image).shape == (1, model.head_hidden_size)
    bare, _ = own_size(name, num_classes=0, global_pool="")
    with torch.no_grad():
        assert torch.equal(bare(image), bare.forward_features(image))


@pytest.mark.zoo(*PEERS)
def test_a_classifier_without_pooling_classifies_every_position_and_keeps_the_mode(own_size, name):
    """Symptom: a model built with `num_classes=0, global_pool=""` did not take a classifier; a new head was in training
    mode in a model that was not."""
    bare, image = own_size(name, num_classes=0, global_pool="")
    channel = get_channel_dim(bare.output_fmt) if bare.default_cfg["pool_size"] is not None else -1
    with torch.no_grad():
        shape = list(bare(image).shape)
        shape[channel] = 10
        for reset in ((10,), (10, "")):
            bare.reset_classifier(*reset)
            output = bare(image)
            assert list(output.shape) == shape, reset
        head, positions = bare.get_classifier(), bare.forward_features(image).movedim(channel, -1)
        by_hand = positions @ head.weight.T + head.bias
        torch.testing.assert_close(output.movedim(channel, -1), by_hand, rtol=1e-4, atol=1e-5)
        assert own_size(name, num_classes=10, global_pool="")[0](image).shape == output.shape
        bare.reset_classifier(10, "avg")
        assert bare(image).shape == (1, 10)
    assert not any(module.training for module in bare.modules())
    bare.train().reset_classifier(3)
    assert all(module.training for module in bare.modules())


@pytest.mark.zoo(*PEERS)
def test_configuration_names_the_classifiers_and_the_first_convolutions(own_size, name):
    model, _ = own_size(name)
    cfg, state = model.default_cfg, model.state_dict()
    assert model.num_classes > 0
    for entry in ("classifier", "first_conv"):
        layers = cfg[entry] if isinstance(cfg[entry], tuple | list) else (cfg[entry],)
        for layer in layers:
            expected = model.num_classes if entry == "classifier" else 3
            assert state[f"{layer}.weight"].shape[0 if entry == "classifier" else 1] == expected, layer


@pytest.mark.zoo(*PEERS)
def test_intermediate_features_have_the_sizes_of_the_feature_info(own_size, name):
    model, image = own_size(name)
    info = FeatureInfo(model.feature_info, len(model.feature_info))
    with torch.no_grad():
        final, maps = model.forward_intermediates(image)
        assert torch.allclose(final, model.forward_features(image))
    # As timm asks, but for its ViT, of which two blocks were built.
    assert len(maps) == len(info.channels()) >= (2 if name in PEERS else 3)
    side = image.shape[-1]
    for output, channels, reduction in zip(maps, info.channels(), info.reduction(), strict=True):
        assert output.shape == (1, channels, side // reduction, side // reduction)
        assert output.isfinite().all()
    model.set_grad_checkpointing()
    again, _ = model.forward_intermediates(image)
    torch.testing.assert_close(again, final, rtol=1e-4, atol=1e-5)
