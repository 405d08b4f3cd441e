"""A member of a stack computes what it computes alone: training in float64 with every kind of dropout."""

from __future__ import annotations

import pytest
import torch

from modelzoo.stacked import reason_not_stackable

from .conftest import BATCH, MECHANISMS, OPTIONS, batches, build_small, stack_of, train_alone, train_stack


def _check_parity(case, steps, members):
    models = [build_small(case, seed).double() for seed in range(members)]
    assert reason_not_stackable(models[0], batch_size=BATCH, num_threads=1) is None
    given = batches(steps, members, torch.float64)
    stack = stack_of(models, seeds=[100 + member for member in range(members)])
    together = train_stack(stack, given)
    for member, model in enumerate(models):
        alone = train_alone(model, [(x[member], y[member]) for x, y in given], seed=100 + member)
        torch.testing.assert_close(together[:, member], alone, rtol=1e-10, atol=0)
        ours, theirs = stack.member_state(member), model.state_dict()
        assert list(ours) == list(theirs)
        for name, value in theirs.items():
            # A number a head before a BatchNorm: its true gradient is 0, and AdamW makes steps of the rounding of 0.
            # The BatchNorm's mean follows it; all that they do together is nothing.
            if name.endswith(("reatten_matrix.bias", "var_norm.running_mean")):
                continue
            # Others whose gradient is 0 start at 0 and stay there: to them the tolerance is absolute.
            error = (ours[name].double() - value.double()).norm() / value.double().norm().clamp_min(1)
            assert error <= 1e-10, name
        fresh = build_small(case, seed=77).double()
        fresh.load_state_dict(ours)
        images = given[0][0]
        expected = fresh.eval()(images[member])
        torch.testing.assert_close(stack.eval()(images)[member], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", MECHANISMS)
def test_a_member_trains_as_it_does_alone(name):
    _check_parity(MECHANISMS[name], steps=3, members=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", MECHANISMS)
def test_a_member_trains_as_it_does_alone_for_ten_steps(name):
    _check_parity(MECHANISMS[name] | {"depth": 3}, steps=10, members=4)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_so_it_does_with_every_option(name):
    _check_parity(OPTIONS[name], steps=10, members=3)
