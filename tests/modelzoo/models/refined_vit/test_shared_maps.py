"""Maps that several blocks share, against the equations of the blocks written apart, with their gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from modelzoo import build_model
from modelzoo.attention.refiner import MapSharingAttention
from search_space.parsing.errors import SpecError
from search_space.schema.trial import ArchSpec

HEADS, DIM = 3, 24
LAYOUTS = {
    "every": "rrrrrr",
    "alternating": "psps" + "ps",
    ("plain", "sharing", "sharing"): "psspss",
    ("plain", "sharing", "sharing", "sharing"): "psssps",  # no multiple: the last group is shorter
    ("plain", "reusing"): "pupupu",
    ("plain", "reusing", "reusing", "reusing", "reusing"): "puuuup",  # a plain block alone at the end
    ("refined", "sharing", "reusing"): "rsursu",
}


def built(layout, *, depth=6, residual_map=False, **options):
    fields = {
        "model": "refined_vit_small_patch16_224",
        **{"img_size": 8, "patch_size": 4, "depth": depth, "embed_dim": DIM, "num_heads": HEADS},
        "options": {"layout": layout, "residual_map": residual_map, "dense_head": False, "mix_token": False, **options},
    }
    return build_model(ArchSpec.model_validate(fields), img_size=(8, 8), in_chans=3, num_classes=5)


def randomised(model):
    generator = torch.Generator().manual_seed(1)
    for key, value in model.state_dict().items():
        if value.is_floating_point():
            noise = torch.rand(value.shape, generator=generator, dtype=torch.float64)
            value.copy_(noise + 0.5 if key.endswith("running_var") else (noise - 0.4) / 2)
    return model


def in_evaluation(maps, weights, name):
    shape = (1, -1, 1, 1)
    mean, variance = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
    scale = weights[f"{name}.weight"] / (variance + 1e-5).sqrt()
    return (maps - mean.view(shape)) * scale.view(shape) + weights[f"{name}.bias"].view(shape)


def refined(maps, weights):
    """The released refinement with 3 maps per head and kernels of 3, in evaluation."""
    x = torch.einsum("rm,bmnk->brnk", weights["attn.DLA.conv_exp.weight"][:, :, 0, 0], maps)
    x = in_evaluation(x, weights, "attn.DLA.bn1").clamp(0, 6)
    kernels, size, padded = weights["attn.DLA.depth_sep_conv.weight"], maps.shape[-1], F.pad(x, (1, 1, 1, 1))
    x = sum(
        kernels[:, 0, a, b].view(1, -1, 1, 1) * padded[:, :, a : a + size, b : b + size]
        for a in range(3)
        for b in range(3)
    )
    x = in_evaluation(x, weights, "attn.DLA.bn2").clamp(0, 6)
    x = torch.einsum("rm,bmnk->brnk", weights["attn.DLA.conv_pro.weight"][:, :, 0, 0], x)
    return in_evaluation(in_evaluation(x, weights, "attn.DLA.bn3") + maps, weights, "attn.adapt_bn")


def one_block(x, kind, incoming, weights, adds):
    """Tokens after a block of a kind, and the map that it hands on."""
    B, N, D = x.shape
    scale = 1 / math.sqrt(D // HEADS)
    seen = F.layer_norm(x / 2, (D,), weights["norm1.weight"], weights["norm1.bias"], 1e-6)
    all_linear = (seen @ weights["attn.qkv.weight"].T + weights["attn.qkv.bias"]).reshape(B, N, -1, HEADS, D // HEADS)
    parts = all_linear.permute(2, 0, 3, 1, 4)
    if kind in "su":
        assert len(parts) == 1, "values only"
        handed_on, own = incoming, incoming
        if kind == "s":
            own = refined(incoming, weights) * scale
    else:
        own = (parts[0] @ parts[1].transpose(2, 3) * scale).softmax(dim=-1)
        if adds and incoming is not None:
            own = own + incoming * scale
        if kind == "r":
            own = refined(own, weights)
        handed_on = own
    mixed = (own @ parts[-1]).transpose(1, 2).reshape(B, N, D)
    x = x + 2 * (mixed @ weights["attn.proj.weight"].T + weights["attn.proj.bias"])
    seen = F.layer_norm(x / 2, (D,), weights["norm2.weight"], weights["norm2.bias"], 1e-6)
    hidden = F.gelu(seen @ weights["mlp.fc1.weight"].T + weights["mlp.fc1.bias"])
    out = (hidden @ weights["mlp.fc2.weight"].T + weights["mlp.fc2.bias"]) * weights["mlp.scale_channel"]
    return x + 2 * out, handed_on


@pytest.mark.parametrize("adds", [False, True], ids=["", "residual maps"])
@pytest.mark.parametrize(("layout", "kinds"), LAYOUTS.items(), ids=LAYOUTS.values())
def test_blocks_are_their_equations_with_their_gradients(layout, kinds, adds):
    model = randomised(built(layout if isinstance(layout, str) else list(layout), residual_map=adds).double().eval())
    x = torch.randn(2, 5, DIM, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found, handed_on = x, None
    for block in model.blocks:
        found, handed_on = block(found, handed_on)
    found.square().sum().backward()

    copies = {key: value.detach().clone() for key, value in model.blocks.state_dict().items()}
    trained = {key: copies[key].requires_grad_() for key, _ in model.blocks.named_parameters()}
    want, incoming = x, None
    for index, kind in enumerate(kinds):
        prefix = f"{index}."
        weights = {key.removeprefix(prefix): value for key, value in copies.items() if key.startswith(prefix)}
        want, incoming = one_block(want, kind, incoming, weights, adds)
    want.square().sum().backward()
    torch.testing.assert_close(found, want, rtol=1e-9, atol=1e-9)
    for key, parameter in model.blocks.named_parameters():
        reference = trained[key].grad
        assert reference is not None, key
        scale = reference.abs().max().item()
        torch.testing.assert_close(parameter.grad, reference, rtol=1e-8, atol=1e-9 * max(scale, 1), msg=key)


def test_a_layout_of_one_name_is_that_of_its_kinds():
    """`alternating` is one more block per map and `every` none, as before."""
    for name, kinds in (("alternating", ["plain", "sharing"]), ("every", ["refined"])):
        named, listed = built(name), built(kinds)
        assert named.state_dict().keys() == listed.state_dict().keys()
        image = torch.randn(2, 3, 8, 8)
        assert torch.equal(named.eval()(image), listed.load_state_dict(named.state_dict()) and listed.eval()(image))


def test_every_shared_map_saves_queries_and_keys():
    """2 D (D + 1) weights for each block that computes none."""
    plain = sum(each.numel() for each in built("plain").parameters())
    for layout, saved in ((["plain", "reusing"], 3), (["plain", "reusing", "reusing"], 4)):
        model = built(layout)
        assert sum(isinstance(block.attn, MapSharingAttention) for block in model.blocks) == saved
        assert plain - sum(each.numel() for each in model.parameters()) == saved * 2 * DIM * (DIM + 1)


@pytest.mark.parametrize("kind", ["sharing", "reusing"])
def test_a_first_block_has_no_map_to_take(kind):
    with pytest.raises(SpecError, match=f"the first block cannot be {kind}: there is no previous block"):
        built([kind, "plain"])


def test_options_of_a_refinement_that_no_block_has_are_refused():
    with pytest.raises(SpecError, match="expansion would have no effect: no block refines a map"):
        built(["plain", "reusing"], expansion=2)
