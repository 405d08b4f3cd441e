"""Parameters that a mechanism adds to a model, by formulas derived by hand, and its BatchNorms to recalibrate."""

from __future__ import annotations

import pytest
import torch

from modelzoo import attention_batchnorms, build_model
from search_space.schema.trial import ArchSpec


def build(attention="softmax"):
    """Model with 3 blocks of 40 channels and 4 heads."""
    arch = ArchSpec.model_validate(
        {"depth": 3, "embed_dim": 40, "num_heads": 4, "patch_size": 2, "attention": attention}
    )
    return build_model(arch, img_size=4, in_chans=1, num_classes=5, seed=0)


def num_params(model) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def refiner_params(H: int, r: float, k: int, reduction: bool = True) -> int:
    M = round(H * r)
    expansion = 0 if r == 1 else H * M + 2 * M
    convolution = M * k * k + 2 * M
    return expansion + convolution + (M * H + 2 * H + 2 * H if reduction else 2 * M)


def groupmix_params(D: int, H: int, kernels: tuple[int, ...], local: int, windows: dict[int, int]) -> int:
    S = D // (len(kernels) + 2)
    norms = 2 * S * (len(kernels) + 1)
    aggregators = sum(S * k * k + S * S for k in kernels)
    local_branch = 3 * S * local**2 + 3 * S * S + 2 * S
    position = sum(count * (D - S) // H * (window**2 + 1) for window, count in windows.items())
    return norms + aggregators + local_branch + position


@pytest.mark.parametrize(
    ("attention", "added"),
    [
        ("reattention", 4**2 + 3 * 4),
        ("refiner", refiner_params(4, 3, 3)),
        ({"name": "refiner", "expansion": 1, "kernel_size": 5}, refiner_params(4, 1, 5)),
        ({"name": "refiner", "expansion": 2.4, "kernel_size": 2}, refiner_params(4, 2.4, 2)),
        ({"name": "refiner", "expansion": 2, "reduction": False}, refiner_params(4, 2, 3, reduction=False)),
        ("groupmix", groupmix_params(40, 4, (3, 5, 7), 3, {3: 1, 5: 1, 7: 2})),
        (
            {"name": "groupmix", "kernel_sizes": [2, 9, 4], "local_kernel_size": 5},
            groupmix_params(40, 4, (2, 9, 4), 5, {3: 1, 5: 1, 7: 2}),
        ),
        ({"name": "reattention", "blocks": {"last": 1}}, (4**2 + 3 * 4) / 3),
    ],
)
def test_parameters_added_per_block(attention, added):
    with torch.device("meta"):
        assert num_params(build(attention)) - num_params(build()) == 3 * added


@pytest.mark.parametrize(
    ("attention", "per_block"), [("softmax", 0), ("reattention", 1), ("refiner", 4), ("groupmix", 4)]
)
def test_batchnorms_to_recalibrate(attention, per_block):
    """Re-attention: its norm. Refiner: three of DLA and the outer one. Group-Mix: one per attention segment."""
    found = attention_batchnorms(build(attention))
    assert len(found) == 3 * per_block
    assert all(isinstance(module, torch.nn.BatchNorm2d) for module in found)


def test_batchnorms_outside_of_attention_are_not_recalibrated():
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(3), build({"name": "reattention", "blocks": [1]}))
    assert attention_batchnorms(model) == [model[1].blocks[1].attn.var_norm]
