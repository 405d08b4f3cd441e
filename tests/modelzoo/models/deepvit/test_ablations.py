"""Mechanisms of the paper's ablations: attention reuse (equation 5) and temperature (equation 4).

The reference is written apart in float64: loops over blocks and heads of the plain formulas, from the weights by name.
Its gradients are those of torch's autograd through these formulas.
"""

from __future__ import annotations

import math

import pytest
import torch
from timm.models import create_feature_extractor, create_model
from timm.optim import param_groups_weight_decay

from modelzoo.models.deepvit.model import DeepVisionTransformer
from modelzoo.probes import attention_maps, record_maps
from search_space.parsing.errors import SpecError

SIZES = {"img_size": 8, "patch_size": 4, "in_chans": 2, "num_classes": 3, "embed_dim": 12, "num_heads": 3, "depth": 5}


def build(**options) -> DeepVisionTransformer:
    """In float64, with random weights and statistics."""
    torch.manual_seed(0)
    model = DeepVisionTransformer(**{**SIZES, "reattention_blocks": 0, **options}).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                noise = torch.randn(value.shape, generator=generator, dtype=torch.float64)
                value.copy_(noise.abs() + 0.5 if name.endswith("running_var") else 0.4 * noise)
    return model


def images(num: int = 4) -> torch.Tensor:
    return torch.randn(num, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def layer_norm(x, weight, bias):
    mean = x.mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(((x - mean) ** 2).mean(-1, keepdim=True) + 1e-6) * weight + bias


def mixed(maps, state, prefix, *, training):
    """Theta over the heads, then the norm of each head over images and pairs of tokens: B x H x N x N."""
    theta = state[f"{prefix}.reatten_matrix.weight"][:, :, 0, 0]
    out = []
    for head in range(len(theta)):
        one = sum(theta[head, other] * maps[:, other] for other in range(len(theta)))
        one = one + state[f"{prefix}.reatten_matrix.bias"][head]
        norm = {
            key: state[f"{prefix}.var_norm.{key}"][head] for key in ("weight", "bias", "running_mean", "running_var")
        }
        mean = one.mean() if training else norm["running_mean"]
        variance = ((one - mean) ** 2).mean() if training else norm["running_var"]
        out.append((one - mean) / torch.sqrt(variance + 1e-5) * norm["weight"] + norm["bias"])
    return torch.stack(out, 1)


def reference(state, x, *, mixing=(), sharing=(), training=False, residual_scale=1.0, temperatures=None):
    """Logits by the formulas of the paper; `sharing` blocks use the softmax map that was formed last."""
    side, dim, heads = SIZES["patch_size"], SIZES["embed_dim"], SIZES["num_heads"]
    width = dim // heads
    patches = x.unfold(2, side, side).unfold(3, side, side).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
    tokens = patches @ state["patch_embed.proj.weight"].flatten(1).T + state["patch_embed.proj.bias"]
    tokens = torch.cat([state["cls_token"].expand(len(x), 1, dim), tokens], 1) + state["pos_embed"]
    maps = None
    for block in range(SIZES["depth"]):
        part = f"blocks.{block}"
        seen = layer_norm(residual_scale * tokens, state[f"{part}.norm1.weight"], state[f"{part}.norm1.bias"])
        product = seen @ state[f"{part}.attn.qkv.weight"].T + state[f"{part}.attn.qkv.bias"]
        values = product[..., -dim:]
        if block not in sharing:
            tau = 1.0 if temperatures is None else temperatures[block]
            per_head = []
            for head in range(heads):
                q = product[..., head * width : (head + 1) * width]
                k = product[..., dim + head * width : dim + (head + 1) * width]
                logits = q @ k.transpose(1, 2) / (tau * math.sqrt(width))
                weights = torch.exp(logits - logits.amax(-1, keepdim=True))
                per_head.append(weights / weights.sum(-1, keepdim=True))
            maps = torch.stack(per_head, 1)
        used = mixed(maps, state, f"{part}.attn", training=training) if block in mixing else maps
        out = torch.cat([used[:, h] @ values[..., h * width : (h + 1) * width] for h in range(heads)], -1)
        out = out @ state[f"{part}.attn.proj.weight"].T + state[f"{part}.attn.proj.bias"]
        tokens = tokens + out / residual_scale
        hidden = layer_norm(residual_scale * tokens, state[f"{part}.norm2.weight"], state[f"{part}.norm2.bias"])
        hidden = hidden @ state[f"{part}.mlp.fc1.weight"].T + state[f"{part}.mlp.fc1.bias"]
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        hidden = hidden @ state[f"{part}.mlp.fc2.weight"].T + state[f"{part}.mlp.fc2.bias"]
        tokens = tokens + hidden / residual_scale
    tokens = layer_norm(tokens, state["norm.weight"], state["norm.bias"])
    return tokens[:, 0] @ state["head.weight"].T + state["head.bias"]


def expect_parity(model, state, **formula):
    """Logits, and the gradients of every weight and of the images."""
    x, again = images().requires_grad_(), images().requires_grad_()
    cotangent = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    state = {key: value.detach().clone().requires_grad_(value.is_floating_point()) for key, value in state.items()}
    got, want = model(x), reference(state, again, training=model.training, **formula)
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)
    (got * cotangent).sum().backward()
    (want * cotangent).sum().backward()
    torch.testing.assert_close(x.grad, again.grad, rtol=1e-9, atol=1e-10)
    for name, parameter in model.named_parameters():
        expected = torch.zeros_like(parameter) if state[name].grad is None else state[name].grad
        torch.testing.assert_close(
            parameter.grad, expected, rtol=1e-9, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
        )


