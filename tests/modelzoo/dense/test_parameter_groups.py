"""Layer-wise learning rates of a segmentation network are the classifier's, layer by layer."""

from __future__ import annotations

import pytest
import torch
from timm.models import group_parameters
from timm.optim import param_groups_layer_decay

from modelzoo import build_model
from modelzoo.dense import SegmenterOptions, build_segmenter
from search_space.schema.trial import ArchSpec

SHAPE = {"img_size": 224, "in_chans": 3, "num_classes": 5}
OPTIONS = SegmenterOptions(head_dim=8, aux_dim=8, pyramid_dim=8)
# cait's rules are a function; coat's have alternatives without anchors.
MODELS = {
    "vit_tiny_patch16_224": {"depth": 3},
    "swin_tiny_patch4_window7_224": {},
    "pvt_v2_b0": {},
    "coat_lite_tiny": {},
    "groupmixformer_mobile_224": {"options": {"depths": [1, 1, 1, 1]}},
    "regionvit_tiny_224": {},
    "cait_xxs24_224": {"depth": 3},
}


@pytest.mark.default_run("vit_tiny_patch16_224", "pvt_v2_b0", "groupmixformer_mobile_224", "regionvit_tiny_224")
@pytest.mark.thorough
@pytest.mark.parametrize("model", sorted(MODELS))
def test_layers_of_the_backbone_are_those_of_the_classifier(model):
    arch = ArchSpec.model_validate({"model": model, "img_size": 224, **MODELS[model]})
    with torch.device("meta"):
        classifier, segmenter = build_model(arch, **SHAPE), build_segmenter(arch, **SHAPE, options=OPTIONS, seed=0)
    want = group_parameters(classifier, classifier.group_matcher(coarse=False), reverse=True)
    seen = group_parameters(segmenter, segmenter.group_matcher(coarse=False), reverse=True)
    prefix = "backbone.model."
    layers = {name.removeprefix(prefix): layer for name, layer in seen.items() if name.startswith(prefix)}
    # Consecutive numbers of the layers that are left, in the classifier's order.
    left = sorted({want[name] for name in layers})
    assert layers == {name: left.index(want[name]) for name in layers}
    assert len(left) > 3
    heads = {layer for name, layer in seen.items() if not name.startswith(prefix)}
    assert heads == {len(left)}


def test_rates_fall_from_the_heads_to_the_stem():
    arch = ArchSpec(model="vit", depth=2, embed_dim=16, num_heads=2, patch_size=8)
    model = build_segmenter(arch, num_classes=5, img_size=32, in_chans=3, options=OPTIONS, seed=0)
    groups = param_groups_layer_decay(model, layer_decay=0.5, no_weight_decay_list=model.no_weight_decay())
    scales = {id(weight): group["lr_scale"] for group in groups for weight in group["params"]}
    blocks = model.backbone.model.blocks
    weights = [model.backbone.model.patch_embed.proj, *(block.mlp.fc1 for block in blocks), model.decode_head.conv_seg]
    assert [scales[id(module.weight)] for module in weights] == [0.125, 0.25, 0.5, 1.0]
    decayed = {id(weight): group["weight_decay"] for group in groups for weight in group["params"]}
    assert decayed[id(model.backbone.model.pos_embed)] == 0
