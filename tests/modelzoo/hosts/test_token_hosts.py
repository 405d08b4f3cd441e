"""Rotary positions, position biases, norms of q and k, gates, parallel blocks, cosine attention: equal to the host at
the identity, with every weight of the host, at the cost of the mechanism alone.

The oracle is the host itself, built by timm: the models here are timm's with few blocks and small images.
"""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn

from modelzoo import ATTENTION, Slot, attention_batchnorms, build_model, measure_cost, notes_on_host
from modelzoo.attention.groupmix import GroupMixAttention
from modelzoo.attention.refiner import RefinedAttention
from modelzoo.hosts import attention_sites
from modelzoo.probes.maps import attention_maps
from search_space.parsing.errors import SpecError
from search_space.schema.trial import ArchSpec

from ..conftest import kin_slow

pytestmark = pytest.mark.thorough

IDENTITY = {"name": "reattention", "theta_init": "identity", "norm": "none"}
SIZED = {"depth": 2, "embed_dim": 40, "num_heads": 4}
TINY = {**SIZED, "img_size": 32}
ROTARY = {**TINY, "embed_dim": 80}  # rotations need a head_dim that 4 divides
GATED = {"rope_type": "axial", "attn_gated": True, "qkv_fused": False, "num_kv_heads": 2}
HOSTS = {
    "eva02": {"model": "eva02_tiny_patch14_224", "img_size": 28, "depth": 2},
    "eva": {"model": "eva_giant_patch14_224", **TINY, "img_size": 28},
    "dinov3": {"model": "vit_small_patch16_dinov3", **ROTARY, "options": {"dynamic_img_size": False}},
    "dinov3 of any size": {"model": "vit_small_patch16_dinov3_qkvb", **ROTARY},
    "mixed rotary": {"model": "vit_small_patch16_rope_mixed_ape_224", **ROTARY},
    "beit": {"model": "beit_base_patch16_224", **TINY},
    "shared beit": {
        "model": "beit_base_patch16_224",
        **TINY,
        "options": {"use_rel_pos_bias": False, "use_shared_rel_pos_bias": True},
    },
    "relpos": {"model": "vit_relpos_small_patch16_224", **TINY},
    "post-norm relpos": {"model": "vit_relpos_base_patch32_plus_rpn_256", **TINY, "img_size": 64},
    "shared relpos": {"model": "vit_srelpos_small_patch16_224", **TINY},
    "qk_norm": {"model": "vit", **TINY, "options": {"qk_norm": True}},
    "scale_attn_norm": {"model": "beit3_base_patch16_224", **TINY},
    "parallel things": {"model": "vit_small_patch16_18x2_224", **TINY},
    "parallel scaling": {"model": "vit_base_patch16_xp_224", **TINY},
    "swinv2": {
        "model": "swinv2_tiny_window8_256",
        "img_size": 64,
        "embed_dim": 24,
        "options": {"depths": [2, 1, 1, 1]},
    },
    "naflex": {"model": "naflexvit_base_patch16_gap", **SIZED},
    "naflex with qk_norm": {"model": "naflexvit_base_patch16_map", **SIZED, "options": {"qk_norm": True}},
    "gated, grouped and rotary": {"model": "naflexvit_base_patch16_map", **SIZED, "embed_dim": 80, "options": GATED},
}
PLAIN = {"plain": {"model": "vit", **TINY, "patch_size": 16}}
NO_GRID = {"naflex", "naflex with qk_norm", "gated, grouped and rotary", "dinov3 of any size"}
GROUPMIX = {
    "swinv2": {"name": "groupmix", "kernel_sizes": [3, 5], "blocks": [0, 2, 3, 4]},
    "eva02": {"name": "groupmix", "kernel_sizes": [3, 5]},
}
SIDE = 32  # of the images of a model that takes any size
KIN = {
    *("beit", "dinov3 of any size", "eva", "mixed rotary", "naflex with qk_norm"),
    *("post-norm relpos", "scale_attn_norm", "shared beit", "shared relpos"),
}
"""Hosts whose code paths others have, too: slow."""

