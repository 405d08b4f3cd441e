"""Replacement of attention: only the chosen attentions change."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.layers import Attention

from modelzoo import ATTENTION, Slot, build_model
from modelzoo.attention.softmax import SoftmaxAttention
from search_space.parsing.errors import SpecError
from search_space.schema.trial import ArchSpec

pytestmark = pytest.mark.thorough

TINY = {"depth": 3, "embed_dim": 40, "num_heads": 4, "patch_size": 2, "mlp_ratio": 2}
NAMES = sorted(set(ATTENTION) - {"softmax"})


def build(attention="softmax", *, seed: int | None = 0, img_size=4, in_chans=1, **arch):
    spec = ArchSpec.model_validate({**(arch or TINY), "attention": attention})
    return build_model(spec, img_size=img_size, in_chans=in_chans, num_classes=5, seed=seed)


def refusal(attention, **arch) -> str:
    with torch.device("meta"), pytest.raises(SpecError) as caught:
        build(attention, **arch)
    return "\n".join(f"{problem.path}: {problem.message}\n  {problem.hint}" for problem in caught.value.problems)


@pytest.mark.parametrize("name", NAMES)
def test_equal_seeds_give_equal_weights_wherever_both_variants_have_them(name):
    softmax, swapped = build().state_dict(), build(name).state_dict()
    assert set(softmax) < set(swapped)
    assert [key for key, value in softmax.items() if not torch.equal(value, swapped[key])] == []


@pytest.mark.parametrize("name", NAMES)
def test_equal_seeds_give_equal_models(name):
    first, second = build(name, seed=3).state_dict(), build(name, seed=3).state_dict()
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_another_seed_gives_another_mechanism():
    first, second = build("reattention", seed=3).state_dict(), build("reattention", seed=4).state_dict()
    key = "blocks.0.attn.reatten_matrix.weight"
    assert not torch.equal(first[key], second[key])


def test_blocks_draw_different_weights():
    state = build("reattention").state_dict()
    assert not torch.equal(*(state[f"blocks.{index}.attn.reatten_matrix.weight"] for index in (0, 1)))


def test_a_block_draws_the_same_whichever_others_are_swapped():
    every, last = build("refiner").state_dict(), build({"name": "refiner", "blocks": {"last": 1}}).state_dict()
    assert all(torch.equal(value, every[key]) for key, value in last.items())
    assert "blocks.2.attn.DLA.conv_exp.weight" in last


def test_without_a_seed_torchs_generator_decides():
    torch.manual_seed(11)
    drawn = build("refiner", seed=None).state_dict()
    named = build("refiner", seed=11).state_dict()
    assert all(torch.equal(value, named[key]) for key, value in drawn.items())


def test_a_seed_leaves_torchs_generator_alone():
    torch.manual_seed(11)
    before = torch.get_rng_state()
    build("groupmix", seed=5)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_mechanism_takes_nothing_from_torchs_generator():
    """The order of the data therefore does not depend on the mechanism, even without seeding again."""
    states = []
    for name in ("softmax", "refiner"):
        torch.manual_seed(11)
        build(name, seed=None)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


@pytest.mark.parametrize(
    ("blocks", "chosen"),
    [
        ("all", [0, 1, 2, 3, 4]),
        ({"last": 2}, [3, 4]),
        ({"first": 3}, [0, 1, 2]),
        ({"every": 2}, [1, 3]),
        ([4, 0], [0, 4]),
    ],
)
def test_chosen_blocks_are_swapped_and_the_others_keep_their_attention(blocks, chosen):
    model = build({"name": "reattention", "blocks": blocks}, **{**TINY, "depth": 5})
    kinds = [type(block.attn) for block in model.blocks]
    assert [index for index, kind in enumerate(kinds) if kind is ATTENTION["reattention"]] == chosen
    assert set(kinds) <= {ATTENTION["reattention"], Attention}


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("grid", [(2, 2), (5, 7)])
def test_softmax_is_bit_equal_to_timms_attention(training, grid):
    num_tokens = grid[0] * grid[1] + 1
    torch.manual_seed(0)
    theirs = Attention(48, num_heads=4, qkv_bias=True, attn_drop=0.2, proj_drop=0.1).train(training)
    ours = SoftmaxAttention(Slot(dim=48, num_heads=4, attn_drop=0.2, proj_drop=0.1)).train(training)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(3, num_tokens, 48)
    mask = torch.randn(num_tokens, num_tokens)
    for arguments in ({}, {"is_causal": True}, {"attn_mask": mask}):
        answers = []
        for module in (theirs, ours):
            torch.manual_seed(1)
            answers.append(module(x, **arguments))
        assert torch.equal(*answers)


def test_vit_with_softmax_is_timms_vision_transformer_of_these_sizes():
    torch.manual_seed(2)
    theirs = timm.models.vision_transformer.VisionTransformer(
        img_size=4, patch_size=2, in_chans=1, num_classes=5, embed_dim=40, depth=3, num_heads=4, mlp_ratio=2
    )
    ours, x = build(seed=2), torch.randn(2, 1, 4, 4)
    assert torch.equal(ours.eval()(x), theirs.eval()(x))


@pytest.mark.parametrize("name", NAMES)
def test_mechanisms_work_in_named_models(name):
    model = build(
        name,
        model="deit_tiny_distilled_patch16_224",
        depth=2,
        embed_dim=40,
        num_heads=4,
        img_size=None,
        in_chans=3,
    )
    assert [type(block.attn) for block in model.blocks] == [ATTENTION[name]] * 2
    assert model.blocks[0].attn.slot == Slot(dim=40, num_heads=4, grid_size=(14, 14), num_prefix_tokens=2)
    assert model(torch.zeros(2, 3, 224, 224)).shape == (2, 5)


def test_softmax_means_the_models_own_attention():
    model = build(model="swin_tiny_patch4_window7_224", img_size=None, in_chans=3)
    torch.manual_seed(0)
    theirs = timm.create_model("swin_tiny_patch4_window7_224", num_classes=5, drop_path_rate=0.0)
    assert [type(m) for m in model.modules()] == [type(m) for m in theirs.modules()]
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), theirs.parameters(), strict=True))


def test_softmax_leaves_attention_with_extras_in_place():
    model = build(**TINY, options={"qk_norm": True})
    assert all(type(block.attn) is Attention for block in model.blocks)


def test_dropouts_and_biases_of_the_host_reach_the_mechanism():
    model = build("refiner", **TINY, attn_drop_rate=0.1, proj_drop_rate=0.2, qkv_bias=False)
    slot = Slot(
        dim=40, num_heads=4, grid_size=(2, 2), num_prefix_tokens=1, qkv_bias=False, attn_drop=0.1, proj_drop=0.2
    )
    assert model.blocks[0].attn.slot == slot


HINT = (
    "legal hosts: `vit` and timm's plain vision transformers (vit_*, deit_*, deit3_*), eva*, beit*, naflexvit_*, "
    "swin_*, swinv2_*, pvt_v2_*, and coat_lite_* for groupmix (docs/hosts.md has the table); "
    "`softmax` keeps the attention that a model has"
)


NO_ADAPTER = "uses timm.models.{}, which archsweep has no adapter for"


@pytest.mark.parametrize(
    ("arch", "reason"),
    [
        ({"model": "swinv2_cr_tiny_224"}, NO_ADAPTER.format("swin_transformer_v2_cr.WindowMultiHeadAttention")),
        (
            {"model": "cait_xxs24_224"},
            "uses timm.models.cait.ClassAttn, which lets only the class token attend, so its maps have one row; "
            "timm.models.cait.TalkingHeadAttn, which mixes its heads before and after the softmax by itself",
        ),
        ({"model": "coat_tiny"}, "uses timm.models.coat.FactorAttnConvRelPosEnc, which forms no attention map"),
        ({"model": "resnet18"}, "has no attention"),
        (
            {**TINY, "options": {"attn_layer": "diff"}},
            "uses timm.layers.diff_attention.DiffAttention, which weighs V by the difference of two softmax maps, and "
            "the mechanisms are defined for one",
        ),
    ],
)
def test_hosts_with_other_attention_are_refused(arch, reason):
    model = arch.get("model", "vit")
    want = f"arch.attention: attention 'refiner' cannot replace the attention of {model!r}, which {reason}\n  {HINT}"
    assert refusal("refiner", in_chans=3, **arch) == want


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ({"last": 4}, "arch.attention.blocks.last: last: 4 is more than the 3 blocks of the model\n  legal: 1 to 3"),
        ({"first": 9}, "arch.attention.blocks.first: first: 9 is more than the 3 blocks of the model\n  legal: 1 to 3"),
        ({"every": 4}, "arch.attention.blocks.every: every: 4 is more than the 3 blocks of the model\n  legal: 1 to 3"),
        (
            [],
            "arch.attention.blocks: an empty list chooses no block\n"
            "  `attention: softmax` keeps the model's own attention",
        ),
        (
            [0, 0, 3],
            "arch.attention.blocks: no such blocks: [3]\n  the model has 3; legal: 0 to 2\n"
            "arch.attention.blocks: blocks listed twice: [0]\n  list each block once",
        ),
    ],
)
def test_blocks_that_do_not_exist_are_refused(blocks, message):
    assert refusal({"name": "reattention", "blocks": blocks}) == message


@pytest.mark.parametrize(("option", "value"), [("dynamic_img_size", True), ("patch_drop_rate", 0.5)])
def test_groupmix_needs_all_patches_of_a_fixed_grid(option, value):
    assert refusal("groupmix", **TINY, options={option: value}) == (
        f"arch.options.{option}: attention 'groupmix' needs every patch of a fixed grid, which {option} takes away\n"
        f"  remove {option}"
    )
    assert build("refiner", **TINY, options={option: value}) is not None


def kernels(model: str, attention="groupmix", **arch) -> set[tuple[int, ...]]:
    """Sides of the aggregators' kernels, for every block; agg0 is the local branch."""
    with torch.device("meta"):
        built = build(attention, model=model, img_size=None, in_chans=3, **arch)
    found: dict[str, list[int]] = {}
    for name, weight in built.state_dict().items():
        block, _, rest = name.partition(".aggregator.agg")
        if rest.endswith(".conv1.weight") and not rest.startswith("0"):
            found.setdefault(block, []).append(weight.shape[-1])
    return {tuple(sides) for sides in found.values()}


