"""Weighted k nearest neighbours against DINO's evaluation, a loop in float64, and closed cases."""

from __future__ import annotations

import math

import pytest
import torch

from runners.tasks.metrics.knn import nearest_neighbours


def of_case(golden, **options):
    tensors, config = golden.tensors, golden.meta["config"]
    return nearest_neighbours(
        tensors["train_features"],
        tensors["train_labels"],
        tensors["test_features"],
        tensors["test_labels"],
        num_classes=config["num_classes"],
        temperature=config["temperature"],
        **options,
    )


@pytest.mark.golden("dino_knn", "knn")
def test_predictions_equal_the_recorded_ones(golden):
    """Of DINO's own evaluation, and of a loop over fewer queries than it can take and with k beyond the bank."""
    for k in golden.meta["config"]["k"]:
        want, found = golden.meta["expected"][str(k)], of_case(golden, k=k)
        assert found.top1 == pytest.approx(want["top1"], abs=golden.meta["tolerance"]["atol"]), k
        if "prediction" in want:
            assert found.predictions.tolist() == want["prediction"], k


@pytest.mark.golden("dino_knn", "knn")
@pytest.mark.parametrize("num_queries", [0, 3])
def test_chunks_do_not_change_predictions(golden, num_queries):
    """At least one query at once, however little memory."""
    found = of_case(golden, k=20, chunk_bytes=8 * num_queries * len(golden.tensors["train_features"]))
    assert torch.equal(found.predictions, of_case(golden, k=20).predictions)


def points(*degrees):
    radians = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def test_near_votes_outweigh_more_far_ones_only_at_a_low_temperature():
    """One neighbour at 10 degrees against two at 60: e^(cos 10 / T) > 2 e^(cos 60 / T) iff T < 0.699."""
    bank, labels, query = points(10, 60, -60), torch.tensor([0, 1, 1]), points(0)
    border = (math.cos(math.radians(10)) - 0.5) / math.log(2)
    for temperature, want in ((border - 0.01, 0), (border + 0.01, 1)):
        found = nearest_neighbours(bank, labels, query, labels[:1], num_classes=2, k=3, temperature=temperature)
        assert found.predictions.tolist() == [want]


def test_lengths_of_features_mean_nothing():
    bank, labels, queries = points(10, 60, -60), torch.tensor([0, 1, 1]), points(0, 50)
    one = nearest_neighbours(bank, labels, queries, labels[:2], num_classes=2, k=1)
    scaled = bank * torch.tensor([[0.01], [100.0], [3.0]])
    other = nearest_neighbours(scaled, labels, queries * 7, labels[:2], num_classes=2, k=1)
    assert one.predictions.tolist() == other.predictions.tolist() == [0, 1]
    assert one.top1 == 100.0


def test_equal_votes_go_to_the_first_class():
    found = nearest_neighbours(points(30, -30), torch.tensor([2, 1]), points(0), torch.tensor([1]), num_classes=3)
    assert found.predictions.tolist() == [1]


def test_nearer_by_less_than_float32_resolves_is_nearer():
    """Cosines 1 - 2e-8 and 1 - 5e-9; the features of trained networks may all be that close."""
    bank, query = torch.tensor([[1.0, 2e-4], [1.0, 1e-4]]), torch.tensor([[1.0, 0.0]])
    found = nearest_neighbours(bank, torch.tensor([1, 0]), query, torch.tensor([0]), num_classes=2, k=1)
    assert found.predictions.tolist() == [0]


@pytest.mark.parametrize(("k", "num_bank", "num_queries"), [(0, 2, 1), (1, 0, 1), (1, 2, 0)])
def test_nothing_to_compare_is_refused(k, num_bank, num_queries):
    message = f"k is {k}, with {num_bank} features in the bank and {num_queries} queries: none may be 0"
    bank, queries = torch.ones(num_bank, 2), torch.ones(num_queries, 2)
    labels = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match=message):
        nearest_neighbours(bank, labels[:num_bank], queries, labels[:num_queries], num_classes=2, k=k)
