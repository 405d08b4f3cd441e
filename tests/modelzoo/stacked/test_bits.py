"""A member's digits in float32 do not depend on the other members, to the last bit."""

from __future__ import annotations

import pytest
import torch

from modelzoo.stacked import bits_depend_on_group
from modelzoo.stacked.maps import StackedConv2d

from .conftest import BATCH, MECHANISMS, batches, build_small, losses_of, stack_of


def _bits(case, size):
    """Losses and gradients of the first member, and its state after a step."""
    stack = stack_of([build_small(case, seed) for seed in range(size)])
    ((images, labels),) = batches(1, size)
    losses_K = losses_of(stack(images), labels)
    losses_K.sum().backward()
    gradients = [parameter.grad[0] for parameter in stack.parameters() if parameter.grad is not None]
    return [losses_K[0].detach(), *gradients, *stack.member_state(0).values()]


@pytest.mark.parametrize("name", MECHANISMS)
def test_a_lone_member_has_the_bits_of_one_among_others(name):
    """Where libraries choose kernels by the size of a group, as is found out on the machine, nothing is promised."""
    if bits_depend_on_group(build_small(MECHANISMS[name], 0), batch_size=BATCH):
        pytest.skip("this processor's kernels depend on the number of channels")
    expected = _bits(MECHANISMS[name], 8)
    for size in (1, 2, 4):
        assert all(map(torch.equal, _bits(MECHANISMS[name], size), expected)), size


@pytest.mark.parametrize("name", ["softmax", "reattention"])
def test_products_of_matrices_never_depend_on_the_group(name):
    """No convolution is left in these, so it is so on every processor that archsweep was tried on."""
    assert not bits_depend_on_group(build_small(MECHANISMS[name], 0), batch_size=BATCH)


@pytest.mark.parametrize("name", ["softmax", "reattention"])
def test_evaluation_never_depends_on_the_group(name):
    assert not bits_depend_on_group(build_small(MECHANISMS[name], 0), batch_size=BATCH, evaluated=(16, 48))


def test_what_mixes_members_at_evaluation_only_is_found_out(monkeypatch):
    forward = StackedConv2d.forward
    monkeypatch.setattr(
        StackedConv2d, "forward", lambda self, x: forward(self, x) + 1e-3 * self.num_members * (not self.training)
    )
    assert not bits_depend_on_group(build_small(MECHANISMS["reattention"], 0), batch_size=BATCH)
    assert bits_depend_on_group(build_small(MECHANISMS["reattention"], 0), batch_size=BATCH, evaluated=(16,))


def test_what_mixes_members_is_found_out(monkeypatch):
    """A layer that adds a number of the group's size is in the place of a kernel that another size has."""
    forward = StackedConv2d.forward
    monkeypatch.setattr(StackedConv2d, "forward", lambda self, x: forward(self, x) + 1e-3 * self.num_members)
    assert bits_depend_on_group(build_small(MECHANISMS["reattention"], 0), batch_size=BATCH)
    assert not bits_depend_on_group(build_small(MECHANISMS["softmax"], 0), batch_size=BATCH)