def weights_of(model) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("checkpointed", [False, True], ids=["stored", "checkpointed"])
@pytest.mark.parametrize(
    ("options", "mixing", "sharing"),
    [
        ({"reattention_blocks": 2, "shared_map_blocks": 2}, {3, 4}, {3, 4}),
        ({"reattention_blocks": "all", "shared_map_blocks": 2}, {0, 1, 2, 3, 4}, {3, 4}),
        ({"reattention_blocks": [1, 2, 4], "shared_map_blocks": [1, 4]}, {1, 2, 4}, {1, 4}),
        ({"reattention_blocks": 4, "shared_map_blocks": 3, "residual_scale": 0.5}, {1, 2, 3, 4}, {2, 3, 4}),
    ],
    ids=["plain before", "re-attention before", "two maps", "residual scale"],
)
def test_blocks_reuse_the_last_softmax_map_that_was_formed(options, mixing, sharing, checkpointed, training):
    model = build(**options).train(training)
    model.set_grad_checkpointing(checkpointed)
    scale = options.get("residual_scale", 1.0)
    expect_parity(model, weights_of(model), mixing=mixing, sharing=sharing, residual_scale=scale)


def test_blocks_that_reuse_a_map_have_no_queries_and_keys():
    sizes = {"embed_dim": 24, "num_heads": 3, "depth": 4, "img_size": 32, "patch_size": 8, "num_classes": 5}
    own = create_model("deepvit_baseline_16b_patch16_224", reattention_blocks=2, **sizes)
    shared = create_model("deepvit_baseline_16b_patch16_224", reattention_blocks=2, shared_map_blocks=2, **sizes)
    shapes = {name: tuple(value.shape) for name, value in shared.state_dict().items()}
    assert shapes["blocks.3.attn.qkv.weight"] == (24, 24)
    assert shapes["blocks.1.attn.qkv.weight"] == (72, 24)
    counts = [sum(each.numel() for each in model.parameters()) for model in (own, shared)]
    assert counts[0] - counts[1] == 2 * (48 * 24 + 48)
    assert list(own.state_dict()) == list(shared.state_dict())


def test_dropout_acts_on_the_shared_map_in_every_block_by_itself():
    model = build(reattention_blocks=2, shared_map_blocks=2, attn_drop_rate=0.5, norm="none").train()
    dropped = []
    for block in model.blocks[2:]:
        block.attn.attn_drop.register_forward_hook(lambda _m, inputs, out: dropped.append((inputs[0], out)))
    model(images())
    (first, one), (second, two), (third, _) = dropped
    assert torch.equal(first, second)
    assert torch.equal(second, third)
    assert not torch.equal(one, two)


def test_the_probes_record_the_map_that_weighs_v():
    model = build(reattention_blocks=2, shared_map_blocks=2).eval()
    maps = attention_maps(model, images())
    assert [one.softmax is None for one in maps] == [False, False, False, True, True]
    state = weights_of(model)
    lent = maps[2].softmax
    for index in (3, 4):
        torch.testing.assert_close(maps[index].weights, mixed(lent, state, f"blocks.{index}.attn", training=False))
    with record_maps(model, replace_fused=True) as recorded:
        model(images())
    assert len(recorded) == 5


def test_the_map_goes_whichever_way_timm_runs_the_blocks():
    model = build(reattention_blocks=2, shared_map_blocks=2).eval()
    want = model.forward_features(images())
    tokens, features = model.forward_intermediates(images(), output_fmt="NLC")
    torch.testing.assert_close(tokens, want)
    extractor = create_feature_extractor(model, ["blocks.4"])
    torch.testing.assert_close(extractor(images())["blocks.4"][:, 1:], features[4])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"reattention_blocks": "all", "shared_map_blocks": "all"},
            "arch.options.shared_map_blocks: shared_map_blocks='all': block 0 cannot reuse a map, because no block "
            "before it forms one\n  the last 0 to 4 blocks, or indices from 1",
        ),
        (
            {"reattention_blocks": 1, "shared_map_blocks": 2},
            "arch.options.shared_map_blocks: shared_map_blocks=2: a block that reuses a map has Theta and norm of its "
            "own, but these have no Re-attention: [3]\n  name them in reattention_blocks, too",
        ),
        ({"shared_map_blocks": 9}, "shared_map_blocks=9: the model has 5 blocks\n  legal: 0 to 5"),
        ({"shared_map_blocks": [7]}, "shared_map_blocks: no such blocks: [7]\n  the model has 5: 0 to 4"),
    ],
)
def test_blocks_that_cannot_reuse_a_map_are_refused(options, message):
    with pytest.raises(SpecError) as caught:
        build(**options)
    assert str(caught.value) == message


