"""Teacher: moving average in closed form, its own statistics, and what is decayed and clipped in the student."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modelzoo.self_supervised import (
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
