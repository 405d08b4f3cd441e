"""Members of a stack: their states, who stays, and that none of them sees another."""

from __future__ import annotations

import pytest
import torch
from timm.utils import ModelEmaV3

from modelzoo.stacked import Stacked

from .conftest import MECHANISMS, batches, build_small, stack_of, train_alone, train_stack

SOFTMAX, REFINER = MECHANISMS["softmax"], MECHANISMS["refiner"]


def _models(case, number):
    return [build_small(case, seed) for seed in range(number)]


def _states_equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_state_is_the_members_own():
    models = _models(REFINER, 2)
    stack = stack_of(models)
    for member, model in enumerate(models):
        assert _states_equal(stack.member_state(member), model.state_dict())
    state = stack.member_state(0)
    next(iter(state.values())).zero_()
    assert _states_equal(stack.member_state(0), models[0].state_dict())


def test_parameters_have_the_single_models_names():
    model = build_small(MECHANISMS["groupmix"], 0)
    stack = stack_of([model, model, model])
    single = {name: tuple(value.shape) for name, value in model.named_parameters()}
    assert {name: tuple(value.shape[1:]) for name, value in stack.named_parameters()} == single


def test_a_loaded_state_replaces_one_member():
    models = _models(REFINER, 3)
    stack = stack_of(models[:2])
    stack.load_member_state(1, models[2].state_dict())
    assert _states_equal(stack.member_state(0), models[0].state_dict())
    assert _states_equal(stack.member_state(1), models[2].state_dict())


def test_a_state_of_another_model_is_refused():
    stack = stack_of(_models(SOFTMAX, 2))
    with pytest.raises(KeyError, match=r"blocks\.1\.attn\.DLA"):
        stack.load_member_state(0, build_small(REFINER, 0).state_dict())
    with pytest.raises(ValueError, match=r"head\.weight"):
        stack.load_member_state(0, build_small(SOFTMAX, 0).state_dict() | {"head.weight": torch.zeros(3, 40)})


def test_a_nan_stays_alone():
    given = batches(3, 3)
    sound, sick = stack_of(_models(REFINER, 3)), stack_of(_models(REFINER, 3))
    expected = train_stack(sound, given)
    given[1][0][1] = torch.nan
    found = train_stack(sick, given)
    assert found[1:, 1].isnan().all()
    assert torch.equal(found[:, [0, 2]], expected[:, [0, 2]])
    for member in (0, 2):
        assert _states_equal(sick.member_state(member), sound.member_state(member))


@pytest.mark.parametrize("stay", [[0, 2], [2]])
def test_who_stays_goes_on_as_if_the_others_had_never_been(stay):
    """In float64, where other sizes of products round differently by nothing that matters."""
    models = [model.double() for model in _models(REFINER, 3)]
    given = batches(4, 3, torch.float64)
    stack = stack_of(models)
    train_stack(stack, given[:2], torch.optim.SGD(stack.parameters(), lr=0.1))
    stack.select(stay)
    assert stack.size == len(stay)
    found = train_stack(stack, [(x[stay], y[stay]) for x, y in given[2:]], torch.optim.SGD(stack.parameters(), lr=0.1))
    alone = stack_of([models[member] for member in stay], seeds=stay)
    optimizer = torch.optim.SGD(alone.parameters(), lr=0.1)
    expected = train_stack(alone, [(x[stay], y[stay]) for x, y in given], optimizer)[2:]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)


def test_a_lone_member_shows_no_second_row():
    model = build_small(SOFTMAX, 0).double()
    given = batches(2, 1, torch.float64)
    stack = stack_of([model], seeds=[5])
    assert (stack.size, next(stack.parameters()).shape[0]) == (1, 2)
    assert stack(given[0][0]).shape == (1, 16, 10)
    found = train_stack(stack_of([model], seeds=[5]), given)
    torch.testing.assert_close(
        found[:, 0], train_alone(model, [(x[0], y[0]) for x, y in given], seed=5), rtol=1e-10, atol=0
    )


def test_models_that_differ_are_refused():
    one, other = build_small(SOFTMAX, 0), build_small(SOFTMAX | {"num_heads": 2}, 1)
    with pytest.raises(ValueError, match=r"models that differ are not stacked; they do in 'blocks.0.attn'"):
        stack_of([one, other])


def test_members_have_their_own_rates_of_dropout():
    rates = [0.1, 0.5]
    models = [build_small(SOFTMAX | {"proj_drop_rate": rate}, 0).double() for rate in rates]
    given = batches(2, 2, torch.float64)
    found = train_stack(stack_of(models), given)
    for member, model in enumerate(models):
        alone = train_alone(model, [(x[member], y[member]) for x, y in given], seed=member)
        torch.testing.assert_close(found[:, member], alone, rtol=1e-10, atol=0)


def test_as_many_generators_as_members():
    with pytest.raises(ValueError, match="1 models and 2 generators"):
        Stacked(_models(SOFTMAX, 1), generators=[torch.Generator(), torch.Generator()])


def test_averages_are_timms_member_by_member():
    models = _models(REFINER, 2)
    stack = stack_of(models)
    together = ModelEmaV3(stack, decay=0.7)
    alone = [ModelEmaV3(model, decay=0.7) for model in models]
    for step in range(1, 4):
        train_stack(stack, batches(1, 2), torch.optim.SGD(stack.parameters(), lr=0.1))
        together.update(stack, step=step)
        for member, average in enumerate(alone):
            models[member].load_state_dict(stack.member_state(member))
            average.update(models[member], step=step)
    average = together.module
    average.select([1, 0])
    for row, member in enumerate((1, 0)):
        expected = alone[member].module.state_dict()
        torch.testing.assert_close(average.member_state(row), expected, rtol=1e-6, atol=1e-7)
    assert stack.size == 2
    assert average.generators is not stack.generators
