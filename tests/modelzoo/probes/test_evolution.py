"""Feature evolution: CKA by its closed form and invariances, the paper's ratio, and which images are drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import timm
import torch

from modelzoo import build_model
from modelzoo.probes import block_features, feature_evolution, linear_cka, measure_probes
from modelzoo.probes.evolution import Draws
from search_space.schema.trial import ArchSpec


def build(depth: int = 3) -> torch.nn.Module:
    arch = {"depth": depth, "embed_dim": 24, "num_heads": 2, "patch_size": 4}
    return build_model(ArchSpec.model_validate(arch), img_size=8, in_chans=1, num_classes=3, seed=0).eval()


def images(num: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(num, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def features(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def hsic(one: np.ndarray, other: np.ndarray) -> float:
    """Hilbert-Schmidt independence criterion of linear kernels, with the centring matrix written out."""
    num = len(one)
    centring = np.eye(num) - np.ones((num, num)) / num
    return float(np.trace(one @ one.T @ centring @ other @ other.T @ centring)) / (num - 1) ** 2


def cka(one: torch.Tensor, other: torch.Tensor) -> float:
    x, y = (each.double().flatten(1).numpy() for each in (one, other))
    return hsic(x, y) / math.sqrt(hsic(x, x) * hsic(y, y))


@pytest.mark.parametrize(("num", "width", "other"), [(2, 3, 4), (7, 3, 20), (32, 50, 5)])
def test_cka_is_a_ratio_of_independence_criteria(num, width, other):
    x, y = features(num, width), features(num, other, seed=1)
    assert linear_cka(x, y).item() == pytest.approx(cka(x, y), rel=1e-10)


def test_cka_of_one_feature_is_a_squared_correlation():
    x, y = features(20, 1), features(20, 1, seed=1) + 0.5 * features(20, 1)
    correlation = np.corrcoef(x[:, 0].numpy(), y[:, 0].numpy())[0, 1]
    assert linear_cka(x, y).item() == pytest.approx(correlation**2, rel=1e-10)


def test_cka_does_not_change_with_rotation_scale_and_offset():
    x, y = features(9, 6), features(9, 4, seed=1)
    rotation = torch.linalg.qr(features(6, 6, seed=2)).Q
    want = linear_cka(x, y).item()
    assert 0 < want < 1
    for same in (x @ rotation, -3 * x, x + features(6, seed=3)):
        assert linear_cka(same, y).item() == pytest.approx(want, rel=1e-10)
        assert linear_cka(same, x).item() == pytest.approx(1, rel=1e-10)
    assert linear_cka(x, y) == linear_cka(y, x)
    # A linear map that is no rotation changes it.
    assert linear_cka(x * torch.arange(1, 7), y).item() != pytest.approx(want, rel=1e-3)


def test_evolution_is_the_papers_ratio():
    model, x = build(), images(6)
    inputs = []
    handle = model.blocks[0].register_forward_pre_hook(lambda _module, args: inputs.append(args[0].detach()))
    blocks = list(block_features(model, x).values())
    handle.remove()
    want = [cka(one, blocks[-1]) / cka(inputs[0], blocks[-1]) for one in blocks]
    found = feature_evolution(model, x)
    assert found.tolist() == pytest.approx(want, rel=1e-6)
    assert found[-1].item() == pytest.approx(1 / cka(inputs[0], blocks[-1]), rel=1e-6)


def test_a_block_that_changes_nothing_is_where_the_input_is():
    model = build()
    with torch.no_grad():
        for part in (model.blocks[0].attn.proj, model.blocks[0].mlp.fc2):
            part.weight.zero_()
            part.bias.zero_()
    assert feature_evolution(model, images(5))[0].item() == pytest.approx(1, abs=1e-9)


def test_the_mode_and_the_hooks_are_as_before():
    model = build().train()
    feature_evolution(model, images(4))
    assert model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_stages_of_a_pyramid_are_compared():
    torch.manual_seed(0)
    model = timm.create_model("pvt_v2_b0", num_classes=3).eval()
    x = torch.randn(4, 3, 32, 32)
    blocks = list(block_features(model, x).values())
    assert len({one.shape for one in blocks}) > 1
    found = measure_probes(model, [x], ("feature_evolution",))
    assert found.arrays["feature_evolution"].shape == (len(blocks),)
    assert found.metrics["feature_evolution"] == pytest.approx(feature_evolution(model, x)[:-1].mean().item())


def drawn(batches) -> list[torch.Tensor]:
    draws = Draws()
    for batch in batches:
        draws.add(batch)
    return draws.batches()


def numbered(num: int) -> torch.Tensor:
    return torch.arange(num, dtype=torch.float32).reshape(num, 1, 1, 1)


@pytest.mark.parametrize(
    ("num", "sizes"),
    [(2, [2]), (31, [31]), (32, [32]), (63, [32]), (64, [32] * 2), (320, [32] * 10), (1000, [32] * 10)],
)
def test_draws_have_32_images_and_none_in_common(num, sizes):
    found = drawn(numbered(num).split(7))
    assert [len(draw) for draw in found] == sizes
    values = torch.cat(found).flatten().tolist()
    assert len(set(values)) == len(values)
    assert set(values) <= set(range(num))
    again = drawn(numbered(num).split(8))  # independent of the batches
    assert [draw.tolist() for draw in again] == [draw.tolist() for draw in found]


def test_draws_are_from_all_images():
    """Test splits are sorted by class: the mean of 320 of 3200 numbers is within 4 standard errors of that of all."""
    values = torch.cat(drawn([numbered(3200)])).flatten()
    assert values.mean().item() == pytest.approx(1600, abs=4 * 3200 / math.sqrt(12 * 320))
    first = drawn([numbered(320)])[0].flatten()
    assert first.mean().item() == pytest.approx(160, abs=4 * 320 / math.sqrt(12 * 32))


def test_the_metric_is_a_mean_over_draws_and_blocks():
    model, x = build(), images(64)
    found = measure_probes(model, x.split(10), ("feature_evolution",))
    each = [feature_evolution(model, draw) for draw in drawn([x])]
    assert len(each) == 2
    assert found.arrays["feature_evolution"].tolist() == pytest.approx(((each[0] + each[1]) / 2).tolist(), rel=1e-6)
    assert found.metrics["feature_evolution"] == pytest.approx(
        ((each[0][:-1] + each[1][:-1]) / 2).mean().item(), rel=1e-6
    )


@pytest.mark.parametrize(
    ("depth", "batches", "reason"),
    [
        (3, [images(1)], "one image alone cannot be compared with others"),
        (1, [images(3)], "the model has no two blocks"),
        (3, [torch.zeros(3, 1, 8, 8)], "the features of the images do not differ"),
    ],
)
def test_what_cannot_be_compared_is_a_note(depth, batches, reason):
    found = measure_probes(build(depth), batches, ("feature_evolution",))
    assert (found.metrics, found.notes) == ({}, (f"no feature_evolution: {reason}",))


def test_inputs_of_different_sizes_are_a_note():
    for batches in ([torch.zeros(1, 3), torch.zeros(1, 4)], [[torch.zeros(3, 8, 8)]]):
        draws = Draws()
        for batch in batches:
            draws.add(batch)
        assert draws.measure(build()) == "its inputs have different sizes"
