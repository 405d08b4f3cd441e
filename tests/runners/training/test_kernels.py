"""Kernels of a GPU, tried on a CPU, which has all of them: where they are used, and that they compute the same."""

from __future__ import annotations

import copy

import pytest
import torch

from runners.data import describe_dataset
from runners.tasks import TASKS
from runners.training.gpu.kernels import convolution_share, create_optimizer, in_fast_layout, load_optimizer
from search_space.schema.resources import Resources
from search_space.schema.trial import Setting, TrainSpec

GPU, CPU = torch.device("cuda"), torch.device("cpu")
VIT = {"model": "vit", "depth": 2, "embed_dim": 20, "num_heads": 2, "patch_size": 4, "mlp_ratio": 2.0}
SCENES = {"name": "builtin/scenes", "num_train": 4, "num_test": 4, "img_size": 32}
SEGMENTATION = {"arch": {"model": "pvt_v2_b0"}, "task": {"name": "segmentation", "dataset": SCENES}}
RESNET = {"arch": {"model": "resnet10t"}, "task": {"name": "classification", "dataset": "builtin/digits"}}


def setting_of(content, **train):
    return Setting.model_validate({**content, "train": {"epochs": 1, "batch_size": 4, **train}})


def info_of(setting):
    return describe_dataset(setting.task, Resources())


def test_the_share_of_convolutions_by_hand():
    """The patch embedding is the only convolution of a ViT. Digits of 8x8 are 4 patches, 5 tokens with the class."""
    setting = setting_of({"arch": VIT, "task": {"name": "classification", "dataset": "builtin/digits"}})
    tokens, dim, patches = 5, 20, 4
    embedding = patches * dim * 16
    block = tokens * dim * (3 * dim + dim + 2 * 2 * dim) + 2 * tokens * tokens * dim
    expected = embedding / (embedding + 2 * block + 10 * dim)
    assert convolution_share(setting, info_of(setting)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("content", "device", "amp", "is_changed"),
    [
        (SEGMENTATION, GPU, "auto", True),
        (SEGMENTATION, GPU, "off", False),  # no tensor cores that would want it
        (SEGMENTATION, CPU, "auto", False),
        (RESNET, GPU, "auto", True),
        ({"arch": VIT, "task": {"name": "classification", "dataset": "builtin/shapes"}}, GPU, "auto", False),
    ],
)
def test_channels_last_where_convolutions_dominate(content, device, amp, is_changed):
    setting = setting_of(content, amp=amp)
    model = TASKS[setting.task.name].build(setting, info_of(setting), seed=0)
    in_fast_layout(model, setting, info_of(setting), device)
    kernels = [weight for weight in model.parameters() if weight.ndim == 4 and min(weight.shape[1:]) > 1]
    assert kernels
    assert all(weight.is_contiguous() != is_changed for weight in kernels)


@pytest.mark.parametrize(
    "content", [pytest.param(SEGMENTATION, marks=pytest.mark.slow), RESNET], ids=["segmentation", "resnet"]
)
def test_the_layout_changes_neither_values_nor_gradients(content):
    """In double precision, so that the order of sums does not hide an error."""
    setting = setting_of(content)
    info = info_of(setting)
    kind = TASKS[setting.task.name]
    plain = kind.build(setting, info, seed=0).double().eval()
    changed = in_fast_layout(copy.deepcopy(plain), setting, info, GPU)
    images = torch.randn(2, info.in_chans, *kind.input_size(setting, info), generator=torch.Generator().manual_seed(0))
    found = []
    for model in (plain, changed):
        output = model(images.double())
        logits = output if isinstance(output, torch.Tensor) else output.logits
        logits.square().sum().backward()
        found.append(logits)
    torch.testing.assert_close(*found, atol=1e-9, rtol=1e-9)
    for (name, one), other in zip(plain.named_parameters(), changed.parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(other.grad, one.grad, atol=1e-8, rtol=1e-8, msg=name)
    assert plain.state_dict().keys() == changed.state_dict().keys()


@pytest.mark.parametrize(
    ("train", "device", "is_fused"),
    [
        ({"opt": "adamw"}, GPU, True),
        ({"opt": "adam", "amp": "bfloat16"}, GPU, True),
        ({"opt": "momentum"}, GPU, True),
        ({"opt": "adamw"}, CPU, False),
        ({"opt": "adamw", "amp": "float16"}, GPU, False),  # hooks that clip would see scaled gradients
        ({"opt": "lamb"}, GPU, False),
        ({"opt": "lookahead_adamw"}, GPU, False),
    ],
)
def test_optimisers_are_fused_on_a_gpu_where_pytorch_can(train, device, is_fused):
    made = create_optimizer(torch.nn.Linear(3, 2), TrainSpec(**train), device)
    assert {bool(group.get("fused")) for group in made.param_groups} == {is_fused}


def steps(model, optimizer, number):
    for index in range(number):
        optimizer.zero_grad()
        for offset, weight in enumerate(model.parameters()):
            weight.grad = torch.full_like(weight, 0.1 * (index + 1) + offset)
        optimizer.step()


@pytest.mark.parametrize(("first", "second"), [(CPU, GPU), (GPU, CPU)], ids=["to a gpu", "to a cpu"])
@pytest.mark.parametrize("opt", ["adamw", "momentum"])
def test_a_training_goes_on_with_the_kernels_of_its_new_device(opt, first, second):
    """With another layout, too: fused kernels take weights and moments of one layout only."""

    def network(device):
        torch.manual_seed(0)
        made = torch.nn.Conv2d(3, 4, 3)
        return made.to(memory_format=torch.channels_last) if device == GPU else made

    train = TrainSpec(opt=opt, lr=0.01)
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
