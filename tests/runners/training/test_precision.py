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
