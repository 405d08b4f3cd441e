"""Projection head: names of weights, lengths of prototypes, gradients, and refused numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modelzoo.self_supervised import ProjectionHead
from search_space.parsing.errors import SpecError


def head(**options):
    torch.manual_seed(0)
    return ProjectionHead(6, 9, hidden_dim=8, bottleneck_dim=4, **options)


def features(num=5):
    return torch.randn(num, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("options", "layers"),
    [
        ({}, ["mlp.0", "mlp.2", "mlp.4"]),
        ({"num_layers": 1}, ["mlp"]),
        ({"num_layers": 2}, ["mlp.0", "mlp.2"]),
        ({"batch_norm": True}, ["mlp.0", "mlp.1", "mlp.3", "mlp.4", "mlp.6"]),
    ],
)
def test_weights_have_the_released_names(options, layers):
    names = {name.rpartition(".")[0] for name in head(**options).state_dict()} - {"last_layer"}
    assert sorted(names) == layers


@pytest.mark.parametrize("is_fixed", [True, False])
def test_prototypes_start_with_length_1_and_have_a_trained_one_only_if_asked(is_fixed):
    ours = head(norm_last_layer=is_fixed)
    assert torch.equal(ours.state_dict()["last_layer.weight_g"], torch.ones(9, 1))
    assert ("last_layer.weight_g" in dict(ours.named_parameters())) is not is_fixed
    ours(features()).square().sum().backward()
    assert [name for name, weight in ours.named_parameters() if weight.grad is None] == []


def test_logits_with_fixed_lengths_are_cosines():
    ours, x = head(), features()
    want = torch.cosine_similarity(ours.mlp(x)[:, None], ours.last_layer.weight_v[None], dim=2)
    torch.testing.assert_close(ours(x), want)


def test_features_of_length_0_have_finite_logits_in_float16():
    """The smallest length that normalisation divides by is 0 in float16."""
    ours = head()
    with torch.autocast("cpu", dtype=torch.float16):
        assert ours.mlp(torch.zeros(2, 6)).dtype == torch.float16
        assert ours(torch.zeros(2, 6)).isfinite().all()


def test_last_layer_is_torchs_weight_norm():
    ours, x = head(norm_last_layer=False).last_layer, features()[:, :4]
    theirs = nn.utils.parametrizations.weight_norm(nn.Linear(4, 9, bias=False))
    with torch.no_grad():
        ours.weight_g.uniform_(0.5, 2)
        theirs.parametrizations.weight.original0.copy_(ours.weight_g)
        theirs.parametrizations.weight.original1.copy_(ours.weight_v)
    torch.testing.assert_close(ours(x), theirs(x))


def test_biases_are_0_and_weights_small():
    linears = [module for module in head(num_layers=4).modules() if isinstance(module, nn.Linear)]
    assert len(linears) == 4
    assert all(not linear.bias.any() and 0 < linear.weight.std() < 0.04 for linear in linears)


def test_counts_below_1_are_refused_all_at_once():
    with pytest.raises(SpecError) as caught:
        ProjectionHead(6, 0, num_layers=0)
    assert str(caught.value) == (
        "task: prototypes is 0\n  legal: whole numbers of at least 1\n"
        "task: num_layers is 0\n  legal: whole numbers of at least 1"
    )


def linear(layer, x):
    """A linear layer in plain numbers."""
    weight, bias = layer.weight.double(), layer.bias.double()
    return torch.stack([(weight * row).sum(dim=1) + bias for row in x])


def gelu(x):
    return x * 0.5 * (1 + torch.erf(x / 2**0.5))


def test_a_predictor_has_two_layers_before_the_normalisation_and_changes_no_other_weight():
    ours, plain, x = head(predictor=True), head(), features()
    assert all(torch.equal(value, ours.state_dict()[name]) for name, value in plain.state_dict().items())
    first, _, last = ours.predictor
    predicted = linear(last, gelu(linear(first, ours.mlp(x).double())))
    want = (predicted / predicted.norm(dim=1, keepdim=True)) @ ours.last_layer.weight_v.double().T
    want = want / ours.last_layer.weight_v.double().norm(dim=1)
    torch.testing.assert_close(ours(x).double(), want, rtol=1e-4, atol=1e-6)
    assert (first.out_features, last.out_features) == (8, 4)
    assert any(isinstance(layer, nn.BatchNorm1d) for layer in head(predictor=True, batch_norm=True).predictor)


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_without_bottleneck_as_many_linear_layers_as_asked_give_the_logits(num_layers):
    """With 3: two hidden layers of 8 channels and the outputs, no normalisation."""
    ours, x = head(num_layers=num_layers, bottleneck=False), features()
    linears = [module for module in ours.modules() if isinstance(module, nn.Linear)]
    assert [each.out_features for each in linears] == [8] * (num_layers - 1) + [9]
    want = x.double()
    for index, layer in enumerate(linears):
        want = linear(layer, want)
        want = gelu(want) if index < num_layers - 1 else want
    torch.testing.assert_close(ours(x).double(), want, rtol=1e-4, atol=1e-6)


def test_hidden_layers_have_the_activation_that_is_asked_for():
    ours, x = head(activation="relu", num_layers=2), features()
    first, _, last = ours.mlp
    want = linear(last, linear(first, x.double()).clamp(min=0))
    torch.testing.assert_close(ours.mlp(x).double(), want, rtol=1e-4, atol=1e-6)
