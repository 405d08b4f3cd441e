"""Numerical precision by `amp` on a CPU, and gradient clipping."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from runners.training.precision import Precision
from search_space.parsing.errors import SpecError
from search_space.schema.trial import TrainSpec

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("amp", "dtype"), [("off", torch.float32), ("auto", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_format_of_matrix_products_on_a_cpu(amp, dtype):
    with Precision(amp, CPU).autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_float16_needs_a_gpu():
    with pytest.raises(SpecError) as caught:
        Precision("float16", CPU)
    assert str(caught.value) == (
        "train.amp: 'float16' needs a GPU, but the trial runs on 'cpu'\n  write auto, bfloat16 or off"
    )


@pytest.mark.parametrize(("clip_grad", "step"), [(None, 5.0), (1.0, 1.0), (50.0, 5.0)])
def test_gradient_is_clipped_to_the_given_norm(clip_grad, step):
    """The gradient of 3 a + 4 b is (3, 4) with norm 5; plain SGD with learning rate 1 steps by the clipped gradient."""
    model = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    loss = model(torch.tensor([3.0, 4.0])).sum()
    Precision("off", CPU).update(loss, optimizer, model, TrainSpec(clip_grad=clip_grad))
    torch.testing.assert_close(model.weight.detach().norm().item(), step, rtol=1e-5, atol=0)


def clipped_step(gradients, clip_grad, **options):
    """How far plain SGD at rate 1 moves parameters with these gradients."""
    model = nn.ParameterList(torch.zeros(2) for _ in gradients)
    loss = sum((weight * torch.tensor(gradient)).sum() for weight, gradient in zip(model, gradients, strict=True))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    Precision("off", CPU).update(loss, optimizer, model, TrainSpec(clip_grad=clip_grad, **options))
    return [-weight.detach() for weight in model]


def test_gradients_are_clipped_one_by_one():
    long, short = clipped_step([[3.0, 4.0], [0.3, 0.4]], 1.0, clip_mode="parameter")
    torch.testing.assert_close(long, torch.tensor([0.6, 0.8]), rtol=1e-6, atol=0)
    assert torch.equal(short, torch.tensor([0.3, 0.4]))


def test_tiny_gradients_are_clipped_a_little_too_short():
    """As in DINO's code: the divisor is larger by 1e-6, which is noticed at a norm of 5e-5."""
    (step,) = clipped_step([[3e-5, 4e-5]], 1e-5, clip_mode="parameter")
    torch.testing.assert_close(step.norm().item(), 5e-5 * 1e-5 / 5.1e-5, rtol=1e-5, atol=0)


def test_entries_are_clipped_by_value():
    (step,) = clipped_step([[3.0, -0.5]], 1.0, clip_mode="value")
    assert step.tolist() == [1.0, -0.5]


def test_a_norm_is_that_of_all_parameters():
    long, short = clipped_step([[3.0, 0.0], [0.0, 4.0]], 1.0)
    torch.testing.assert_close(torch.cat([long, short]), torch.tensor([0.6, 0.0, 0.0, 0.8]), rtol=1e-5, atol=0)
