"""Recording of attention maps without side effects: fused or not, in windows and pyramids."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import timm
import torch
from timm.layers.attention import Attention
from torch import nn

from modelzoo import ATTENTION, Slot, build_model
from modelzoo.probes import Positions, attention_maps, block_features, record_maps
from search_space.schema.trial import ArchSpec

pytestmark = pytest.mark.thorough

TINY = {"depth": 3, "embed_dim": 24, "num_heads": 3, "patch_size": 2, "mlp_ratio": 2}


def build(attention="softmax", *, model="vit", **arch):
    sizes = {**TINY, **arch} if model == "vit" else arch
    spec = ArchSpec.model_validate({"model": model, **sizes, "attention": attention})
    return build_model(spec, img_size=8 if model == "vit" else None, in_chans=3, num_classes=5, seed=0)


def images(side: int = 8, num: int = 2) -> torch.Tensor:
    return torch.randn(num, 3, side, side, generator=torch.Generator().manual_seed(2))


def map_by_hand(attention, x: torch.Tensor, bias=None) -> np.ndarray:
    """Attention map softmax(q k^T / sqrt(E) + bias) of a module with a joint qkv layer, as loops."""
    num_heads = attention.num_heads
    qkv = (x.double() @ attention.qkv.weight.double().T + attention.qkv.bias.double()).detach().numpy()
    B, N, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3 // num_heads
    found = np.empty((B, num_heads, N, N))
    for b, h, n in np.ndindex(B, num_heads, N):
        q = qkv[b, n, h * width : (h + 1) * width]
        keys = qkv[b, :, (num_heads + h) * width : (num_heads + h + 1) * width]
        logits = keys @ q / math.sqrt(width)
        if bias is not None:
            logits = logits + bias[b % len(bias), h, n]
        exps = np.exp(logits - logits.max())
        found[b, h, n] = exps / exps.sum()
    return found


class Lonely(nn.Module):
    """Model that consists of an attention only."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attn = attention

    def forward(self, x):
        return self.attn(x)


@pytest.mark.parametrize("fused", [True, False])
def test_map_of_timms_attention_is_its_softmax(fused):
    torch.manual_seed(0)
    attention = Attention(24, num_heads=3, qkv_bias=True, attn_drop=0.3)
    attention.fused_attn = fused
    x = torch.randn(2, 7, 24)
    (found,) = attention_maps(Lonely(attention), x)
    assert (found.name, found.kind) == ("attn", "Attention")
    np.testing.assert_allclose(found.weights, map_by_hand(attention, x), rtol=1e-5, atol=1e-6)
    assert found.softmax is found.weights


@pytest.mark.parametrize("mask", ["float", "bool", "causal"])
def test_masks_of_fused_attention_are_in_its_map(mask):
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = Attention(24, num_heads=3, qkv_bias=True)

        def forward(self, x):
            given = {"float": bias, "bool": bias > 0, "causal": None}[mask]
            return self.attention(x, attn_mask=given, is_causal=mask == "causal")

    torch.manual_seed(0)
    bias = torch.randn(5, 5).fill_diagonal_(1.0)
    x, model = torch.randn(2, 5, 24), Masked()
    (found,) = attention_maps(model, x)
    added = {
        "float": bias.numpy(),
        "bool": np.where(bias.numpy() > 0, 0, -np.inf),
        "causal": np.where(np.tri(5) > 0, 0, -np.inf),
    }[mask]
    want = map_by_hand(model.attention, x, bias=np.broadcast_to(added, (1, 3, 5, 5)))
    np.testing.assert_allclose(found.weights, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["softmax", "reattention", "refiner"])