@pytest.mark.parametrize(
    ("model", "fitting"),
    [
        ("vit_tiny_patch16_224", (3, 5)),  # 192 channels, 3 heads: five segments do not divide them, four do
        ("pvt_v2_b0", (3, 5)),
        ("deit3_huge_patch14_224", (3, 5, 7)),  # 1280 channels, 16 heads
    ],
)
def test_without_kernel_sizes_a_named_model_gets_those_that_fit_all_its_blocks(model, fitting):
    assert kernels(model) == {fitting}
    assert kernels(model, {"name": "groupmix", "kernel_sizes": list(fitting)}) == {fitting}


@pytest.mark.parametrize("arch", [{"embed_dim": 192}, {"num_heads": 3}])
def test_explicit_kernels_and_a_chosen_width_keep_their_meaning(arch):
    """A `match` over widths looks for those that fit, and an ablation of kernels must not train others."""
    want = "arch.attention: Group-Mix attention needs embed_dim % segments == 0, but got embed_dim=192, num_heads=3, "
    explicit = {"name": "groupmix", "kernel_sizes": [3, 5, 7]}
    assert refusal(explicit, model="vit_tiny_patch16_224", img_size=None, in_chans=3).startswith(want)
    assert refusal("groupmix", model="vit_tiny_patch16_224", img_size=None, in_chans=3, **arch).startswith(want)


