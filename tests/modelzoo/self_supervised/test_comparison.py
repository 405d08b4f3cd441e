"""What losses compare, and operations on the teacher's outputs, against loops over plain numbers in float64."""

from __future__ import annotations

import math

import pytest
import torch

from modelzoo.self_supervised import sinkhorn_probabilities, teacher_probabilities, view_loss

K, B, D = 5, 3, 4
TEMPERATURES = {"student_temp": 0.1, "teacher_temp": 0.05}


def rows(num, width=K, seed=0):
    return torch.randn(num, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def iterated(logits, tau, iterations):
    """The paper's code of appendix B in plain numbers; also the sums over the batch that each iteration divided by."""
    x = [[math.exp(value / tau) for value in row] for row in logits.tolist()]
    divided = []
    for _ in range(iterations):
        totals = [sum(row[k] for row in x) for k in range(len(x[0]))]
        divided.append([[row[k] for row in x] for k in range(len(x[0]))])
        x = [[value / total for value, total in zip(row, totals, strict=True)] for row in x]
        x = [[value / sum(row) for value in row] for row in x]
    return x, divided


@pytest.mark.parametrize("iterations", [1, 3])
def test_sinkhorn_is_the_papers_loop(iterations):
    logits = rows(6)
    want, _ = iterated(logits, 0.2, iterations)
    found = sinkhorn_probabilities(logits, 0.2, iterations=iterations)
    torch.testing.assert_close(found, torch.tensor(want, dtype=torch.float64), rtol=1e-9, atol=1e-15)


def test_one_iteration_is_a_softmax_over_the_batch():
    logits = rows(6)
    over_batch = (logits / 0.3).softmax(dim=0)
    want = over_batch / over_batch.sum(dim=1, keepdim=True)
    torch.testing.assert_close(sinkhorn_probabilities(logits, 0.3, iterations=1), want)


def test_many_iterations_give_every_prototype_an_equal_share():
    shares = sinkhorn_probabilities(rows(20), 0.5, iterations=200).sum(dim=0)
    torch.testing.assert_close(shares, torch.full((K,), 20 / K, dtype=torch.float64), rtol=1e-6, atol=0)


def test_a_batch_of_two_processes_is_that_of_one():
    """Of the second process only its sums over the batch are needed, once per iteration."""
    logits, iterations = rows(6), 3
    _, divided = iterated(logits, 0.2, iterations)
    others = [torch.tensor([[math.log(sum(column[2:])) for column in each]]) for each in divided]
    remaining = iter(others)

    def gathered(row):
        return torch.cat([row, next(remaining)])

    found = sinkhorn_probabilities(logits[:2], 0.2, iterations=iterations, gathered=gathered)
    # The others' sums are those of float32.
    torch.testing.assert_close(
        found, sinkhorn_probabilities(logits, 0.2, iterations=iterations)[:2], rtol=1e-5, atol=1e-9
    )


def test_outputs_far_apart_stay_finite():
    logits = torch.tensor([[1e4, -1e4], [1e4, -1e4], [-1e4, 1e4]])
    found = sinkhorn_probabilities(logits, 0.01, iterations=3)
    assert found.isfinite().all()
    torch.testing.assert_close(found.sum(dim=1), torch.ones(3))


def test_losses_use_the_operation_in_place_of_the_centre():
    """The cross-entropy with the distributions of the paper's loop, over the rows of both global views."""
    student, teacher = rows(3 * B), rows(2 * B, seed=1)
    targets, _ = iterated(teacher, 0.05, 2)
    logs = (student / 0.1).log_softmax(dim=1).tolist()
    terms = [
        -sum(t * s for t, s in zip(targets[q * B + image], logs[v * B + image], strict=True))
        for q in range(2)
        for v in range(3)
        if v != q
        for image in range(B)
    ]
    found = view_loss(
        student,
        teacher,
        center=rows(1, seed=2),
        num_views=3,
        operation=lambda logits, tau: sinkhorn_probabilities(logits, tau, iterations=2),
        **TEMPERATURES,
    )
    assert found.item() == pytest.approx(sum(terms) / len(terms), rel=1e-9)


def test_a_temperature_of_0_is_the_limit_of_small_ones():
    logits, center = rows(6), rows(1, seed=1)
    found = teacher_probabilities(logits, center, 0)
    torch.testing.assert_close(found, teacher_probabilities(logits, center, 1e-6))
    assert set(found.flatten().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("metric", ["cross_entropy", "mse"])
def test_no_gradient_reaches_the_teacher(metric):
    student, teacher = rows(2 * B).requires_grad_(), rows(2 * B, seed=1).requires_grad_()
    view_loss(student, teacher, center=torch.zeros(K), num_views=2, metric=metric, **TEMPERATURES).backward()
    assert student.grad is not None
    assert student.grad.any()
    assert teacher.grad is None