for_every_host = pytest.mark.parametrize("host", kin_slow(HOSTS, KIN))
for_every_grid = pytest.mark.parametrize("host", kin_slow([name for name in HOSTS if name not in NO_GRID], KIN))


def build(host: str, attention="softmax", **arch):
    spec = ArchSpec.model_validate({**HOSTS[host], **arch, "attention": attention})
    return build_model(spec, img_size=None, in_chans=3, num_classes=5, seed=0)


@functools.cache
def images(host: str, num: int = 2) -> torch.Tensor:
    side = (HOSTS | PLAIN)[host].get("img_size", SIDE)
    return torch.randn(num, 3, side, side, generator=torch.Generator().manual_seed(1))


def groupmix(host: str):
    return GROUPMIX.get(host, "groupmix")


def stir(model: nn.Module, like: nn.Module) -> None:
    """The same changes to the weights of a host in every model: biases, tables and gates start at zero or one."""
    generator = torch.Generator().manual_seed(2)
    weights = model.state_dict(keep_vars=True)
    with torch.no_grad():
        for name, weight in like.named_parameters():
            weights[name].add_(0.1 * torch.randn(weight.shape, generator=generator))


def side_by_side(host: str, attention, *, training: bool) -> tuple[torch.Tensor, torch.Tensor]:
    own, swapped, answers = build(host), build(host, attention), []
    stir(swapped, own)
    stir(own, own)
    for model in (own, swapped):
        torch.manual_seed(0)
        answers.append(model.train(training)(images(host)))
    return answers[0], answers[1]


@for_every_host
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_reattention_at_the_identity_is_the_host(host, training):
    """timm computes it by a fused kernel, so it may differ by rounding."""
    own, swapped = side_by_side(host, IDENTITY, training=training)
    torch.testing.assert_close(swapped, own, rtol=1e-4, atol=1e-5)


@for_every_host
def test_probes_see_the_maps_of_the_host_where_they_are(host):
    """The map after the softmax, of the same attention, with the same positions in the image."""
    own, swapped = build(host), build(host, IDENTITY)
    stir(swapped, own)
    stir(own, own)
    wanted, found = attention_maps(own, images(host)), attention_maps(swapped, images(host))
    assert [each.name for each in found] == [each.name for each in wanted]
    for want, got in zip(wanted, found, strict=True):
        torch.testing.assert_close(got.weights, want.weights, rtol=1e-4, atol=1e-5)
        assert got.positions == want.positions
    assert wanted[0].positions is not None


@for_every_host
def test_another_mixing_is_another_model(host):
    own, swapped = side_by_side(host, {**IDENTITY, "theta_init": "random"}, training=False)
    assert not torch.allclose(swapped, own, rtol=1e-2, atol=1e-3)


@for_every_host
@pytest.mark.parametrize("attention", ["reattention", "refiner"])
def test_hosts_weights_keep_names_and_values(host, attention):
    own, swapped = build(host).state_dict(), build(host, attention).state_dict()
    assert [key for key, value in own.items() if not torch.equal(value, swapped[key])] == []
    assert set(own) < set(swapped)


@for_every_grid
def test_groupmix_keeps_the_weights_that_it_has_a_place_for(host):
    """What it has no place for is what belongs to the logits."""
    own, swapped = build(host).state_dict(), build(host, groupmix(host)).state_dict()
    assert [key for key in own if key in swapped and not torch.equal(own[key], swapped[key])] == []
    gone = {key for key in own if key not in swapped}
    of_logits = ("rel_pos", "relative_position", "q_norm", "k_norm", "rope", "logit_scale", "cpb_mlp")
    assert [key for key in gone if not any(part in key for part in of_logits)] == []