@pytest.mark.parametrize(
    ("attention", "arch", "message"),
    [
        (
            {"name": "groupmix", "kernel_sizes": [3]},
            {},
            "arch.attention: Group-Mix attention needs embed_dim % segments == 0, but got embed_dim=40, num_heads=4, "
            "segments=3 (tokens, 1 kernel_sizes, local branch)\n"
            "  near embed_dim for num_heads=4: 36, 48; or, for embed_dim=40, as many kernel_sizes as 3, 8",
        ),
        (
            "groupmix",
            {"embed_dim": 45, "num_heads": 5},
            "arch.attention: Group-Mix attention needs (embed_dim - embed_dim / segments) % num_heads == 0, "
            "but got embed_dim=45, num_heads=5, segments=5 (tokens, 3 kernel_sizes, local branch)\n"
            "  near embed_dim for num_heads=5: 25, 50; or num_heads for embed_dim=45: 1, 3, 9",
        ),
        (
            {"name": "refiner", "expansion": 0.1},
            {},
            "arch.attention.expansion: round(num_heads * expansion) >= 1 must hold, "
            "but got num_heads=4, expansion=0.1\n  for num_heads=4 choose an expansion of at least 0.25",
        ),
        (
            {"name": "groupmix", "local_branch": False, "num_segments": 3},
            {},
            "arch.attention: Group-Mix attention needs embed_dim % segments == 0, but got embed_dim=40, num_heads=4, "
            "segments=3 (tokens, 2 kernel_sizes)\n"
            "  near embed_dim for num_heads=4: 36, 48; or, for embed_dim=40, as num_segments 2, 4, 5, 8, 10",
        ),
        (
            {"name": "groupmix", "identity_segment": False, "kernel_sizes": []},
            {},
            "arch.attention.kernel_sizes: Group-Mix attention without identity_segment and kernel_sizes has no segment "
            "that attends\n  give kernel_sizes, or write identity_segment: true",
        ),
        (
            {"name": "groupmix", "num_segments": 1},
            {},
            "arch.attention.num_segments: num_segments=1 leaves -1 group segments beside tokens and the local branch, "
            "with 3 kernel_sizes\n  increase num_segments, or remove it: the number then follows from kernel_sizes",
        ),
        (
            {"name": "groupmix", "head_layout": "straddle", "local_branch": False, "num_segments": 5},
            {"num_heads": 10},
            "arch.attention.head_layout: head_layout='straddle' needs a channel of every attending segment in every "
            "head, but a head has 4 channels for 5 segments (embed_dim=40, num_heads=10)\n"
            "  num_heads for embed_dim=40: 1, 2, 4, 5, 8",
        ),
        (
            {"name": "groupmix", "head_layout": "straddle", "kernel_sizes": []},
            {},
            "arch.attention.head_layout: with one attending segment, head_layout='straddle' would have no effect\n"
            "  remove head_layout",
        ),
        (
            {"name": "groupmix", "local_branch": False, "kernel_sizes": [3], "local_kernel_size": 5},
            {},
            "arch.attention.local_kernel_size: without local_branch, local_kernel_size=5 would have no effect\n"
            "  remove local_kernel_size, or write local_branch: true",
        ),
        (
            {"name": "groupmix", "kernel_sizes": [], "aggregator": "maxpool"},
            {},
            "arch.attention.aggregator: without kernel_sizes there are no group segments: aggregator='maxpool' would "
            "have no effect\n  give kernel_sizes, or remove aggregator",
        ),
        (
            {"name": "groupmix", "crpe": False, "position_windows": [3]},
            {},
            "arch.attention.position_windows: without crpe, position_windows=[3] would have no effect\n"
            "  remove position_windows, or write crpe: true",
        ),
        (
            {"name": "groupmix", "position_windows": [3, 5, 7, 9, 11]},
            {},
            "arch.attention.position_windows: 5 position_windows need as many heads, but got num_heads=4\n"
            "  list fewer windows",
        ),
        (
            {"name": "groupmix", "position_windows": [3, 3]},
            {},
            "arch.attention.position_windows: position_windows lists a window twice: [3, 3]\n  list each window once",
        ),
        (
            {"name": "reattention", "norm": "none", "norm_momentum": 0.5},
            {},
            "arch.attention.norm_momentum: norm_momentum belongs to `norm: batch`; with norm='none', 0.5 would have no "
            "effect\n  remove norm_momentum, or write norm: batch",
        ),
        (
            {"name": "reattention", "norm": "layer"},
            {"num_heads": 1},
            "arch.attention.norm: norm='layer' normalises over the heads, so with num_heads=1 only its bias would "
            "remain\n  choose norm: batch or norm: none, or more heads",
        ),
        (
            {"name": "refiner", "reduction": False, "expansion": 2, "identity": False},
            {},
            "arch.attention.identity: without reduction there is no identity to leave out, so identity=False would "
            "have no effect\n  leave identity out, or write reduction: true",
        ),
        (
            {"name": "refiner", "expansion": 1.8, "reduction": False},
            {},
            "arch.attention.expansion: without reduction, embed_dim % round(num_heads * expansion) == 0 must hold, "
            "but got embed_dim=40, num_heads=4, expansion=1.8: 40 % 7 = 5\n"
            "  near ones: 0.5 (2 maps), 1 (4 maps), 1.25 (5 maps), 2 (8 maps), 2.5 (10 maps)",
        ),
    ],
)
def test_sizes_that_a_mechanism_does_not_support_are_refused(attention, arch, message):
    assert refusal(attention, **{**TINY, **arch}) == message
