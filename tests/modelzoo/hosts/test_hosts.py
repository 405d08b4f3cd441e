"""Mechanisms in windows and pyramids: equal to the host at the identity, and consistent with its masks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modelzoo import attention_batchnorms, build_model
from modelzoo.attention.groupmix import GroupMixAttention
from search_space.parsing.errors import SpecError
from search_space.schema.trial import ArchSpec

IDENTITY = {"name": "reattention", "theta_init": "identity", "norm": "none"}
# 14x14 tokens: four windows of 7x7 in the first stage, whose second block is shifted; one window in the later stages.
SWIN_TINY = {"model": "swin_tiny_patch4_window7_224", "img_size": 56}
PVT = {"model": "pvt_v2_b0"}
LINEAR_PVT = {"model": "pvt_v2_b2_li"}
COAT = {"model": "coat_lite_tiny", "img_size": 32}
SIDES = {"swin_tiny_patch4_window7_224": 56, "pvt_v2_b0": 32, "pvt_v2_b2_li": 32, "coat_lite_tiny": 32}


def build(arch, attention="softmax", seed=0):
    spec = ArchSpec.model_validate({**arch, "attention": attention})
    return build_model(spec, img_size=None, in_chans=3, num_classes=5, seed=seed)


def images(arch, num=2):
    side = SIDES[arch["model"]]
    return torch.randn(num, 3, side, side, generator=torch.Generator().manual_seed(1))


def message(arch, attention) -> str:
    with torch.device("meta"), pytest.raises(SpecError) as caught:
        build(arch, attention)
    (problem,) = caught.value.problems
    return f"{problem.path}: {problem.message}\n  {problem.hint}"


@pytest.mark.default_run("eval-pvt", "train-pvt", "eval-swin", "train-linear pvt")
@pytest.mark.thorough
@pytest.mark.parametrize("arch", [SWIN_TINY, PVT, LINEAR_PVT], ids=["swin", "pvt", "linear pvt"])
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_reattention_at_the_identity_is_the_host(arch, training):
    """Masks, relative positions and reduced keys included. PVT's own attention is fused: it may differ by rounding."""
    host, swapped, x = build(arch).train(training), build(arch, IDENTITY).train(training), images(arch)
    torch.manual_seed(0)
    want = host(x)
    torch.manual_seed(0)
    torch.testing.assert_close(swapped(x), want, rtol=1e-5, atol=1e-6)
    # Another initialisation than the identity gives another model.
    assert not torch.allclose(build(arch, {**IDENTITY, "theta_init": "random"}).train(training)(x), want, atol=1e-3)


@pytest.mark.thorough
@pytest.mark.parametrize("attention", ["reattention", "refiner"])
@pytest.mark.parametrize("arch", [SWIN_TINY, PVT], ids=["swin", "pvt"])
def test_hosts_weights_keep_their_names(arch, attention):
    host, swapped = build(arch).state_dict(), build(arch, attention).state_dict()
    assert all(torch.equal(value, swapped[key]) for key, value in host.items())
    added = {key for key in swapped if key not in host}
    assert added
    assert all(".attn.mechanism." in key for key in added)


GROUPMIX = {"name": "groupmix", "kernel_sizes": [3, 5]}


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("arch", "attention"),
    [
        (SWIN_TINY, "reattention"),
        (SWIN_TINY, "refiner"),
        (SWIN_TINY, {"name": "refiner", "reduction": False, "expansion": 2}),
        (SWIN_TINY, {"name": "groupmix", "kernel_sizes": [3], "local_branch": False, "blocks": [0, 2, 11]}),
        (PVT, "reattention"),
        (PVT, "refiner"),
        (PVT, GROUPMIX),
        (LINEAR_PVT, "reattention"),
        (COAT, GROUPMIX),
    ],
)
def test_gradient_reaches_every_parameter(arch, attention):
    model = build(arch, attention)
    model(images(arch)).square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    assert attention_batchnorms(model)


def test_a_mask_also_applies_after_the_mixing():
    """A bias after the mixing and a convolution of maps would otherwise connect tokens that the mask separates."""
    for attention in ({"name": "reattention", "norm": "none"}, "refiner"):
        model = build(SWIN_TINY, attention).double().eval()
        block = model.layers[0].blocks[1]
        mask = block.attn_mask
        assert mask.shape == (4, 49, 49)
        x = torch.randn(8, 49, 96, dtype=torch.float64)  # the four windows of two images
        before = block.attn(x, mask=mask)
        window = 3  # the corner window: four parts that were not neighbours before the shift
        apart = (mask[window, 0] != 0).nonzero()[0].item()
        together = (mask[window, 0] == 0).nonzero()[-1].item()
        for changed, moves in ((apart, False), (together, True)):
            other = x.clone()
            other[4 + window, changed] += 1.0
            moved = (block.attn(other, mask=mask) - before)[4 + window, 0].abs().max().item()
            assert (moved > 1e-12) is moves