def notes(arch: dict, attention) -> list[str]:
    spec = ArchSpec.model_validate({**arch, "attention": attention})
    return notes_on_host(spec, img_size=32, in_chans=3, num_classes=5)


OTHERS = {
    "swin": {"model": "swin_tiny_patch4_window7_224"},
    "pvt": {"model": "pvt_v2_b0"},
    "coat": {"model": "coat_lite_tiny"},
    "vit": {"model": "vit", "embed_dim": 40, "num_heads": 4},
}
GM = "groupmix takes the place of the "
FIT = "groupmix has kernel_sizes [3, 5]: [3, 5, 7] do not fit the channels or heads of this host"
QK = "norm of queries and keys (q_norm, k_norm) in all blocks"
ROPE = "rotary positions of queries and keys (rope) in all blocks"


@pytest.mark.parametrize(
    ("host", "attention", "want"),
    [
        ("eva02", groupmix("eva02"), [GM + ROPE]),
        ("beit", "groupmix", [GM + "relative position bias in all blocks"]),
        ("beit", {"name": "groupmix", "blocks": [1]}, [GM + "relative position bias in block 1"]),
        (
            "shared relpos",
            "groupmix",
            [GM + "relative position bias that all blocks share (shared_rel_pos) in all blocks"],
        ),
        ("qk_norm", "groupmix", [GM + QK]),
        ("parallel scaling", "groupmix", [GM + QK]),
        ("scale_attn_norm", "groupmix", []),
        ("parallel things", "groupmix", []),
        (
            "swinv2",
            {**GROUPMIX["swinv2"], "blocks": [0, 2]},
            [
                GM + "cosine similarity of queries and keys and its scale (logit_scale) in blocks 0, 2",
                GM + "continuous relative position bias (cpb_mlp) in blocks 0, 2",
            ],
        ),
        ("swin", {"name": "groupmix", "blocks": [0]}, [GM + "relative position bias of its windows in block 0", FIT]),
        ("pvt", "groupmix", [GM + "spatial reduction of keys and values in blocks 0, 1, 2, 3, 4, 5", FIT]),
        ("coat", "groupmix", [GM + "convolutional position term of its stage (crpe) in all blocks", FIT]),
        ("vit", "groupmix", []),
        (
            "vit",
            {"name": "refiner", "sharing": "alternate", "blocks": {"first": 4}},
            ["refiner with sharing has no queries and keys in blocks 1, 3"],
        ),
        ("swin", "refiner", []),
        ("vit", "softmax", []),
    ],
)
def test_what_a_mechanism_takes_the_place_of_is_named(host, attention, want):
    assert notes((HOSTS | OTHERS)[host], attention) == want


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (host, name)
        for host in [*HOSTS, *OTHERS]
        for name in ("groupmix", "refiner")
        if (host, name) != ("coat", "refiner") and (host not in NO_GRID or name == "refiner")
    ],
)
def test_weights_go_only_with_what_is_named(host, name):
    """The softmax map has no weights, and Group-Mix in a pyramid has the projections under other names."""
    arch, attention = (HOSTS | OTHERS)[host], groupmix(host) if name == "groupmix" else name
    if host == "swin" and name == "groupmix":
        attention = {"name": "groupmix", "blocks": [0, 2, 4, 6, 8, 10, 11]}
    with torch.device("meta"):
        models = []
        for each in ("softmax", attention):
            spec = ArchSpec.model_validate({**arch, "attention": each})
            models.append(build_model(spec, img_size=32, in_chans=3, num_classes=5, seed=0))
    own, swapped = (model.state_dict() for model in models)
    projections = (".q.", ".kv.", ".qkv.", ".proj.")
    gone = [key for key in own if key not in swapped and not any(part in key for part in projections)]
    named = [note for note in notes(arch, attention) if "takes the place" in note]
    # Only learned rotary positions have weights.
    weightless = "rotary" if host != "mixed rotary" else "nothing"
    assert bool(gone) == any(weightless not in note for note in named)


