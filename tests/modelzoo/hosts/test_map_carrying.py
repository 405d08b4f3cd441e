"""Attention maps passed from block to block in a plain host, in every way to run it; readable errors elsewhere."""

from __future__ import annotations

import pytest
import torch
from timm.layers import set_reentrant_ckpt
from torch import nn

from modelzoo import attention_batchnorms, build_model
from modelzoo.attention.refiner import MapSharingAttention, RefinedAttention
from search_space.parsing.errors import SpecError
from search_space.schema.trial import ArchSpec

TINY = {"depth": 4, "embed_dim": 24, "num_heads": 3, "patch_size": 2, "mlp_ratio": 2}
ALTERNATE = {"name": "refiner", "sharing": "alternate"}
BOTH = {**ALTERNATE, "residual_map": True, "expansion": 2}
RESIDUAL = {"name": "refiner", "residual_map": True, "expansion": 1, "kernel_size": 2}
TWO = {**ALTERNATE, "sharing": 2}
REUSED = {**TWO, "refine_shared": False}
EACH = {
    "alternate": ALTERNATE,
    "both": BOTH,
    "residual": RESIDUAL,
    "two": TWO,
    "two, both": {**TWO, "residual_map": True},
    "reused": REUSED,
    "reused, both": {**REUSED, "sharing": "alternate", "residual_map": True},
}
LAYOUTS = pytest.mark.parametrize("attention", EACH.values(), ids=EACH)


def build(attention, *, seed=0, **arch):
    spec = ArchSpec.model_validate({**TINY, **arch, "attention": attention})
    return build_model(spec, img_size=8, in_chans=3, num_classes=5, seed=seed)


def images(num: int = 2) -> torch.Tensor:
    return torch.randn(num, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def kinds(model) -> str:
    names = {MapSharingAttention: "s", RefinedAttention: "r"}
    return "".join(names.get(type(block.attn), ".") for block in model.blocks)


def by_hand(model, x, adds: bool) -> torch.Tensor:
    """The blocks one after another, every map passed on by hand: what a block takes is decided here, not by the model.

    The host's parts are called one by one; drop path and layer scale are off.
    """
    x, handed_on = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(x)))), None
    for block in model.blocks:
        shares = isinstance(block.attn, MapSharingAttention)
        mixed, handed_on = block.attn.attend(block.norm1(x), handed_on if shares or adds else None)
        x = x + mixed
        x = x + block.mlp(block.norm2(x))
    return model.forward_head(model.norm(x))


@LAYOUTS
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_maps_arrive_where_they_belong(attention, training):
    model, x = build(attention).double().train(training), images().double()
    want = by_hand(model, x, adds=attention.get("residual_map", False))
    torch.testing.assert_close(model(x), want, rtol=1e-12, atol=1e-12)
    by_themselves = {**attention, "sharing": "none", "refine_shared": True, "residual_map": False}
    alone = build(by_themselves).double().train(training)
    assert not torch.allclose(alone(x), want)


@pytest.mark.parametrize(
    ("blocks", "depth", "expected"),
    [
        ("all", 4, "rsrs"),
        ("all", 5, "rsrsr"),
        ([1, 2, 4, 5], 6, ".rs.rs"),
        ({"last": 2}, 4, "..rs"),
        ([2, 1], 4, ".rs."),
    ],
)
def test_every_second_chosen_block_shares(blocks, depth, expected):
    model = build({**ALTERNATE, "blocks": blocks}, depth=depth)
    assert kinds(model) == expected
    assert model(images()).isfinite().all()