def test_groupmix_uses_the_linear_layers_of_the_pyramid():
    host, swapped = build(PVT), build(PVT, GROUPMIX)
    theirs, ours = host.stages[1].blocks[0].attn, swapped.stages[1].blocks[0].attn.mechanism
    assert isinstance(ours, GroupMixAttention)
    assert torch.equal(ours.qkv.weight, torch.cat([theirs.q.weight, theirs.kv.weight]))
    assert torch.equal(ours.proj.weight, theirs.proj.weight)
    assert ours.slot.grid_size is None


def test_groupmix_in_a_pyramid_uses_the_grid_of_its_stage():
    """A change of one token affects the convolutions of its neighbours in the image, also if that is not square."""
    model = build(PVT, GROUPMIX).eval()
    assert model(torch.zeros(1, 3, 32, 64)).shape == (1, 5)
    attention = model.stages[0].blocks[0].attn
    x = torch.randn(1, 8, 32)
    torch.testing.assert_close(attention(x, (2, 4)), attention.mechanism.attend(x, grid_size=(2, 4))[0], rtol=0, atol=0)
    assert not torch.allclose(attention(x, (2, 4)), attention(x, (4, 2)))


def test_groupmix_in_a_window_uses_it_as_its_image():
    attention = {"name": "groupmix", "kernel_sizes": [3], "local_branch": False, "blocks": [0]}
    site = build(SWIN_TINY, attention).layers[0].blocks[0].attn
    x = torch.randn(8, 49, 96)
    torch.testing.assert_close(site.eval()(x), site.mechanism.attend(x, grid_size=(7, 7))[0], rtol=0, atol=0)
    with pytest.raises(ValueError, match="its aggregators would mix pixels that the mask separates"):
        site(x, mask=torch.zeros(4, 49, 49))


def test_groupmix_in_coat_keeps_the_class_token_first():
    model = build(COAT, GROUPMIX).eval()
    mechanism = model.serial_blocks1[0].factoratt_crpe.mechanism
    assert (mechanism.slot.num_prefix_tokens, mechanism.slot.dim) == (1, 64)
    assert isinstance(mechanism.proj, nn.Linear)
    assert model(images(COAT)).shape == (2, 5)


def test_blocks_are_counted_through_all_stages():
    model = build(SWIN_TINY, {"name": "reattention", "blocks": {"last": 3}})
    places = [name for name, module in model.named_modules() if name.endswith(".mechanism")]
    assert places == [f"layers.{i}.blocks.{j}.attn.mechanism" for i, j in ((2, 5), (3, 0), (3, 1))]


HOSTS = (
    "legal hosts: `vit` and timm's plain vision transformers (vit_*, deit_*, deit3_*), eva*, beit*, naflexvit_*, "
    "swin_*, swinv2_*, pvt_v2_*, and coat_lite_* for groupmix (docs/hosts.md has the table); "
    "`softmax` keeps the attention that a model has"
)


@pytest.mark.parametrize(
    ("arch", "attention", "want"),
    [
        (
            {"model": "swin_tiny_patch4_window7_224"},
            "groupmix",
            "arch.attention.blocks: attention 'groupmix' cannot replace the attention of block 1 of "
            "'swin_tiny_patch4_window7_224', which has shifted windows in this block, and aggregators would mix pixels "
            "that their mask separates\n  possible blocks: [0, 2, 4, 6, 8, 10, 11]",
        ),
        (
            COAT,
            "refiner",
            "arch.attention: attention 'refiner' cannot replace the attention of 'coat_lite_tiny', which uses "
            f"timm.models.coat.FactorAttnConvRelPosEnc, which forms no attention map\n  {HOSTS}",
        ),
        (
            {"model": "coat_tiny"},
            "groupmix",
            "arch.attention: attention 'groupmix' cannot replace the attention of 'coat_tiny', which has parallel "
            f"blocks that share one attention over three scales\n  {HOSTS}",
        ),
        (
            PVT,
            {"name": "reattention", "norm": "layer"},
            "arch.attention.norm: norm='layer' normalises over the heads, so with num_heads=1 only its bias would "
            "remain\n  choose norm: batch or norm: none, or more heads",
        ),
    ],
)
def test_unsupported_combinations_are_refused(arch, attention, want):
    assert message(arch, attention) == want
