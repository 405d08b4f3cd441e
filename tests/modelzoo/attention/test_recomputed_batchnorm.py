"""Gradient checkpointing computes a block twice; BatchNorms inside attention have the statistics of one pass."""

from __future__ import annotations

import copy

import pytest
import torch
from timm.layers import set_reentrant_ckpt
from torch import nn

from modelzoo import attention_batchnorms, build_model
from modelzoo.attention.recomputed_batchnorm import BatchNorm2dOfOnePass
from search_space.schema.trial import ArchSpec

SIZES = {"model": "vit", "depth": 2, "embed_dim": 20, "num_heads": 2, "mlp_ratio": 1, "patch_size": 4}
ATTENTIONS = [
    {"name": "reattention"},
    {"name": "refiner"},
    {"name": "refiner", "residual_map": True},
    {"name": "groupmix"},
]


def build(attention):
    arch = ArchSpec.model_validate({**SIZES, "attention": attention}, strict=True)
    return build_model(arch, img_size=8, in_chans=1, num_classes=3, seed=0).train()


def images(seed):
    return torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def train(model, *, is_checkpointed, steps=2):
    model.set_grad_checkpointing(is_checkpointed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(steps):
        optimizer.zero_grad()
        model(images(step)).square().sum().backward()
        optimizer.step()
    return model


@pytest.mark.parametrize("attention", ATTENTIONS, ids=str)
def test_statistics_and_weights_are_those_of_a_training_without_checkpoints(attention):
    plain = train(build(attention), is_checkpointed=False)
    thrifty = train(build(attention), is_checkpointed=True)
    counts = [int(norm.num_batches_tracked) for norm in attention_batchnorms(thrifty)]
    assert counts == [2] * len(counts)
    assert counts
    for (key, want), got in zip(plain.state_dict().items(), thrifty.state_dict().values(), strict=True):
        assert torch.equal(got, want), key


def test_reentrant_checkpoints_as_well():
    plain = train(build({"name": "reattention"}), is_checkpointed=False)
    set_reentrant_ckpt(True)
    try:
        thrifty = train(build({"name": "reattention"}), is_checkpointed=True)
    finally:
        set_reentrant_ckpt(False)
    for want, got in zip(attention_batchnorms(plain), attention_batchnorms(thrifty), strict=True):
        assert int(got.num_batches_tracked) == 2
        assert torch.equal(got.running_var, want.running_var)


def test_equal_batches_count_each_time():
    """Two passes over the same images are two passes, with or without gradients between them."""
    model = build({"name": "reattention"})
    model.set_grad_checkpointing(True)
    with torch.no_grad():
        model(images(0))
    model(images(0))
    model(images(0)).sum().backward()
    assert [int(norm.num_batches_tracked) for norm in attention_batchnorms(model)] == [3, 3]


def test_parts_of_a_model_count_as_well():
    model = build({"name": "reattention"})
    model.forward_features(images(0)).sum().backward()
    model.blocks[1](torch.randn(2, 5, 20)).sum().backward()
    assert [int(norm.num_batches_tracked) for norm in attention_batchnorms(model)] == [1, 2]


def test_outside_of_a_backward_pass_it_is_a_batchnorm():
    torch.manual_seed(0)
    mine, theirs = BatchNorm2dOfOnePass(3, momentum=0.2), nn.BatchNorm2d(3, momentum=0.2)
    x = torch.randn(4, 3, 5, 5)
    for module in (mine, theirs):
        module.train()(x).sum().backward()
    assert torch.equal(mine(x), theirs(x))
    assert list(mine.state_dict()) == list(theirs.state_dict())
    assert all(
        torch.equal(*pair) for pair in zip(mine.state_dict().values(), theirs.state_dict().values(), strict=True)
    )
    assert torch.equal(copy.deepcopy(mine).eval()(x), theirs.eval()(x))