def gradients_of(host: str, attention) -> list[str]:
    model = build(host, attention)
    model(images(host)).square().sum().backward()
    assert attention_batchnorms(model)
    return [name for name, parameter in model.named_parameters() if parameter.grad is None]


@for_every_host
@pytest.mark.parametrize("attention", ["refiner", {"name": "refiner", "reduction": False, "expansion": 2}])
def test_gradient_reaches_every_parameter(host, attention):
    assert gradients_of(host, attention) == []


@for_every_grid
def test_gradient_reaches_every_parameter_of_groupmix(host):
    assert gradients_of(host, groupmix(host)) == []


def sizes_of(host: str) -> list[tuple[int, int, int]]:
    """(heads, maps, tokens of a map) of every attention of the host, counted by hand."""
    if host == "swinv2":
        # 16x16 patches: four windows of 8x8, then one window each of 8x8, 4x4 and 2x2 patches.
        return [(3, 4, 64), (3, 4, 64), (6, 1, 64), (12, 1, 16), (24, 1, 4)]
    heads = 3 if host == "eva02" else 4
    prefix = {"dinov3": 5, "dinov3 of any size": 5, "relpos": 0, "shared relpos": 0, "post-norm relpos": 0}
    prefix |= {"naflex": 4, "naflex with qk_norm": 1, "gated, grouped and rotary": 1}
    blocks = 4 if host == "parallel things" else 2
    return [(heads, 1, 4 + prefix.get(host, 1))] * blocks


def costs_of(host: str, *attentions) -> list[tuple[int, int]]:
    """Parameters and multiply-accumulates of one image."""
    found = []
    for attention in attentions:
        # NaFlexViT takes no size of its own; here it gets the images of the other hosts.
        spec = ArchSpec.model_validate(
            {
                **(HOSTS | PLAIN)[host],
                "img_size": images(host).shape[-1],
                "attention": attention,
            }
        )
        cost = measure_cost(spec, img_size=None, in_chans=3, num_classes=5)
        found.append((round(cost.params_m * 1e6), round(cost.gmacs * 1e9)))
    return found


@for_every_host
@pytest.mark.parametrize("name", ["reattention", "refiner"])
def test_mechanisms_add_their_own_cost_and_nothing_else(host, name):
    """Re-attention: H^2 + H of the mixing, 2H of the norm. Refiner: H * 3H, 9 * 3H, 3H * H, norms of 3H, 3H, H, H."""
    own, swapped = costs_of(host, "softmax", name)
    params = {"reattention": lambda h: h * h + 3 * h, "refiner": lambda h: 6 * h * h + 27 * h + 2 * 8 * h}[name]
    macs = {"reattention": lambda h: h * h, "refiner": lambda h: 6 * h * h + 27 * h}[name]
    assert swapped[0] - own[0] == sum(params(heads) for heads, _, _ in sizes_of(host))
    assert swapped[1] - own[1] == sum(maps * tokens**2 * macs(heads) for heads, maps, tokens in sizes_of(host))


@pytest.mark.parametrize("host", ["eva", "beit", "qk_norm", "scale_attn_norm", "parallel scaling"])
def test_groupmix_costs_what_it_costs_in_a_plain_host(host):
    """`vit` has the same sizes; what it lacks of this host are the parameters that Group-Mix has no place for."""
    plain, own = costs_of("plain", "softmax", "groupmix"), costs_of(host, "softmax", "groupmix")
    before, after = build(host).state_dict(), build(host, "groupmix").state_dict()
    gone = sum(value.numel() for key, value in before.items() if key not in after)
    assert own[1][0] - own[0][0] == plain[1][0] - plain[0][0] - gone
    assert own[1][1] - own[0][1] == plain[1][1] - plain[0][1]


