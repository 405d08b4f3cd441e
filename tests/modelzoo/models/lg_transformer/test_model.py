"""LG-Transformer (our interpretation): one path equals timm's Swin, sizes fit the paper's, timm interface."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.models.swin_transformer import SwinTransformer
from timm.optim import param_groups_layer_decay

from modelzoo import measure_cost
from modelzoo.models.lg_transformer.model import LGTransformer
from search_space.parsing.errors import SpecError
from search_space.schema.trial import ArchSpec

SWIN = ((1,), (1,), (1,), (1,))
TINY = {
    "img_size": 64,
    "num_classes": 3,
    "embed_dim": 8,
    "depths": (2, 2, 2, 1),
    "num_heads": (1, 2, 2, 4),
    "window_size": 2,
    "mlp_ratio": 2.0,
}


def tiny(**options):
    torch.manual_seed(0)
    return timm.create_model("lg_transformer_tiny_224", **{**TINY, **options}).eval()


# Inferred: parameters in 10^6 and 10^9 multiply-accumulates (of LG-T as another paper tabulates them).
@pytest.mark.default_run("lg_transformer_tiny_224-32.6-4.78")
@pytest.mark.thorough
@pytest.mark.xdist_group("released sizes")
@pytest.mark.parametrize(
    ("name", "params_m", "gmacs"),
    [("lg_transformer_tiny_224", 32.60, 4.78), ("lg_transformer_small_224", 61.04, 9.40)],
)
def test_named_model_has_the_inferred_size(name, params_m, gmacs):
    cost = measure_cost(ArchSpec(model=name), img_size=224, in_chans=3, num_classes=1000)
    assert (round(cost.params_m, 2), round(cost.gmacs, 2)) == (params_m, gmacs)


def test_a_further_path_costs_one_attention():
    """Size of Swin-T plus, per further path and block, 4 d^2 + 4 d weights and a table of 169 entries per head."""
    with torch.device("meta"):
        swin = timm.create_model("swin_tiny_patch4_window7_224")
        model = timm.create_model("lg_transformer_tiny_224")
    further = [(2, 2, 96, 3), (2, 2, 192, 6), (1, 6, 384, 12)]
    want = sum(paths * blocks * (4 * d * d + 4 * d + 169 * heads) for paths, blocks, d, heads in further)
    assert sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in swin.parameters()) == want


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, (64, 64)),
        ({"img_size": (64, 96), "window_size": (4, 3)}, (64, 96)),
        ({"img_size": 72, "window_size": 4}, (72, 72)),
        ({"strict_img_size": False, "window_size": 4}, (80, 64)),
        ({"always_partition": True, "window_size": 4}, (64, 64)),
    ],
)
def test_one_path_is_swin_bit_for_bit(options, size):
    arguments = {**TINY, **options}
    swin, model = SwinTransformer(**arguments).eval(), LGTransformer(paths=SWIN, **arguments).eval()
    for parameter in swin.parameters():
        parameter.data.normal_(std=0.5)
    model.load_state_dict(swin.state_dict())
    image = torch.randn(2, 3, *size)
    assert torch.equal(model(image), swin(image))


def test_one_path_without_shift_is_swin_with_unshifted_blocks():
    swin, model = SwinTransformer(**TINY).eval(), LGTransformer(paths=SWIN, shift_paths="none", **TINY).eval()
    for parameter in swin.parameters():
        parameter.data.normal_(std=0.5)
    model.load_state_dict(swin.state_dict())
    image = torch.randn(2, 3, 64, 64)
    assert not torch.equal(model(image), swin(image))
    for stage in swin.layers:
        for block in stage.blocks:
            block.shift_size, block.attn_mask = (0, 0), None
    assert torch.equal(model(image), swin(image))


def test_gradient_reaches_all_parameters():
    model = tiny().train()
    model(torch.randn(2, 3, 64, 64)).square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_a_global_path_lets_one_pixel_reach_every_token():
    """16 x 16 tokens in windows of 2: the path of reduction 8 is a single window; Swin's first block has 64."""
    reached = {}
    for name, paths in {"global": ((1, 8), (1,), (1,), (1,)), "local": SWIN}.items():
        # In float32 the little that reaches a far token may be rounded away.
        model = tiny(paths=paths, depths=(1, 1, 1, 1)).double()
        image = torch.randn(1, 3, 64, 64, dtype=torch.float64)
        changed = image.clone()
        changed[..., 0, 0] += 1
        first = [model.forward_intermediates(x, indices=[0], intermediates_only=True)[0] for x in (image, changed)]
        reached[name] = ((first[0] - first[1]).abs().amax(1) > 0).sum().item()
    assert reached == {"global": 256, "local": 4}