def test_maps_of_mechanisms_are_those_that_weight_v(name):
    torch.manual_seed(0)
    module = ATTENTION[name](Slot(dim=24, num_heads=3)).eval()
    module.num_heads = 3
    x = torch.randn(2, 7, 24)
    (found,) = attention_maps(Lonely(module), x)
    torch.testing.assert_close(found.weights, module.attend(x)[1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.softmax, map_by_hand(module, x), rtol=1e-5, atol=1e-6)
    assert found.kind == type(module).__name__


def test_groupmix_has_token_weights_instead_of_a_map():
    maps = attention_maps(build("groupmix", embed_dim=40, num_heads=4), images())
    assert [one.name for one in maps] == ["blocks.0.attn", "blocks.1.attn", "blocks.2.attn"]
    assert {(one.weights, one.softmax) for one in maps} == {(None, None)}
    assert maps[0].key_weights.shape == (2, 4, 17, 8)
    torch.testing.assert_close(maps[0].key_weights.sum(dim=2), torch.ones(2, 4, 8))


def test_sharing_blocks_have_the_map_they_refined_and_no_softmax():
    maps = attention_maps(build({"name": "refiner", "sharing": "alternate"}), images())
    assert [one.kind for one in maps] == ["RefinedAttention", "MapSharingAttention", "RefinedAttention"]
    assert [one.softmax is None for one in maps] == [False, True, False]
    assert all(one.weights.shape == (2, 3, 17, 17) for one in maps)


SWIN = {"model": "swin_tiny_patch4_window7_224", "img_size": 56}


@pytest.mark.default_run("attention1")
@pytest.mark.parametrize("attention", ["softmax", {"name": "reattention", "theta_init": "identity", "norm": "none"}])
def test_maps_of_shifted_windows_have_positions_and_mask(attention):
    model, x = build(attention, **SWIN).eval(), images(56)
    inputs = []
    block = model.layers[0].blocks[1]
    block.attn.register_forward_pre_hook(lambda _m, args, kwargs: inputs.append((args[0], kwargs)), with_kwargs=True)
    maps = attention_maps(model, x)
    windows, mask = inputs[0][0], inputs[0][1]["mask"]
    table = block.attn.relative_position_bias_table.detach().numpy()
    # Offsets of -6..6 rows and columns, row by row, as in the paper's table.
    bias = np.empty((4, 3, 49, 49))
    for w, h, n, m in np.ndindex(*bias.shape):
        offset = (n // 7 - m // 7 + 6) * 13 + (n % 7 - m % 7 + 6)
        bias[w, h, n, m] = table[offset, h] + mask[w, n, m].item()
    np.testing.assert_allclose(maps[1].weights, map_by_hand(block.attn, windows, bias), rtol=1e-4, atol=1e-6)
    assert maps[0].positions == Positions((7, 7), (7, 7), num_windows=4)
    assert maps[1].positions == Positions((7, 7), (7, 7), num_windows=4, is_shifted=True)
    assert maps[1].name == "layers.0.blocks.1.attn"
    assert len(maps) == 12


def test_positions_in_a_pyramid_with_fewer_keys():
    maps = attention_maps(build(model="pvt_v2_b0"), images(64))
    assert [tuple(one.weights.shape) for one in maps[:3:2]] == [(2, 1, 256, 4), (2, 2, 64, 4)]
    assert maps[0].positions == Positions((16, 16), (2, 2))
    swapped = attention_maps(build("refiner", model="pvt_v2_b0"), images(64))
    assert [one.positions for one in swapped] == [one.positions for one in maps]


def test_positions_of_a_plain_transformer():
    (first, *_) = attention_maps(build(), images())
    assert first.positions == Positions((4, 4), (4, 4), num_prefix=1)


def test_talking_heads_record_the_map_after_the_mixing():
    model = timm.create_model("cait_xxs24_224", img_size=32, num_classes=3).eval()
    (first, *_) = attention_maps(model, images(32))
    assert (first.kind, first.weights.shape) == ("TalkingHeadAttn", (2, 4, 4, 4))
    mixed = model.blocks[0].attn.proj_w(first.softmax.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(first.weights, mixed)


def test_attention_over_channels_has_no_map_between_tokens():
    maps = attention_maps(timm.create_model("xcit_nano_12_p16_224", num_classes=3), images(32))
    assert {one.kind: one.weights is None for one in maps} == {"XCA": True, "ClassAttn": False}


def test_windows_that_are_merged_with_heads_are_separated():
    model = timm.create_model("focal_tiny_patch4_window7_224", num_classes=3)
    (first, *_) = attention_maps(model, torch.zeros(1, 3, 224, 224))
    num_windows, num_heads = (56 // 7) ** 2, 3
    assert first.weights.shape[:3] == (num_windows, num_heads, 49)
    assert first.num_windows == num_windows


def test_a_model_without_attention_is_refused():
    with pytest.raises(ValueError, match="ResNet formed no attention map, and no other attention was found"):
        attention_maps(timm.create_model("resnet18", num_classes=3), images(32))


EVERY = ["softmax", "reattention", "refiner", {"name": "refiner", "sharing": "alternate", "residual_map": True}]


@pytest.mark.parametrize("attention", EVERY, ids=str)
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_a_probe_has_no_side_effects(attention, training):
    """Outputs, buffers, modes and the stream of random numbers are bit-equal to those of a model without a probe."""
    model = build(attention, attn_drop_rate=0.1).train(training)
    other, x = copy.deepcopy(model), images()
    torch.manual_seed(1)
    attention_maps(model, x)
    block_features(model, x)
    probed = model(x)
    torch.manual_seed(1)
    assert torch.equal(probed, other(x))
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))
    assert [m.training for m in model.modules()] == [m.training for m in other.modules()]


@pytest.mark.parametrize("attention", EVERY, ids=str)
def test_a_probe_does_not_change_the_output(attention):
    model, x = build(attention).eval(), images()
    want = model(x)
    with record_maps(model) as maps:
        assert torch.equal(model(x), want)
    model(x)
    assert len(maps) == 3


def test_a_probe_has_no_side_effects_if_the_forward_fails():
    model = build()
    with pytest.raises(RuntimeError), record_maps(model) as maps:
        model(torch.zeros(1, 1, 8, 8))
    model(images())
    assert maps == []
    assert len(attention_maps(model, images())) == 3


@pytest.mark.thorough
def test_compiled_models_are_recorded_eagerly():
    model, x = build().eval(), images()
    compiled = torch.compile(model, backend="eager")
    compiled(x)
    found = attention_maps(compiled, x)
    for one, want in zip(found, attention_maps(model, x), strict=True):
        torch.testing.assert_close(one.weights, want.weights, rtol=0, atol=0)
        assert one.positions == want.positions


def test_checkpointed_models_can_be_recorded():
    model, x = build({"name": "refiner", "residual_map": True}), images()
    want = [one.weights for one in attention_maps(model, x)]
    model.set_grad_checkpointing(True)
    assert all(torch.equal(one.weights, two) for one, two in zip(attention_maps(model, x), want, strict=True))


def test_maps_for_losses_have_gradient_and_dropout():
    model, x = build(attn_drop_rate=0.5).train(), images()
    with record_maps(model, replace_fused=True) as maps:
        model(x)
    assert ((maps[0].weights == 0).double().mean() - 0.5).abs() < 0.1
    maps[-1].weights.square().sum().backward()
    assert model.blocks[0].attn.qkv.weight.grad.abs().max() > 0
    assert model.blocks[2].attn.proj.weight.grad is None


def test_explicit_attention_gives_the_fused_output():
    model, x = build().eval(), images()
    with record_maps(model, replace_fused=True):
        explicit = model(x)
    torch.testing.assert_close(explicit, model(x), rtol=1e-4, atol=1e-6)


def test_block_features_are_the_outputs_of_the_blocks():
    model, x = build().eval(), images()
    found = block_features(model, x)
    _, want = model.forward_intermediates(x, output_fmt="NLC", return_prefix_tokens=True, norm=False)
    assert list(found) == ["blocks.0", "blocks.1", "blocks.2"]
    for one, (patches, prefix) in zip(found.values(), want, strict=True):
        torch.testing.assert_close(one, torch.cat([prefix, patches], dim=1), rtol=0, atol=0)


def test_block_features_of_maps_are_rows_of_tokens():
    found = block_features(build(**SWIN), images(56))
    assert len(found) == 12
    assert found["layers.0.blocks.0"].shape == (2, 196, 96)
