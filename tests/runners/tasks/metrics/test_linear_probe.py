"""Linear probe against scikit-learn's logistic regression, and what its numbers must not depend on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from runners.tasks.metrics.linear_probe import linear_probe

K, DIM, M, N = 4, 10, 800, 2000


def gaussians(distance, *, seed=0, shuffled=False):
    """Features and labels of bank and queries: unit Gaussians whose means are so far from 0 in random directions."""
    random = np.random.default_rng(seed)
    means = random.normal(size=(K, DIM))
    means *= distance / np.linalg.norm(means, axis=1, keepdims=True)
    labels = random.integers(K, size=M + N)
    features = means[labels] + random.normal(size=(M + N, DIM))
    if shuffled:
        labels = random.permutation(labels)
    features, labels = torch.tensor(features, dtype=torch.float32), torch.tensor(labels)
    return features[:M], labels[:M], features[M:], labels[M:]


def probe(given, seed=0, **options: Any):
    return linear_probe(*given, num_classes=K, seed=seed, **{"epochs": 40, "lr": 0.02, "batch_size": 64, **options})


def best_linear(given):
    """Accuracy of the maximum likelihood fit, in %."""
    bank, labels, queries, query_labels = (each.numpy() for each in given)
    scaler = StandardScaler().fit(bank)
    fit = LogisticRegression(C=1e4, max_iter=2000).fit(scaler.transform(bank), labels)
    return 100 * fit.score(scaler.transform(queries), query_labels), fit.predict(scaler.transform(queries))


@pytest.mark.parametrize("distance", [8.0, 1.5], ids=["separable", "overlapping"])
def test_accuracy_is_that_of_the_maximum_likelihood_fit(distance):
    """Within a point: SGD ends near the optimum, and 2000 queries resolve 1.1 points (one standard error, p = 0.5)."""
    given = gaussians(distance)
    want, predictions = best_linear(given)
    found = probe(given)
    assert found.top1 == pytest.approx(want, abs=1.0)
    assert np.mean(found.predictions.numpy() == predictions) > 0.97
    assert want == 100.0 if distance > 5 else 55 < want < 85


def test_labels_without_information_give_chance():
    """25 % within four standard errors of 2000 queries."""
    assert probe(gaussians(8.0, shuffled=True)).top1 == pytest.approx(100 / K, abs=4 * 100 * (0.25 * 0.75 / N) ** 0.5)


def test_scale_and_offset_of_features_mean_nothing():
    """Up to rounding: untrained networks have features of tiny scale."""
    bank, labels, queries, query_labels = gaussians(1.5)
    one = probe((bank, labels, queries, query_labels))
    scale, offset = 10.0 ** -torch.arange(DIM), torch.arange(DIM) * 10.0 ** -torch.arange(DIM)
    other = probe((bank * scale + offset, labels, queries * scale + offset, query_labels))
    assert (one.predictions == other.predictions).double().mean() > 0.99


def test_constant_features_change_nothing():
    bank, labels, queries, query_labels = gaussians(1.5)
    constant = [torch.cat([each, torch.full((len(each), 1), 0.1)], dim=1) for each in (bank, queries)]
    found = probe((constant[0], labels, constant[1], query_labels))
    assert found.top1 == pytest.approx(probe((bank, labels, queries, query_labels)).top1, abs=1.0)


def test_equal_seeds_give_equal_probes_and_the_global_generator_is_untouched():
    given = gaussians(1.0)
    state = torch.random.get_rng_state()
    runs = [probe(given, seed=seed, epochs=1) for seed in (0, 0, 1)]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(runs[0].predictions, runs[1].predictions)
    assert not torch.equal(runs[0].predictions, runs[2].predictions)


def test_probe_is_the_same_in_inference_mode_and_autocast():
    given = gaussians(1.0)
    want = probe(given, epochs=2).predictions
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        frozen = tuple(each.clone() for each in given)
        assert frozen[0].is_inference()
        found = probe(frozen, epochs=2)
    assert torch.equal(found.predictions, want)


def test_training_is_the_recipe_step_by_step():
    """One feature, one batch an epoch: initial weights, momentum and the half cosine, written out in float64."""
    bank, labels = torch.tensor([[-1.0], [-1.0], [2.0]]), torch.tensor([0, 0, 1])
    deviation = 2**0.5
    weight = 0.01 * torch.randn(2, 1, generator=torch.Generator().manual_seed(3)).double().numpy()
    x, bias, velocity = bank.numpy() / deviation, np.zeros(2), np.zeros((2, 2))
    for epoch in range(3):
        logits = x @ weight.T + bias
        error = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True) - np.eye(2)[labels]
        velocity = 0.9 * velocity + np.column_stack([error.T @ x, error.sum(axis=0)]) / 3
        step = 0.5 * 0.3 * (1 + np.cos(np.pi * epoch / 3)) * velocity
        weight, bias = weight - step[:, :1], bias - step[:, 1]
    # The place where both logits are equal: queries beside it have different predictions.
    border = deviation * (bias[0] - bias[1]) / (weight[1, 0] - weight[0, 0])
    queries = torch.tensor([[border - 1e-5], [border + 1e-5]], dtype=torch.float32)
    found = linear_probe(bank, labels, queries, labels[1:], num_classes=2, seed=3, epochs=3, lr=0.3)
    assert found.predictions.tolist() == [0, 1]
    assert found.top1 == 100.0


@pytest.mark.parametrize(("num_bank", "num_queries"), [(0, 1), (1, 0)])
def test_nothing_to_train_or_to_classify_is_refused(num_bank, num_queries):
    bank, labels, queries, query_labels = gaussians(1.0)
    given = (bank[:num_bank], labels[:num_bank], queries[:num_queries], query_labels[:num_queries])
    message = f"{num_bank} features in the bank and {num_queries} queries: none may be 0"
    with pytest.raises(ValueError, match=message):
        probe(given)
