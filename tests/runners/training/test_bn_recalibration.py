"""Recalibration of BatchNorm statistics: effect in short trainings, averages, no side effects."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from modelzoo import attention_batchnorms, build_model
from runners.training.bn_recalibration import recalibrate
from search_space.schema.trial import ArchSpec

ARCH = ArchSpec(depth=4, embed_dim=32, num_heads=2, patch_size=2, attention="reattention")


@pytest.fixture
def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    stream = torch.Generator().manual_seed(0)
    return [
        (torch.randn(32, 1, 8, 8, generator=stream), torch.randint(0, 4, (32,), generator=stream)) for _ in range(4)
    ]


@pytest.fixture
def model(batches) -> nn.Module:
    """Re-attention ViT after eight updates."""
    torch.manual_seed(0)
    model = build_model(ARCH, img_size=8, in_chans=1, num_classes=4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for images, labels in batches * 2:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model


@torch.no_grad()
def _distance_to_training(model: nn.Module, images: torch.Tensor) -> float:
    """Relative distance of the output in evaluation mode from that with batch statistics."""
    trained = model.train()(images)
    evaluated = model.eval()(images)
    return ((trained - evaluated).norm() / trained.norm()).item()


def _recalibrated(model, batches, number=4):
    recalibrate(model, attention_batchnorms(model), batches, num_batches=number)


def test_evaluation_is_far_from_training_without_and_near_with_recalibration(model, batches):
    # Measured on a copy: a forward pass in training mode changes the running statistics.
    images = batches[0][0]
    assert _distance_to_training(copy.deepcopy(model), images) > 0.5
    _recalibrated(model, batches)
    assert _distance_to_training(model, images) < 0.01


def test_statistics_are_the_average_over_the_batches(model, batches):
    """Compared with statistics computed from the inputs of the BatchNorms, recorded by hooks."""
    _recalibrated(model, batches)
    norms = attention_batchnorms(model)
    assert len(norms) == 4
    caught: list[list[torch.Tensor]] = [[] for _ in norms]
    hooks = [
        norm.register_forward_pre_hook(lambda _, args, into=into: into.append(args[0].detach().double()))
        for norm, into in zip(norms, caught, strict=True)
    ]
    model.eval()
    for norm in norms:
        norm.train()  # the maps of a later block depend on the normalised maps of an earlier block
        norm.momentum = 0.0
    with torch.no_grad():
        for images, _ in batches:
            model(images)
    for hook in hooks:
        hook.remove()
    for norm, maps in zip(norms, caught, strict=True):
        mean = torch.stack([x.mean((0, 2, 3)) for x in maps]).mean(0)
        variance = torch.stack([x.var((0, 2, 3), correction=1) for x in maps]).mean(0)
        torch.testing.assert_close(norm.running_mean.double(), mean, rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(norm.running_var.double(), variance, rtol=1e-3, atol=0)


def test_only_the_given_batches_count(model, batches):
    _recalibrated(model, batches, number=2)
    two = [norm.running_var.clone() for norm in attention_batchnorms(model)]
    _recalibrated(model, batches[:2], number=16)  # fewer batches than requested
    again = [norm.running_var.clone() for norm in attention_batchnorms(model)]
    _recalibrated(model, batches, number=4)
    four = [norm.running_var.clone() for norm in attention_batchnorms(model)]
    assert all(torch.equal(a, b) for a, b in zip(two, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(two, four, strict=True))


def test_everything_else_is_as_before(model, batches):
    model.train()
    model.blocks[0].eval()
    norms = attention_batchnorms(model)
    norms[0].momentum = 0.25
    names = {id(norm): name for name, norm in model.named_modules()}
    changing = tuple(names[id(norm)] for norm in norms)
    before = {name: value.clone() for name, value in model.state_dict().items() if not name.startswith(changing)}
    modes = [module.training for module in model.modules()]
    _recalibrated(model, batches)
    assert [module.training for module in model.modules()] == modes
    assert [norm.momentum for norm in norms] == [0.25, 0.1, 0.1, 0.1]
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    assert all(parameter.grad is None or parameter.requires_grad for parameter in model.parameters())


def test_zero_batches_switch_it_off(model, batches):
    before = [norm.running_var.clone() for norm in attention_batchnorms(model)]
    _recalibrated(model, batches, number=0)
    after = [norm.running_var for norm in attention_batchnorms(model)]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_model_without_such_batchnorms_is_not_even_run(batches):
    model = nn.Linear(1, 1)  # would fail on images
    recalibrate(model, [], batches, num_batches=4)