@pytest.mark.parametrize("name", ["refiner", "reattention", "groupmix"])
def test_without_positions_a_hosted_mechanism_is_the_mechanism(name):
    """Which is held to the recorded outputs of the original implementations."""
    model = build("eva", name, options={"use_rot_pos_emb": False})
    hosted = model.blocks[1].attn.double().eval()
    alone = ATTENTION[name](Slot(dim=40, num_heads=4, grid_size=(2, 2), num_prefix_tokens=1)).double().eval()
    state = {key.removeprefix("mechanism."): value for key, value in hosted.state_dict().items()}
    state["qkv.bias"] = torch.cat((state.pop("q_bias"), torch.zeros(40), state.pop("v_bias")))
    alone.load_state_dict(state, strict=True)
    x = torch.randn(2, 5, 40, dtype=torch.float64)
    torch.testing.assert_close(hosted(x), alone(x), rtol=1e-10, atol=1e-12)


def test_positions_move_the_maps_and_not_groupmix():
    rope = torch.randn(4, 20)
    for name, moves in (("refiner", True), ("groupmix", False)):
        attention = build("eva", name).blocks[0].attn.eval()
        x = torch.randn(2, 5, 40)
        assert torch.allclose(attention(x, rope=rope), attention(x)) is not moves


def test_a_gate_and_a_norm_stay_behind_groupmix():
    own = build("scale_attn_norm").blocks[0].attn
    swapped = build("scale_attn_norm", "groupmix").blocks[0].attn
    assert torch.equal(own.norm.weight, swapped.norm.weight)
    x = torch.randn(2, 5, 40)
    before = swapped.eval()(x)
    nn.init.zeros_(swapped.norm.weight)
    assert not torch.allclose(swapped(x), before)


def test_unused_positions_leave_the_model_and_used_ones_stay():
    assert build("mixed rotary", "groupmix").rope is None
    assert build("mixed rotary", {"name": "groupmix", "blocks": [0]}).rope is not None
    assert build("shared beit", "groupmix").rel_pos_bias is None
    assert build("shared relpos", "groupmix").shared_rel_pos is None


@pytest.mark.parametrize("host", ["qk_norm", "beit", "parallel scaling", "naflex"])
@pytest.mark.parametrize("attention", ["refiner", "reattention"])
def test_checkpointing_changes_no_gradient(host, attention):
    plain, thrifty = build(host, attention).double(), build(host, attention).double()
    thrifty.set_grad_checkpointing(True)
    for model in (plain, thrifty):
        model.eval()(images(host).double()).square().sum().backward()
    for (key, want), got in zip(plain.named_parameters(), thrifty.parameters(), strict=True):
        torch.testing.assert_close(got.grad, want.grad, rtol=1e-8, atol=1e-10, msg=key)


@pytest.mark.parametrize("host", ["qk_norm", "parallel scaling"])
def test_masks_are_refused(host):
    model = build(host, "refiner")
    with pytest.raises(ValueError, match="RefinedAttention does not support an attention mask"):
        model(images(host), attn_mask=torch.zeros(5, 5))


def test_a_shifted_window_of_swin_v2_stays_masked():
    attention = build("swinv2", "refiner").double().eval().layers[0].blocks[1]
    mask, x = attention.attn_mask, torch.randn(4, 64, 24, dtype=torch.float64)
    apart = (mask[3, 0] != 0).nonzero()[0].item()
    before = attention.attn(x, mask=mask)
    x[3, apart] += 1.0
    moved = (attention.attn(x, mask=mask) - before)[3].abs().amax(dim=-1)
    assert moved[0] < 1e-12 < moved[apart]


def test_groupmix_in_a_window_of_swin_v2_refuses_a_mask():
    block = build("swinv2", groupmix("swinv2")).layers[0].blocks[0]
    assert isinstance(block.attn.mechanism, GroupMixAttention)
    with pytest.raises(ValueError, match="its aggregators would mix pixels that the mask separates"):
        block.attn(torch.zeros(4, 64, 24), mask=torch.zeros(4, 64, 64))


