"""Networks: passes by size, independent streams, heads, and refused architectures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.models import group_parameters

from modelzoo.self_supervised import build_self_supervised
from search_space.parsing.errors import SpecError
from search_space.schema.trial import ArchSpec

VIT = {"model": "vit", "depth": 1, "embed_dim": 16, "num_heads": 2, "patch_size": 8}
PVT = {"model": "pvt_v2_b0", "options": {"depths": [1, 1, 1, 1], "embed_dims": [8, 16, 40, 16]}}
SMALL = {"prototypes": 6, "hidden_dim": 8, "bottleneck_dim": 5}


def build(arch=VIT, **options: Any):
    chosen = {"img_size": 32, "local_size": 16, "in_chans": 3, "seed": 0, **SMALL, **options}
    return build_self_supervised(ArchSpec.model_validate(arch), **chosen)


def views(*sides, num_images=2):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(num_images, 3, side, side, generator=generator) for side in sides]


@pytest.mark.parametrize(
    ("sides", "batches"), [((32, 32, 16, 16, 16), [4, 6]), ((32, 32), [4]), ((32, 16, 32), [2, 2, 2])]
)
def test_neighbouring_views_of_one_size_are_one_batch(sides, batches):
    """And the order of views is kept, whatever their sizes."""
    network, seen = build().eval(), []
    network.backbone.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    output = network(views(*sides))
    assert seen == batches
    assert output.logits.shape == (2 * len(sides), 6)
    assert output[1:] == (None, None, None)


def test_head_sees_all_views_at_once():
    """Its batch norms take statistics over the rows of every size, as released."""
    network, seen = build(batch_norm=True), []
    network.head.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    network(views(32, 32, 16))
    assert seen == [6]


def test_backbone_and_heads_draw_from_streams_of_their_own():
    """A head is the same on every backbone of equal width, a backbone the same under every head."""
    one, other = build(regions=True), build(PVT, local_size=32, prototypes=6)
    wide = build(prototypes=9)
    for name, weight in one.head.state_dict().items():
        assert torch.equal(weight, other.head.state_dict()[name])
    for name, weight in one.backbone.state_dict().items():
        assert torch.equal(weight, wide.backbone.state_dict()[name])


def test_global_generator_is_left_as_it_was():
    state = torch.random.get_rng_state()
    build(regions=True)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_last_layers_are_those_of_both_heads():
    network = build(regions=True, norm_last_layer=False)
    names = {
        name for name, weight in network.named_parameters() if any(weight is each for each in network.last_layers())
    }
    heads = ("head", "region_head")
    assert names == {f"{head}.last_layer.weight_{part}" for head in heads for part in "gv"}


def test_checkpointed_blocks_give_the_same_gradients():
    """At both sizes, one of which interpolates positions."""
    grads = []
    for is_checkpointed in (False, True):
        network = build()
        network.set_grad_checkpointing(is_checkpointed)
        runs = []
        network.backbone.model.blocks[0].register_forward_pre_hook(lambda *_, runs=runs: runs.append(1))
        network(views(32, 16)).logits.square().sum().backward()
        assert len(runs) == (4 if is_checkpointed else 2)
        grads.append([weight.grad for weight in network.parameters()])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)


def test_parameter_groups_by_depth_are_those_of_the_model():
    """The heads belong to no depth, so that timm counts them to the last group."""
    network = build()
    groups = group_parameters(network, network.group_matcher(), reverse=True)
    assert groups["backbone.model.pos_embed"] == groups["backbone.model.patch_embed.proj.weight"] == 0
    assert groups["backbone.model.blocks.0.mlp.fc1.weight"] == 1
    assert groups["head.mlp.0.weight"] == groups["head.last_layer.weight_v"] == max(groups.values()) == 2


@pytest.mark.default_run("pit_ti_224-224")
@pytest.mark.parametrize(("model", "side"), [("crossvit_9_240", 240), ("pit_ti_224", 224)])
def test_models_without_regions_are_refused_only_with_a_region_head(model, side):
    """One has two sets of tokens, the other returns nothing but its class token."""
    arch, sizes = {"model": model}, {"img_size": side, "local_size": side}
    with torch.device("meta"):
        assert build(arch, **sizes).region_head is None
        with pytest.raises(SpecError) as caught:
            build(arch, **sizes, regions=True)
    assert str(caught.value) == (
        f"arch.model: {model!r} gives no features of regions, which the region loss compares\n"
        "  use another model, for example vit, swin_* or one of the zoo's, or leave out the region loss"
    )


def test_models_that_do_not_compute_at_the_size_of_the_views_are_refused():
    with pytest.raises(SpecError, match=r"arch\.model: 'crossvit_9_240' gives no feature of an image: RuntimeError: "):
        build({"model": "crossvit_9_240"}, img_size=64, local_size=None)


def test_size_of_the_architecture_must_be_that_of_the_views():
    with pytest.raises(SpecError, match=r"arch\.img_size is 64x64, but the images of the task are 32x32"):
        build({**VIT, "img_size": 64})


def test_local_views_must_consist_of_patches():
    with pytest.raises(SpecError, match=r"does not take local views of 12x12: .*divisible by patch size"):
        build(local_size=12)


@pytest.mark.parametrize("arch", [VIT, {**VIT, "class_token": False, "global_pool": "avg"}], ids=["token", "mean"])
def test_training_in_bfloat16_gives_finite_gradients(arch):
    network = build(arch, regions=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(views(32, 32, 16))
    (output.logits.float().square().sum() + output.region_logits.float().square().sum()).backward()
    assert all(weight.grad.isfinite().all() for weight in network.parameters())
