"""Layout of convolutions on a GPU, tried on a CPU: where it is changed, and that what is computed stays the same."""

from __future__ import annotations

import copy

import pytest
import torch

from runners.data import describe_dataset
from runners.tasks import TASKS
from runners.training.gpu.layout import convolution_share, in_fast_layout
from search_space.schema.resources import Resources
from search_space.schema.trial import Setting

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