def test_dropouts_of_the_host_reach_the_mechanism():
    model = build("eva02", "refiner", attn_drop_rate=0.1, proj_drop_rate=0.2)
    attention = model.blocks[0].attn
    assert (attention.attn_drop.p, attention.proj_drop.p) == (0.1, 0.2)
    assert isinstance(attention.mechanism, RefinedAttention)
    assert build("eva02", groupmix("eva02"), attn_drop_rate=0.1).blocks[0].attn.mechanism.attn_drop.p == 0.1


def test_without_token_ensemble_there_is_no_projection():
    attention = build("beit", {"name": "groupmix", "token_ensemble": False}).blocks[0].attn
    assert isinstance(attention.proj, nn.Identity)
    block = build("parallel scaling", {"name": "groupmix", "token_ensemble": False}).blocks[0]
    assert isinstance(block.attn_out_proj, nn.Identity)


def refusal(host: str, attention, **arch) -> str:
    with torch.device("meta"), pytest.raises(SpecError) as caught:
        build(host, attention, **arch)
    (problem,) = caught.value.problems
    return f"{problem.path}: {problem.message}\n  {problem.hint}"


@pytest.mark.parametrize(
    ("host", "attention", "message"),
    [
        (
            "naflex",
            "groupmix",
            "arch.attention: attention 'groupmix' cannot replace the attention of 'naflexvit_base_patch16_gap', which "
            "takes images of any size, so that its blocks do not know the grid of their patches",
        ),
        (
            "gated, grouped and rotary",
            "groupmix",
            "arch.attention: attention 'groupmix' cannot replace the attention of 'naflexvit_base_patch16_map', which "
            "has fewer heads of keys and values than of queries, which Group-Mix aggregates together",
        ),
        (
            "beit",
            {"name": "refiner", "sharing": "alternate"},
            "arch.attention.sharing: sharing hands attention maps from block to block, but the blocks of "
            "'beit_base_patch16_224' have more than plain attention, and only timm's plain `Block` is rebuilt to hand "
            "on maps",
        ),
        (
            "dinov3 of any size",
            "groupmix",
            "arch.options.dynamic_img_size: attention 'groupmix' needs every patch of a fixed grid, which "
            "dynamic_img_size, a default of 'vit_small_patch16_dinov3_qkvb', takes away\n"
            "  write arch.options: {dynamic_img_size: false}",
        ),
        (
            "swinv2",
            "groupmix",
            "arch.attention.blocks: attention 'groupmix' cannot replace the attention of block 1 of "
            "'swinv2_tiny_window8_256', which has shifted windows in this block, and aggregators would mix pixels that "
            "their mask separates\n  possible blocks: [0, 2, 3, 4]",
        ),
    ],
)
def test_what_the_mathematics_does_not_allow_is_refused_with_the_reason(host, attention, message):
    got = refusal(host, attention)
    assert got == message if "\n" in message else got.split("\n")[0] == message


def test_a_part_of_a_later_timm_is_not_ignored():
    model = build("eva02")
    model.blocks[0].attn.temperature = nn.Linear(2, 2)
    assert attention_sites(model)[0].why_not("refiner") == (
        "has attention with a part that archsweep does not know (temperature)"
    )
    assert attention_sites(model)[1].why_not("refiner") is None


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("host", kin_slow(["dinov3", "beit", "parallel scaling"], ["beit", "parallel scaling"]))
def test_compiles_into_one_graph(host):
    model, x = build(host, "refiner").eval(), images(host)
    torch.compiler.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), model(x), rtol=1e-5, atol=1e-6)


@for_every_host
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # of the host's own RMS norm
def test_runs_under_autocast(host):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = build(host, "refiner")(images(host))
    assert y.isfinite().all()
    y.float().sum().backward()


def test_the_advice_about_image_sizes_works():
    """In a model that takes any size by default there is nothing to remove; the option that it wants is accepted."""
    assert build("dinov3", "groupmix").blocks[0].attn.mechanism.slot.grid_size == (2, 2)
