"""What is not known to be stacked exactly stays single, with a reason for people."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modelzoo import build_model
from modelzoo.stacked import reason_not_stackable
from search_space.schema.trial import ArchSpec

from .conftest import MECHANISMS, build_small


def _reason(model, batch_size=32, num_threads=1):
    return reason_not_stackable(model, batch_size=batch_size, num_threads=num_threads)


@pytest.fixture
def model():
    return build_small(MECHANISMS["softmax"], 0)


def test_a_vit_is_stacked(model):
    assert _reason(model) is None


def test_batches_and_threads_decide_too(model):
    assert _reason(model, batch_size=20) == "batch_size=20 is no multiple of 16"
    assert _reason(model, num_threads=2) == "a training has 2 threads, and only trainings of one thread are stacked"


def test_other_models_are_not():
    with torch.device("meta"):
        other = build_model(ArchSpec(model="resnet18"), img_size=32, in_chans=3, num_classes=2)
    assert _reason(other) == "it is a ResNet, and only `model: vit` is stacked"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"dynamic_img_size": True}, "it takes images of any size (dynamic_img_size)"),
        ({"norm_layer": "batchnorm1d"}, "it has a layer that is not stacked: BatchNorm1d (blocks.0.norm1)"),
        ({"act_layer": "prelu"}, "it has a layer that is not stacked: PReLU (blocks.0.mlp.act)"),
        ({"drop_rate": 1.0}, "it drops everything (a dropout rate of 1) (head_drop)"),
    ],
)
def test_options_that_are_not_stacked(options, reason):
    assert _reason(build_small({"attention": "softmax", "options": options}, 0)) == reason


def test_a_layer_of_a_subclass_is_another_layer(model):
    class Linear(nn.Linear):
        pass

    model.head = Linear(40, 10)
    assert _reason(model) == "it has a layer that is not stacked: Linear (head)"


def test_what_is_attached_to_a_layer_is_seen(model):
    handle = model.blocks[0].register_forward_hook(lambda *_: None)
    assert _reason(model) == "something is attached to its layer Block (blocks.0)"
    handle.remove()
    assert _reason(model) is None
    model.head.forward = lambda x: x
    assert _reason(model) == "something is attached to its layer Linear (head)"


def test_shared_weights_and_checkpointing_are_seen(model):
    model.set_grad_checkpointing()
    assert _reason(model) == "it computes blocks twice to save memory (gradient checkpointing)"
    model.set_grad_checkpointing(False)
    model.blocks[1].norm1 = model.blocks[0].norm1
    assert "in several places (blocks.0.norm1.weight" in str(_reason(model))


def test_half_precision_is_not_stacked(model):
    assert _reason(model.bfloat16()) == "its weights are torch.bfloat16, and only those in float32 are stacked"
