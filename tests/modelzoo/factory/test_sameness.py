"""Two spellings of one model are one; anything that changes its function or its first weights is not."""

from __future__ import annotations

import pytest
import torch

from modelzoo import build_model
from modelzoo.factory.sameness import build_the_same
from search_space import ArchSpec

pytestmark = pytest.mark.thorough

TIMM = {"model": "vit_tiny_patch16_224", "img_size": 32}
OURS = {"model": "vit", "depth": 1, "embed_dim": 8, "num_heads": 2, "patch_size": 4, "img_size": 32}
SHAPE = {"img_size": (32, 32), "in_chans": 3, "num_classes": 4}


def same(base, **changes):
    one, other = (ArchSpec.model_validate(arch) for arch in (base, {**base, **changes}))
    return build_the_same(
        lambda seed: build_model(one, seed=seed, **SHAPE), lambda seed: build_model(other, seed=seed, **SHAPE)
    )


@pytest.mark.parametrize(
    ("base", "changes"),
    [
        (TIMM, {"options": {"qk_norm": False}}),
        (TIMM, {"options": {"reg_tokens": 0}}),
        (TIMM, {"options": {"pos_embed": "learn"}}),
        (TIMM, {"options": {"fc_norm": False}}),  # of a class token the default is no norm
        (TIMM, {"global_pool": "token"}),
        (TIMM, {"depth": 12, "num_heads": 3, "embed_dim": 192}),
        (OURS, {"drop_path_rate": 0.3}),  # the rate grows from 0 at the first block, which is the only one
        (OURS, {"qkv_bias": True}),
    ],
)
def test_values_that_change_nothing(base, changes):
    """Second opinion: the outputs of both in training, which draws the same noise, are bit-equal."""
    assert same(base, **changes)
    outputs = []
    for arch in ({**base}, {**base, **changes}):
        model = build_model(ArchSpec.model_validate(arch), seed=3, **SHAPE).train()
        torch.manual_seed(0)
        outputs.append(model(torch.ones(2, 3, 32, 32)))
    assert torch.equal(*outputs)


@pytest.mark.parametrize(
    ("base", "changes"),
    [
        (TIMM, {"options": {"qk_norm": True}}),
        (TIMM, {"options": {"no_embed_class": True}}),
        (TIMM, {"options": {"weight_init": "jax"}}),
        (TIMM, {"options": {"pos_drop_rate": 0.1}}),
        (TIMM, {"global_pool": "avg"}),
        (TIMM, {"drop_path_rate": 0.1}),
        (OURS, {"depth": 2}),
        (OURS, {"qkv_bias": False}),
        (OURS, {"attention": {"name": "reattention"}}),
        (OURS, {"options": {"act_layer": "relu"}}),  # of equal cost
    ],
)
def test_values_that_change_something(base, changes):
    assert not same(base, **changes)


def test_options_of_a_mechanism_that_only_initialise_are_a_difference():
    base = {**OURS, "attention": {"name": "reattention"}}
    assert not same(base, attention={"name": "reattention", "theta_init": "identity"})
    assert same(base, attention={"name": "reattention"})
