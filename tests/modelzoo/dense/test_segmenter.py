"""Segmentation networks: output at the size of the images, independent random streams, training of every part."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from modelzoo import attention_batchnorms
from modelzoo.dense import SegmenterOptions, build_backbone, build_segmenter, segmentation_loss
from search_space.parsing.errors import SpecError
from search_space.schema.trial import ArchSpec

VIT = {"model": "vit", "depth": 1, "embed_dim": 16, "num_heads": 2, "patch_size": 8}
PVT = {"model": "pvt_v2_b0", "options": {"depths": [1, 1, 1, 1], "embed_dims": [8, 16, 40, 64]}}
SMALL = {"head_dim": 8, "pyramid_dim": 12, "aux_dim": 6}
HEADS = ("upernet", "semantic_fpn")


def build(arch, seed=0, img_size=(32, 48), num_classes=5, **options: Any):
    return build_segmenter(
        ArchSpec.model_validate(arch),
        num_classes=num_classes,
        img_size=img_size,
        in_chans=3,
        options=SegmenterOptions(**{**SMALL, **options}),
        seed=seed,
    )


def images(num=2, size=(32, 48)):
    return torch.randn(num, 3, *size, generator=torch.Generator().manual_seed(0))


def differing(one: torch.nn.Module, two: torch.nn.Module) -> list[str]:
    other = two.state_dict()
    return [key for key, value in one.state_dict().items() if not torch.equal(value, other[key])]


@pytest.mark.parametrize("arch", [VIT, PVT], ids=["vit", "pvt"])
@pytest.mark.parametrize("head", HEADS)
def test_logits_have_the_size_of_the_images(arch, head):
    """Of any that the backbone takes; auxiliary logits in training only."""
    model = build(arch, head=head)
    output = model(images())
    assert output.logits.shape == output.auxiliary.shape == (2, 5, 32, 48)
    evaluated = model.eval()(images(1, (40, 56)))
    assert (evaluated.logits.shape, evaluated.auxiliary) == ((1, 5, 40, 56), None)
    assert build(arch, head=head, aux_weight=0)(images()).auxiliary is None


@pytest.mark.parametrize("arch", [VIT, PVT], ids=["vit", "pvt"])
@pytest.mark.parametrize("head", HEADS)
def test_gradient_reaches_every_parameter(arch, head):
    model = build(arch, head=head)
    labels = torch.randint(0, 5, (2, 32, 48), generator=torch.Generator().manual_seed(0))
    segmentation_loss(model(images()), labels, aux_weight=model.layout.aux_weight).backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []
    assert all(weight.grad.isfinite().all() for weight in model.parameters())


def test_backbone_does_not_depend_on_the_head():
    plain = build_backbone(ArchSpec.model_validate(PVT), img_size=(32, 48), in_chans=3, seed=0)
    for options in ({}, {"head": "semantic_fpn"}, {"aux_weight": 0}, {"head_dim": 4}):
        assert differing(build(PVT, **options).backbone, plain) == []
    assert differing(build(PVT, num_classes=7).backbone, plain) == []


def test_heads_depend_neither_on_the_mechanism_nor_on_each_other():
    """Variants of an ablation share all weights but those of their mechanism."""
    host, swapped = build(VIT), build({**VIT, "attention": "reattention"})
    assert attention_batchnorms(swapped)
    for part in ("neck", "decode_head", "auxiliary_head"):
        assert differing(getattr(host, part), getattr(swapped, part)) == []
    assert differing(host.decode_head, build(VIT, aux_weight=0).decode_head) == []


def test_equal_seeds_give_equal_networks_and_leave_torchs_generator_as_it_was():
    before = torch.get_rng_state()
    one, two, other = build(VIT), build(VIT), build(VIT, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert differing(one, two) == []
    assert {key.partition(".")[0] for key in differing(one, other)} == {
        *("backbone", "neck", "decode_head", "auxiliary_head"),
    }


def test_without_a_seed_torchs_own_decides():
    torch.manual_seed(3)
    one = build(VIT, seed=None)
    torch.manual_seed(3)
    assert differing(one, build(VIT, seed=None)) == []
    torch.manual_seed(4)
    assert "decode_head.conv_seg.weight" in differing(one, build(VIT, seed=None))


@pytest.mark.parametrize(("head", "size"), [("upernet", 64), ("semantic_fpn", 32)])
def test_a_batch_of_one_is_refused_where_a_map_has_one_pixel(head, size):
    """UperNet averages to one pixel; a 32x32 image has one at the coarsest level."""
    model = build(PVT, head=head, img_size=size)
    with pytest.raises(SpecError) as caught:
        model(images(1, (size, size)))
    assert str(caught.value) == (
        "train.batch_size: the head cannot train on a batch of one image whose map is 1x1, as UperNet's average of the "
        "coarsest map: a BatchNorm needs more than one value per channel\n"
        "  use at least 2 images per process and drop a last batch of one; for larger maps use larger images, and\n"
        "    pool_scales without 1"
    )
    assert model.eval()(images(1, (size, size))).logits.shape == (1, 5, size, size)


def test_a_batch_of_one_trains_where_every_map_is_larger():
    model = build(PVT, pool_scales=(2, 3), img_size=64)
    assert model(images(1, (64, 64))).logits.shape == (1, 5, 64, 64)


@pytest.mark.slow
@pytest.mark.parametrize("arch", [VIT, PVT], ids=["vit", "pvt"])
def test_compiles_as_one_graph(arch):
    torch.compiler.reset()
    model = build(arch, head_dropout=0.0)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    for mine, theirs in zip(compiled(images()), model(images()), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("head", HEADS)
def test_dropout_before_the_classifiers_acts_in_training_only(head):
    model = build(VIT, head=head, head_dropout=0.5)
    one, two = model(images()), model(images())
    assert not torch.equal(one.logits, two.logits)
    assert not torch.equal(one.auxiliary, two.auxiliary)
    assert torch.equal(model.eval()(images()).logits, model(images()).logits)
    model = build(VIT, head=head, head_dropout=0.0)
    assert torch.equal(model(images()).logits, model(images()).logits)


def test_weight_decay_spares_what_the_backbone_names():
    model = build(VIT)
    names = set(dict(model.named_parameters()))
    assert model.no_weight_decay() & names == {"backbone.model.pos_embed", "backbone.model.cls_token"}


def test_recomputed_blocks_change_no_gradient():
    gradients = []
    for enable in (False, True):
        model = build(VIT, head_dropout=0.0)
        model.set_grad_checkpointing(enable)
        model(images()).logits.square().sum().backward()
        gradients.append([weight.grad for weight in model.backbone.parameters()])
    torch.testing.assert_close(gradients[1], gradients[0])


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "head"), [(VIT, "upernet"), (PVT, "semantic_fpn")], ids=["vit", "pvt"])
def test_learns_what_two_images_show(arch, head):
    """Bright squares on dark ground: after some steps nearly every pixel is right, which a constant is not."""
    model = build(arch, head=head, num_classes=2, head_dropout=0.0)
    labels = torch.zeros(2, 32, 48, dtype=torch.int64)
    labels[0, 4:20, 8:24] = labels[1, 16:28, 20:44] = 1
    x = labels[:, None].float().expand(-1, 3, -1, -1) + 0.1 * images()
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-2)
    for _ in range(80):
        optimiser.zero_grad()
        segmentation_loss(model(x), labels, aux_weight=0.4).backward()
        optimiser.step()
    right = (model(x).logits.argmax(1) == labels).float().mean().item()
    assert right > 0.9 > (labels == 0).float().mean().item()
