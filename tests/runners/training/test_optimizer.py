"""The optimiser of a training: which kernels it takes, that they compute the same, and states of other kernels.

A CPU has the kernels of both devices, so those of a GPU are tried here.
"""

from __future__ import annotations

import copy

import pytest
import torch
from timm.optim import create_optimizer_v2

from runners.training.optimization.optimizer import (
    create_optimizer,
    load_optimizer,
    optimizer_of_one_layer,
    optimizer_options,
)
from search_space.schema.trial import TrainSpec

GPU, CPU = torch.device("cuda"), torch.device("cpu")
SINGLE = {"numerics": "single"}


@pytest.mark.parametrize(
    ("train", "device", "is_fused"),
    [
        ({"opt": "adamw"}, GPU, True),
        ({"opt": "adam", "amp": "bfloat16"}, GPU, True),
        ({"opt": "momentum"}, GPU, True),
        ({"opt": "adamw", **SINGLE}, GPU, True),  # as in earlier versions
        ({"opt": "adamw", "amp": "float16"}, GPU, False),  # hooks that clip would see scaled gradients
        ({"opt": "adagrad"}, GPU, False),
        ({"opt": "lamb"}, GPU, False),
        ({"opt": "lookahead_adamw"}, GPU, False),
        *[({"opt": each}, CPU, True) for each in ("adamw", "adam", "sgd", "momentum", "adagrad")],
        *[({"opt": each}, CPU, False) for each in ("lamb", "nadamw", "rmsprop", "lookahead_adamw")],
        ({"opt": "adamw", **SINGLE}, CPU, False),
        ({"opt": "adamw"}, torch.device("mps"), False),  # where it was never measured
    ],
)
def test_optimisers_are_fused_where_pytorch_can(train, device, is_fused):
    made = create_optimizer(torch.nn.Linear(3, 2), TrainSpec(**train), device)
    assert {bool(group.get("fused")) for group in made.param_groups} == {is_fused}


def steps(model, optimizer, number):
    for index in range(number):
        optimizer.zero_grad()
        for offset, weight in enumerate(model.parameters()):
            weight.grad = torch.full_like(weight, 0.1 * (index + 1) + offset)
        optimizer.step()


@pytest.mark.parametrize(("first", "second"), [(CPU, GPU), (GPU, CPU)], ids=["to fused", "from fused"])
@pytest.mark.parametrize("opt", ["adamw", "momentum"])
def test_a_training_goes_on_with_the_kernels_that_it_has_now(opt, first, second):
    """Saved on another device, or by a version that had no fused kernels on a CPU. With another layout, too: fused
    kernels take weights and moments of one layout only."""

    def network(device):
        torch.manual_seed(0)
        made = torch.nn.Conv2d(3, 4, 3)
        return made.to(memory_format=torch.channels_last) if device == GPU else made

    train = TrainSpec(opt=opt, lr=0.01, **SINGLE)
    model, expected = network(first), network(first)
    before = create_optimizer(model, train, first)
    steps(model, before, 3)
    unbroken = create_optimizer(expected, train, first)
    steps(expected, unbroken, 3)
    resumed = network(second)
    resumed.load_state_dict(model.state_dict())
    after = create_optimizer(resumed, train, second)
    load_optimizer(after, copy.deepcopy(before.state_dict()))
    assert {bool(group["fused"]) for group in after.param_groups} == {second == GPU}
    assert all(
        value.stride() == weight.stride()
        for weight, held in after.state.items()
        for value in held.values()
        if isinstance(value, torch.Tensor) and value.ndim
    )
    steps(resumed, after, 2)
    steps(expected, unbroken, 2)
    for one, other in zip(resumed.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)


OPTIONS = [
    {"opt": "adamw"},
    {"opt": "adam", "opt_kwargs": {"amsgrad": True}},
    {"opt": "sgd", "momentum": 0.8},
    {"opt": "momentum", "opt_kwargs": {"maximize": True}},
    {"opt": "adagrad", "opt_eps": 1e-6},
]


@pytest.mark.parametrize("options", OPTIONS, ids=[each["opt"] for each in OPTIONS])
def test_fused_kernels_on_a_cpu_compute_what_the_loop_computes(options):
    """In double precision, with weight decay and a layer's own learning rates; weights channels last, too."""
    train = TrainSpec(lr=0.01, weight_decay=0.1, **options)
    models = []
    for numerics in ("auto", "single"):
        torch.manual_seed(0)
        made = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.GELU(), torch.nn.Conv2d(4, 2, 1)).double()
        made = made.to(memory_format=torch.channels_last)
        optimizer = create_optimizer(made, train.model_copy(update={"numerics": numerics}), CPU)
        for group in optimizer.param_groups:
            group["lr"] = 0.02
        images = torch.randn(2, 3, 5, 5).double()
        for _ in range(4):
            optimizer.zero_grad()
            made(images).square().sum().backward()
            torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
            optimizer.step()
        models.append(made)
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("opt", ["adamw", "sgd", "adagrad"])
def test_single_has_the_bits_of_timms_own_optimiser(opt):
    train = TrainSpec(opt=opt, lr=0.01, **SINGLE)
    found = []
    for make in (
        lambda model, train: create_optimizer(model, train, CPU),
        lambda model, train: create_optimizer_v2(model, **optimizer_options(train)),
    ):
        torch.manual_seed(0)
        model = torch.nn.Linear(5, 4)
        steps(model, make(model, train), 3)
        found.append(model.weight)
    assert torch.equal(*found)


def test_the_stand_in_of_a_plan_does_not_warn_of_layers_that_the_model_has(caplog):
    made = optimizer_of_one_layer(TrainSpec(opt="adamw", layer_decay=0.5, head_lr_scale=2))
    assert isinstance(made, torch.optim.AdamW)
    assert caplog.messages == []
