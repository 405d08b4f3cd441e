"""Cosine regulariser: equal to the recorded training step and to a loop over all entries; error messages."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from modelzoo import build_model, from_official
from modelzoo.probes import cosine_penalty, record_maps
from search_space.parsing.errors import SpecError
from search_space.schema.trial import ArchSpec


@pytest.mark.golden("deepvit", cos_reg=True)
def test_loss_and_gradients_equal_the_recorded_step(golden):
    """The model is built without the official flag; its maps are recorded."""
    config = {**golden.meta["config"], "cos_reg": False}
    model = from_official("deepvit", config, golden.group("state_before.")).train()
    x = golden.tensors["input"].clone().requires_grad_()
    with record_maps(model, replace_fused=True) as maps:
        logits = model(x)
    for index, one in enumerate(maps):
        torch.testing.assert_close(one.weights, golden.tensors[f"attn.{index}"], rtol=1e-4, atol=1e-5)
    entropy = -(golden.tensors["target"] * F.log_softmax(logits, dim=-1)).sum(dim=-1).mean()
    torch.testing.assert_close(entropy, golden.tensors["loss_ce_part"], rtol=1e-5, atol=1e-6)
    loss = entropy + 0.1 * cosine_penalty([one.weights for one in maps], pairs=2)
    torch.testing.assert_close(loss, golden.tensors["loss"], rtol=1e-5, atol=1e-6)
    loss.backward()
    gradients = golden.group("grad.")
    largest = max(value.abs().max().item() for value in gradients.values())
    for key, parameter in model.named_parameters():
        # Theta's bias is cancelled by the norm after it, so its gradient is rounding noise relative to the largest one.
        torch.testing.assert_close(parameter.grad, gradients[key], rtol=1e-4, atol=1e-5 * largest, msg=key)
    torch.testing.assert_close(x.grad, golden.tensors["grad_input"], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("pairs", [1, 3])
def test_penalty_is_a_mean_over_pairs_images_and_tokens(pairs):
    maps = torch.randn(4, 2, 3, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    total = 0.0
    for b, n, m in np.ndindex(2, 5, 5):
        for index in range(pairs):
            one, other = maps[index, b, :, n, m].tolist(), maps[index + 1, b, :, n, m].tolist()
            dot = sum(a * c for a, c in zip(one, other, strict=True))
            total += dot / math.sqrt(sum(a * a for a in one)) / math.sqrt(sum(c * c for c in other))
    want = total / (2 * 5 * 5) / pairs
    assert cosine_penalty(list(maps), pairs=pairs).item() == pytest.approx(want, rel=1e-12)


def test_columns_are_compared_along_the_queries():
    """With the gradient of a loop over the columns of every head."""
    maps = torch.rand(4, 2, 3, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    again = maps.detach().clone().requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    for index, b, h, t in np.ndindex(2, 2, 3, 5):
        one, other = again[index, b, h, :, t], again[index + 1, b, h, :, t]
        total = total + (one * other).sum() / ((one**2).sum() * (other**2).sum()).sqrt()
    want = total / (2 * 3 * 5) / 2
    found = cosine_penalty(list(maps), pairs=2, along="queries")
    assert found.item() == pytest.approx(want.item(), rel=1e-12)
    assert found.item() != pytest.approx(cosine_penalty(list(maps), pairs=2).item(), rel=1e-3)
    found.backward()
    want.backward()
    torch.testing.assert_close(maps.grad, again.grad, rtol=1e-9, atol=1e-12)
    assert maps.grad[3].abs().max() == 0  # the pairs are those of the first blocks


@pytest.mark.golden("attention_similarity")
def test_the_penalty_along_the_queries_is_a_mean_of_the_probes_similarity(golden):
    maps = golden.tensors["attn"].double()
    similarity = golden.tensors["M_column_mean"]
    want = (similarity[0, 1] + similarity[1, 2]) / 2
    assert cosine_penalty(list(maps), pairs=2, along="queries").item() == pytest.approx(want.item(), rel=1e-9)


def refusal(maps, pairs) -> str:
    with pytest.raises(SpecError) as caught:
        cosine_penalty(maps, pairs=pairs)
    return str(caught.value)


def test_more_pairs_than_neighbours_are_refused():
    path = "train.cosine_regulariser.pairs"
    assert refusal([torch.ones(1, 2, 3, 3)] * 3, 12) == (
        f"{path}: 12 pairs of adjacent blocks need 13 attention maps, but the model forms 3\n"
        "  choose pairs of at most 2"
    )
    assert refusal([], 1) == (
        f"{path}: 1 pairs of adjacent blocks need 2 attention maps, but the model forms 0\n"
        "  choose attention that forms maps over all tokens, such as softmax or reattention"
    )


def test_maps_of_different_shapes_are_refused():
    maps = [torch.ones(1, 2, 4, 4), torch.ones(1, 2, 4, 4), torch.ones(1, 4, 2, 2)]
    assert refusal(maps, 2) == (
        "train.cosine_regulariser.pairs: the maps of blocks 1 and 2 cannot be compared: (2, 4, 4) and (4, 2, 2) "
        "(heads, queries, keys)\n  choose pairs of at most 1"
    )
    assert cosine_penalty(maps, pairs=1).item() == pytest.approx(1.0)


def test_maps_of_a_model_without_any_are_refused():
    arch = {"depth": 2, "embed_dim": 40, "num_heads": 4, "patch_size": 2, "attention": "groupmix"}
    model = build_model(ArchSpec.model_validate(arch), img_size=4, in_chans=1, num_classes=2, seed=0)
    with record_maps(model, replace_fused=True) as maps:
        model(torch.zeros(2, 1, 4, 4))
    formed = [one.weights for one in maps if one.weights is not None]
    assert refusal(formed, 1).startswith("train.cosine_regulariser.pairs: 1 pairs of adjacent blocks need 2")
