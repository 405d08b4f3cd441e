"""Teacher: moving average in closed form, its own statistics, and what is decayed and clipped in the student."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modelzoo.self_supervised import (
    ProjectionHead,
    teacher_of,
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


def test_a_teacher_has_no_predictor_and_follows_the_other_weights():
    torch.manual_seed(0)
    network = ProjectionHead(4, 6, hidden_dim=5, bottleneck_dim=3, predictor=True)
    teacher = teacher_of(network)
    assert teacher.predictor is None
    assert network.predictor is not None
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(1.0)
    update_teacher(teacher, network, 0.0)
    of_student = dict(network.named_parameters())
    names = [name for name, _ in teacher.named_parameters()]
    assert names == [name for name in of_student if not name.startswith("predictor")]
    for name, weight in teacher.named_parameters():
        torch.testing.assert_close(weight, of_student[name])