def test_features_only_gives_the_stages():
    model = tiny(features_only=True, out_indices=(0, 2))
    assert [tuple(x.shape) for x in model(torch.randn(2, 3, 64, 64))] == [(2, 8, 16, 16), (2, 32, 4, 4)]
    assert (model.feature_info.channels(), model.feature_info.reduction()) == ([8, 32], [4, 16])


def test_intermediates_are_those_of_the_forward_pass():
    model, image = tiny(), torch.randn(2, 3, 64, 64)
    features, maps = model.forward_intermediates(image)
    assert torch.equal(model.forward_head(features), model(image))
    assert [x.shape[-1] for x in maps] == [16, 8, 4, 2]


def test_head_can_be_replaced():
    model, image = tiny(), torch.randn(2, 3, 64, 64)
    model.reset_classifier(7)
    assert model(image).shape == (2, 7)
    model.reset_classifier(0)
    assert model(image).shape == (2, 64)


@pytest.mark.parametrize(
    "options",
    [{"in_chans": 1}, {"img_size": (68, 40)}, {"drop_path_rate": 0.5}, {"upsample": "nearest"}, {"fusion": "concat"}],
)
def test_usual_arguments_work(options):
    model = tiny(**options)
    size = options.get("img_size", (64, 64))
    assert model(torch.randn(2, options.get("in_chans", 3), *size)).shape == (2, 3)


def test_input_size_can_change_after_building():
    model = tiny()
    model.set_input_size((96, 128))
    assert model(torch.randn(1, 3, 96, 128)).shape == (1, 3)


def test_input_size_set_again_changes_nothing():
    model, image = tiny(), torch.randn(1, 3, 64, 64)
    before = model(image)
    model.set_input_size((96, 96), window_size=2)
    model.set_input_size((64, 64), window_size=2)
    assert torch.equal(model(image), before)


def test_checkpointing_changes_no_gradient():
    gradients = []
    for is_checkpointed in (False, True):
        model = tiny().train()
        model.set_grad_checkpointing(is_checkpointed)
        torch.manual_seed(1)
        model(torch.randn(2, 3, 64, 64)).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.slow
def test_compiles_without_graph_breaks():
    model, image = tiny(), torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(torch.compile(model, backend="eager", fullgraph=True)(image), model(image))


def test_position_tables_are_not_decayed_and_all_parameters_have_a_layer():
    model = tiny()
    tables = {name for name, _ in model.named_parameters() if name.endswith("relative_position_bias_table")}
    assert model.no_weight_decay() == tables
    assert any("coarse_attn" in name for name in tables)
    grouped = [p for group in param_groups_layer_decay(model, layer_decay=0.5) for p in group["params"]]
    assert len(grouped) == len(list(model.parameters()))


def test_all_problems_of_the_paths_are_reported_at_once():
    with pytest.raises(SpecError) as caught:
        LGTransformer(paths=((1, 4, 4), (), (1,)), fusion="add")
    assert str(caught.value) == (
        "LGTransformer: unknown fusion 'add'\n"
        "  known: concat, sum.\n"
        "LGTransformer: paths needs one entry per stage, 4 as in depths, but got 3\n"
        "LGTransformer: the paths of stage 0 must be distinct reductions of at least 1, but got (1, 4, 4)\n"
        "  for example (1, 4, 8): full resolution, a quarter, an eighth\n"
        "LGTransformer: the paths of stage 1 must be distinct reductions of at least 1, but got ()\n"
        "  for example (1, 4, 8): full resolution, a quarter, an eighth"
    )