@pytest.mark.parametrize(
    ("sharing", "depth", "expected"),
    [(2, 6, "rssrss"), (2, 5, "rssrs"), (3, 5, "rsssr"), (3, 8, "rsssrsss"), (3, 3, "rss")],
)
@pytest.mark.parametrize("refine_shared", [True, False])
def test_a_map_goes_to_as_many_blocks_as_asked(sharing, depth, expected, refine_shared):
    """The last group is shorter where the depth is no multiple."""
    model = build({**ALTERNATE, "sharing": sharing, "refine_shared": refine_shared}, depth=depth)
    assert kinds(model) == expected
    refines = [block.attn.DLA is not None for block in model.blocks]
    assert refines == [refine_shared and kind == "s" for kind in expected]


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_reused_maps_weigh_v_as_they_came(training):
    """A ViT written apart, with its gradients: blocks 1 and 2 have the softmax map of block 0."""
    model, x = build(REUSED, depth=3).double().train(training), images().double()
    tokens = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(x)))).detach()
    found = tokens
    for block in model.blocks:
        found = block(found)
    got = torch.autograd.grad(found.square().sum(), list(model.blocks.parameters()))
    want, attn = tokens, None
    for index, block in enumerate(model.blocks):
        norm, linear = block.norm1, block.attn.qkv
        seen = nn.functional.layer_norm(want, (24,), norm.weight, norm.bias, norm.eps)
        parts = (seen @ linear.weight.T + linear.bias).reshape(2, 17, -1, 3, 8).permute(2, 0, 3, 1, 4)
        if index == 0:
            attn = (parts[0] @ parts[1].transpose(2, 3) / 8**0.5).softmax(dim=-1)
        assert len(parts) == (1 if index else 3)
        mixed = (attn @ parts[-1]).transpose(1, 2).reshape(2, 17, 24)
        want = want + mixed @ block.attn.proj.weight.T + block.attn.proj.bias
        want = want + block.mlp(block.norm2(want))
    torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-12)
    expected = torch.autograd.grad(want.square().sum(), list(model.blocks.parameters()))
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_in_the_alternating_layout_only_borrowed_maps_are_refined():
    model = build(ALTERNATE)
    assert [len(attention_batchnorms(block)) for block in model.blocks] == [0, 4, 0, 4]


def test_residual_maps_leave_all_blocks_their_queries():
    assert kinds(build(RESIDUAL)) == "rrrr"


def test_sharing_blocks_hold_the_hosts_rows_for_v():
    host, model = build("softmax"), build(ALTERNATE)
    assert torch.equal(model.blocks[1].attn.qkv.weight, host.blocks[1].attn.qkv.weight[48:])
    assert torch.equal(model.blocks[1].attn.qkv.bias, host.blocks[1].attn.qkv.bias[48:])


def test_all_other_weights_are_the_hosts():
    host, model = build("softmax").state_dict(), build(ALTERNATE).state_dict()
    same = {key for key in host if key in model and host[key].shape == model[key].shape}
    assert {key for key in host if key not in same} == {f"blocks.{i}.attn.qkv.{part}" for i in (1, 3) for part in PARTS}
    assert all(torch.equal(host[key], model[key]) for key in same)


PARTS = ("weight", "bias")


@LAYOUTS
def test_intermediates_are_those_of_the_forward_pass(attention):
    model, x = build(attention).eval(), images()
    last, taken = model.forward_intermediates(x, output_fmt="NLC", norm=False)
    assert len(taken) == 4
    torch.testing.assert_close(model.forward_head(last), model(x), rtol=0, atol=0)
    early = model.forward_intermediates(x, indices=[1], stop_early=True, intermediates_only=True, output_fmt="NLC")
    torch.testing.assert_close(early[0], taken[1], rtol=0, atol=0)


@LAYOUTS
def test_checkpointing_changes_no_gradient(attention):
    plain, thrifty, x = build(attention).double(), build(attention).double(), images().double()
    thrifty.set_grad_checkpointing(True)
    for model in (plain, thrifty):
        model.eval()(x).square().sum().backward()
    pairs = zip(plain.named_parameters(), thrifty.parameters(), strict=True)
    for (key, want), got in pairs:
        torch.testing.assert_close(got.grad, want.grad, rtol=1e-10, atol=1e-10, msg=key)


def test_gradient_passes_through_shared_maps():
    """The queries of the block that computed the map learn from the block that borrowed it."""
    model, x = build(ALTERNATE, depth=2).double().eval(), images().double()
    # What block 0 itself does with its map is cut off.
    nn.init.zeros_(model.blocks[0].attn.proj.weight)
    model(x).square().sum().backward()
    assert model.blocks[0].attn.qkv.weight.grad[:24].abs().max() > 0


def test_forwards_may_run_inside_each_other():
    """A hook in the second block runs the whole model on other images."""
    model, x = build(BOTH).eval(), images()
    want, inner = model(x), []

    def run_again(_block, _inputs, _output):
        if not inner:
            inner.append(None)
            inner[0] = model(images(3))

    model.blocks[1].register_forward_hook(run_again)
    torch.testing.assert_close(model(x), want, rtol=0, atol=0)
    torch.testing.assert_close(inner[0], model(images(3)), rtol=0, atol=0)


@pytest.mark.thorough
def test_compiles_into_one_graph():
    model, x = build(BOTH).eval(), images()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), model(x), rtol=1e-6, atol=1e-6)


LOST = (
    "this block refines the attention map of the block before it, but its tokens came without one: "
    "run the blocks in their order, let no hook replace what a block returns, and checkpoint with use_reentrant=False"
)


