"""Teacher: moving average in closed form, its own statistics, and what is decayed and clipped in the student."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modelzoo.self_supervised import (
    ProjectionHead,
    clip_each_gradient,
    teacher_of,
    undecayed_parameters,
    update_teacher,
)


def student():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 3))


@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
def test_moving_average_in_closed_form(momentum):
    """After n updates with an unchanged student: (1 - m^n) student + m^n teacher."""
    network = student()
    teacher = teacher_of(network)
    start = [weight.clone() for weight in teacher.parameters()]
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(1.0)
    for _ in range(3):
        update_teacher(teacher, network, momentum)
    for weight, before in zip(teacher.parameters(), start, strict=True):
        torch.testing.assert_close(weight, before + (1 - momentum**3))


def test_statistics_are_the_teachers_own():
    """Buffers are not averaged: the teacher sees other views."""
    network = student()
    teacher = teacher_of(network)
    network(torch.randn(8, 4, generator=torch.Generator().manual_seed(0)))
    update_teacher(teacher, network, 0.5)
    assert torch.equal(teacher[1].running_mean, torch.zeros(5))
    assert network[1].running_mean.any()


def test_student_keeps_its_dropout_and_gradients():
    network = student()
    teacher = teacher_of(network)
    assert (network[2].p, teacher[2].p) == (0.5, 0.0)
    assert all(weight.requires_grad for weight in network.parameters())
    assert not any(weight.requires_grad for weight in teacher.parameters())


def test_lengths_of_prototypes_are_decayed_and_norms_are_not():
    """By the number of dimensions, as released: weight_g has two."""
    head = ProjectionHead(4, 6, hidden_dim=5, bottleneck_dim=3, num_layers=2, batch_norm=True, norm_last_layer=False)
    assert undecayed_parameters(head) == ["mlp.0.bias", "mlp.1.weight", "mlp.1.bias", "mlp.3.bias"]


def test_what_is_not_trained_is_in_no_group():
    head = ProjectionHead(4, 6, hidden_dim=5, bottleneck_dim=3, num_layers=2).requires_grad_(False)
    assert undecayed_parameters(head) == []


def test_gradients_are_clipped_one_by_one():
    long, short, none = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    long.grad, short.grad = torch.tensor([3.0, 4.0]), torch.tensor([0.3, 0.4])
    clip_each_gradient([long, short, none], 1.0)
    torch.testing.assert_close(long.grad, torch.tensor([0.6, 0.8]), rtol=1e-6, atol=0)
    assert torch.equal(short.grad, torch.tensor([0.3, 0.4]))
    assert none.grad is None


def test_tiny_gradients_are_clipped_a_little_too_short():
    """As released: the divisor is larger by 1e-6, which is noticed at a norm of 5e-5."""
    weight = nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3e-5, 4e-5])
    clip_each_gradient([weight], 1e-5)
    torch.testing.assert_close(weight.grad.norm().item(), 5e-5 * 1e-5 / 5.1e-5, rtol=1e-5, atol=0)
