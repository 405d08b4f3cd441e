"""Levels of a backbone: which are taken by default, and what is refused, whole messages included."""

from __future__ import annotations

import pytest
import torch

from modelzoo import build_model
from modelzoo.dense import build_backbone
from modelzoo.dense.levels import default_levels
from search_space.parsing.errors import SpecError
from search_space.schema.trial import ArchSpec

VIT = {"depth": 3, "embed_dim": 16, "num_heads": 2, "patch_size": 8}


def build(model="vit", img_size=32, out_indices=None, seed=0, **fields):
    arch = ArchSpec.model_validate({"model": model, **(VIT if model == "vit" else {}), **fields})
    return build_backbone(arch, img_size=img_size, in_chans=1, out_indices=out_indices, seed=seed)


def message(**asked) -> str:
    with torch.device("meta"), pytest.raises(SpecError) as caught:
        build(**asked)
    (problem,) = caught.value.problems
    return f"{problem.path}: {problem.message}\n  {problem.hint}"


@pytest.mark.parametrize(
    ("reductions", "levels"),
    [
        ([16, 16, 16], (2,)),
        ([4, 8, 16, 32], (0, 1, 2, 3)),
        ([2, 4, 8, 16, 32], (1, 2, 3, 4)),
        ([8, 16, 16, 16], (0, 3)),
        ([16, 32, 64], (0, 1, 2)),
    ],
)
def test_default_is_the_last_map_of_every_reduction_from_4_on(reductions, levels):
    assert default_levels("any", reductions) == levels


def test_chosen_maps_are_those_of_the_model_and_later_blocks_are_left_out():
    model = build_model(
        ArchSpec.model_validate({"model": "vit", **VIT}), img_size=32, in_chans=1, num_classes=0, seed=0
    ).eval()
    backbone = build(out_indices=(0, -2)).eval()
    x = torch.randn(1, 1, 32, 32)
    want = model.forward_intermediates(x, output_fmt="NCHW", intermediates_only=True)
    maps = backbone(x)
    torch.testing.assert_close(maps, want[:2])
    assert (backbone.channels, backbone.reductions, len(backbone.model.blocks)) == ((16, 16), (8, 8), 2)


def test_equal_seeds_give_equal_weights_and_leave_torchs_generator_as_it_was():
    before = torch.get_rng_state()
    states = [build(seed=seed).state_dict() for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert any(not torch.equal(value, states[2][key]) for key, value in states[0].items())


def test_parameters_without_weight_decay_are_those_of_the_model():
    backbone = build()
    names = dict(backbone.named_parameters())
    assert backbone.no_weight_decay() & set(names) == {"model.pos_embed", "model.cls_token"}


PYRAMIDS = (
    "use a pyramid (swin_*, pvt_v2_*, groupmixformer_*, focal_*, regionvit_*, lg_transformer_*, coat_*) or a model "
    "whose maps all have one size (vit, vit_*, deepvit_*, refined_vit_*)"
)


@pytest.mark.parametrize(
    ("asked", "want"),
    [
        (
            {"model": "crossvit_tiny_240", "img_size": 240},
            "arch.model: the feature maps of 'crossvit_tiny_240' are no pyramid: their sides are those of the image "
            f"divided by [12, 17], but must be divided by consecutive powers of two\n  {PYRAMIDS}",
        ),
        (
            {"model": "pit_ti_224", "img_size": 224},
            "arch.model: the feature maps of 'pit_ti_224' are no pyramid: of a 224x224 image, map 0 has the shape "
            "(64, 27, 27) instead of (64, 28, 28)\n  a pyramid halves its maps exactly; use another model, for example "
            "swin_* or pvt_v2_*",
        ),
        (
            {"out_indices": (1, 3)},
            ": out_indices of 'vit' must be ascending indices of its 3 feature maps, but got [1, 3]\n  "
            "legal: 0 to 2, or negative ones from the end; reductions: [8, 8, 8]",
        ),
        (
            {"model": "pvt_v2_b0", "out_indices": (0, 2)},
            "arch.model: the feature maps of 'pvt_v2_b0' are no pyramid: their sides are those of the image "
            f"divided by [4, 16], but must be divided by consecutive powers of two\n  {PYRAMIDS}",
        ),
    ],
    ids=["crossvit", "pit", "no such map", "a gap"],
)
def test_what_is_no_pyramid_is_refused(asked, want):
    assert message(**asked) == want


def test_another_size_than_the_tasks_is_refused():
    arch = ArchSpec.model_validate({"model": "vit", **VIT, "img_size": 32})
    with pytest.raises(SpecError) as caught:
        build_backbone(arch, img_size=(32, 40), in_chans=1)
    assert str(caught.value) == (
        "arch.img_size: arch.img_size is 32x32, but the images of the task are 32x40\n"
        "  remove arch.img_size: a backbone is built for the size of its task"
    )


def test_descending_indices_are_refused():
    assert "must be ascending indices" in message(out_indices=(1, 0))


@pytest.mark.parametrize(
    ("asked", "option"),
    [({}, {"dynamic_img_size": False}), ({"model": "swin_tiny_patch4_window7_224"}, {"strict_img_size": True})],
    ids=["vit", "swin"],
)
def test_a_written_size_option_is_respected(asked, option):
    """A sweep that asks for one size gets it; without the option the same model takes other sizes."""
    with torch.device("meta"):
        assert build(**asked).multiple_of is not None
        fixed = build(**asked, options=option)
    assert fixed.multiple_of is None
    with pytest.raises(SpecError, match="legal: only 32x32"):
        fixed(torch.zeros(1, 1, 40, 40))