def test_a_map_that_got_lost_is_missed():
    model = build(BOTH)
    model.blocks[0].register_forward_hook(lambda _block, _inputs, output: output + 0)
    with pytest.raises(ValueError, match="came without one") as caught:
        model(images())
    assert str(caught.value) == LOST


def test_reentrant_checkpointing_is_refused():
    model = build(BOTH)
    model.set_grad_checkpointing(True)
    set_reentrant_ckpt(True)
    try:
        with pytest.raises(ValueError, match="use_reentrant=False") as caught:
            model(images().requires_grad_()).sum().backward()
    finally:
        set_reentrant_ckpt(False)
    assert str(caught.value) == LOST


def test_masks_are_refused():
    with pytest.raises(ValueError, match="blocks that hand on attention maps cannot honour an attention mask"):
        build(BOTH)(images(), is_causal=True)


def refusal(attention, **arch) -> str:
    with torch.device("meta"), pytest.raises(SpecError) as caught:
        build(attention, **arch)
    return "\n".join(f"{problem.path}: {problem.message}\n  {problem.hint}" for problem in caught.value.problems)


PAIRS = "choose pairs of neighbours, such as all or [2, 3, 6, 7]"
NEIGHBOURS = "choose two or more neighbours, such as all, {last: 4} or {first: 4}"


@pytest.mark.parametrize(
    ("attention", "arch", "message"),
    [
        (
            {**ALTERNATE, "blocks": [0, 2]},
            {},
            "arch.attention.blocks: a block can share only the map of the block right before it, "
            f"but here block 2 the map of block 0\n  {PAIRS}",
        ),
        (
            {**ALTERNATE, "blocks": [2]},
            {},
            f"arch.attention.blocks: sharing='alternate' needs two neighbouring blocks, but got [2]\n  {PAIRS}",
        ),
        (
            {**TWO, "blocks": [0, 1, 3]},
            {},
            "arch.attention.blocks: a block can share only the map of the block right before it, "
            "but here block 3 the map of block 0\n  choose groups of 3 neighbours, such as all",
        ),
        (
            {"name": "refiner", "refine_shared": False},
            {},
            "arch.attention.refine_shared: no block shares the map of another, so refine_shared=False would have no "
            "effect\n  leave refine_shared out, or write sharing: alternate",
        ),
        (
            {**REUSED, "expansion": 2},
            {},
            "arch.attention.expansion: with refine_shared=False no block refines a map, so expansion=2.0 would have no "
            "effect\n  leave expansion out",
        ),
        (
            {**RESIDUAL, "blocks": {"every": 2}},
            {},
            "arch.attention.blocks: residual_map goes from block to block and needs neighbouring blocks, "
            f"but got [1, 3]\n  {NEIGHBOURS}",
        ),
        (
            {**RESIDUAL, "expansion": 2, "reduction": False},
            {},
            "arch.attention.residual_map: residual_map adds maps to maps, but without reduction 6 maps meet the "
            "softmax maps of num_heads=3\n  write reduction: true, or sharing: alternate",
        ),
    ],
)
def test_layouts_that_do_not_work_are_refused(attention, arch, message):
    assert refusal(attention, **arch) == message


def test_blocks_of_another_kind_cannot_carry():
    arch = ArchSpec.model_validate({"model": "vit_base_patch16_rpn_224", "attention": BOTH})
    with torch.device("meta"), pytest.raises(SpecError) as caught:
        build_model(arch, img_size=None, in_chans=3, num_classes=5)
    assert caught.value.problems[0].message == (
        "attention 'refiner' cannot replace the attention of 'vit_base_patch16_rpn_224', which has blocks of kind "
        "ResPostBlock, which cannot hand on attention maps"
    )


@pytest.mark.parametrize("option", ["sharing", "residual_map"])
@pytest.mark.parametrize("model", ["swin_tiny_patch4_window7_224", "pvt_v2_b0"])
def test_windows_and_pyramids_cannot_carry(option, model):
    attention = {"name": "refiner", option: "alternate" if option == "sharing" else True}
    with torch.device("meta"), pytest.raises(SpecError) as caught:
        build_model(
            ArchSpec.model_validate({"model": model, "attention": attention}), img_size=None, in_chans=3, num_classes=5
        )
    assert str(caught.value) == (
        f"arch.attention.{option}: {option} hands attention maps from block to block, but the blocks of {model!r} "
        "do not attend over the same tokens\n"
        "  legal hosts: `vit` and timm's plain vision transformers (vit_*, deit_*, deit3_*)"
    )


def test_unreduced_maps_can_be_shared():
    model = build({**ALTERNATE, "reduction": False, "expansion": 2})
    assert model.blocks[1].attn.adapt_bn.num_features == 6
    assert model(images()).isfinite().all()