def test_a_block_by_itself_says_that_its_map_is_missing():
    model = build(reattention_blocks=2, shared_map_blocks=2)
    with pytest.raises(ValueError, match="came without one"):
        model.blocks[3](torch.zeros(1, 5, 12, dtype=torch.float64))
    with pytest.raises(ValueError, match="needs the map of an earlier block"):
        model.blocks[3].attn(torch.zeros(1, 5, 12, dtype=torch.float64))


@pytest.mark.parametrize("residual_scale", [1.0, 0.5])
def test_temperatures_are_a_line_over_the_blocks(residual_scale):
    model = build(temperature=[3.0, 1.0], residual_scale=residual_scale).eval()
    line = [3.0, 2.5, 2.0, 1.5, 1.0]
    expect_parity(model, weights_of(model), temperatures=line, residual_scale=residual_scale)


def test_a_learnable_temperature_is_the_exponential_of_a_weight_per_block():
    model = build(temperature="learnable").train()
    state = weights_of(model)
    powers = [state[f"blocks.{block}.attn.log_temperature"].clone().requires_grad_() for block in range(5)]
    assert all(power.abs() > 0.01 for power in powers)
    temperatures = [power.exp() for power in powers]
    x = images()
    cotangent = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    got, want = model(x), reference(state, x, temperatures=temperatures)
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)
    (got * cotangent).sum().backward()
    (want * cotangent).sum().backward()
    for block, power in zip(model.blocks, powers, strict=True):
        assert power.grad.abs() > 0
        torch.testing.assert_close(block.attn.log_temperature.grad, power.grad, rtol=1e-9, atol=1e-10)


def test_a_learnable_temperature_starts_as_the_model_without_one():
    torch.manual_seed(5)
    plain = DeepVisionTransformer(**SIZES, reattention_blocks=0)
    torch.manual_seed(5)
    tempered = DeepVisionTransformer(**SIZES, reattention_blocks=0, temperature="learnable")
    theirs = tempered.state_dict()
    assert set(theirs) - set(plain.state_dict()) == {f"blocks.{block}.attn.log_temperature" for block in range(5)}
    for name, value in plain.state_dict().items():
        assert torch.equal(value, theirs[name]), name
    x = images().float()
    torch.testing.assert_close(tempered.eval()(x), plain.eval()(x))


def test_no_weight_decay_draws_a_temperature_to_1():
    model = DeepVisionTransformer(**SIZES, reattention_blocks=0, temperature="learnable")
    free, _ = param_groups_weight_decay(model, 0.05)
    assert free["weight_decay"] == 0
    assert all(any(each is block.attn.log_temperature for each in free["params"]) for block in model.blocks)


@pytest.mark.parametrize("temperature", ["learnable", [2.0, 0.5]])
def test_a_temperature_under_autocast_has_the_type_of_the_queries(temperature):
    model = build(temperature=temperature).float().train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(images().float())
    torch.testing.assert_close(out.float(), model(images().float()), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("temperature", ["learnable", [2.0, 0.5]])
def test_probes_see_the_tempered_map(temperature):
    """Fused, in `attend`, and recorded, the maps are the same."""
    model = build(temperature=temperature).eval()
    maps = [one.weights for one in attention_maps(model, images())]
    seen = []
    for block in model.blocks:
        block.attn.register_forward_pre_hook(lambda attn, inputs: seen.append(attn.attend(inputs[0])[1]))
    model(images())
    assert len(maps) == len(seen) == 5
    for one, other in zip(maps, seen, strict=True):
        torch.testing.assert_close(one, other)
    flat = attention_maps(build(temperature=[1e6, 1e6]).eval(), images())
    torch.testing.assert_close(flat[0].weights, torch.full_like(flat[0].weights, 1 / 5), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": "learned"}, "temperature is 'learned'\n  legal: learnable, or [START, END], both above 0"),
        ({"temperature": [1.0]}, "temperature is [1.0]\n  legal: learnable, or [START, END], both above 0"),
        ({"temperature": [1.0, 0.0]}, "temperature is [1.0, 0.0]\n  legal: learnable"),
        ({"temperature": 2.0}, "temperature is 2.0\n  legal: learnable"),
        (
            {"temperature": "learnable", "reattention_blocks": 1},
            "a temperature is of the softmax of a plain ViT, but reattention_blocks names blocks with Re-attention",
        ),
        ({"temperature": "learnable", "qk_scale": 0.5}, "qk_scale=0.5 is a temperature of all blocks by itself"),
    ],
)
def test_what_is_no_temperature_is_refused(options, message):
    with pytest.raises(SpecError) as caught:
        build(**options)
    assert str(caught.value).startswith(f"arch.options.temperature: {message}")
