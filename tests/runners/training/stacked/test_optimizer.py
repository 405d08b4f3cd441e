"""The optimiser of a stack against the members' single optimisers, and its states against theirs."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from modelzoo import build_model
from modelzoo.stacked import Stacked
from runners.training.optimization.optimizer import create_optimizer
from runners.training.precision import Precision
from runners.training.stacked.clipping import clip_members
from runners.training.stacked.optimizer import StackedOptimizer, reason_not_stacked
from search_space.schema.trial import ArchSpec, TrainSpec

SIZES = {"depth": 1, "embed_dim": 12, "num_heads": 2, "mlp_ratio": 2, "patch_size": 4, "qkv_bias": False}
ARCH = ArchSpec.model_validate(SIZES | {"attention": {"name": "reattention", "theta_bias": False}})
"""Without biases whose gradient is 0 in truth, of which optimisers make steps of rounding."""
KINDS = ["adamw", "adam", "sgd", "momentum", "nadam", "nadamw", "radam", "adamax", "adagrad", "rmsprop", "rmsproptf"]
KINDS += ["lion", "adabelief"]
CPU = torch.device("cpu")


def _models(number):
    return [build_model(ARCH, img_size=8, in_chans=1, num_classes=3, seed=seed).double() for seed in range(number)]


def _batches(steps, members):
    drawn = torch.Generator().manual_seed(1)
    images = torch.randn(steps, members, 16, 1, 8, 8, generator=drawn, dtype=torch.float64)
    return images, torch.randint(3, (steps, members, 16), generator=drawn)


def _stacked(models, trains):
    stack = Stacked(models, generators=[torch.Generator() for _ in models]).train()
    copies = [copy.deepcopy(model) for model in models]
    singles = [create_optimizer(model, train, CPU) for model, train in zip(copies, trains, strict=True)]
    return stack, StackedOptimizer(stack, copies, singles)


def _update(stack, optimizer, images, labels, train):
    optimizer.zero_grad()
    logits = stack(images)
    torch.stack([F.cross_entropy(*each) for each in zip(logits, labels, strict=True)]).sum().backward()
    clip_members(stack, train)
    optimizer.step()


def _update_alone(model, optimizer, images, labels, train):
    Precision("off", CPU).update(F.cross_entropy(model(images), labels), optimizer, model, train)


def _assert_equal_weights(stack, models):
    for member, model in enumerate(models):
        for name, value in stack.member_state(member).items():
            torch.testing.assert_close(value, model.state_dict()[name], rtol=1e-9, atol=1e-11, msg=name)


def _check(trains: list[TrainSpec], steps: int = 3) -> tuple[Any, Any, Any, Any]:
    models = _models(len(trains))
    stack, together = _stacked(models, trains)
    alone = [create_optimizer(model.train(), train, CPU) for model, train in zip(models, trains, strict=True)]
    images, labels = _batches(steps, len(trains))
    for x, y in zip(images, labels, strict=True):
        _update(stack, together, x, y, trains[0])
        for member, model in enumerate(models):
            _update_alone(model, alone[member], x[member], y[member], trains[member])
    _assert_equal_weights(stack, models)
    return stack, together, models, alone


def _train(**options):
    return TrainSpec.model_validate({"lr": 1e-2, "weight_decay": 0.1} | options)


@pytest.mark.parametrize("opt", KINDS)
def test_every_kind_updates_as_the_single_one(opt):
    train = _train(opt=opt)
    assert reason_not_stacked(train) is None
    _check([train, train])


def test_members_have_their_own_rates():
    """Also where one of them has no weight decay, so that its single optimiser has one group."""
    _check([_train(), _train(lr=1e-3), _train(weight_decay=0.0), _train(opt_betas=(0.5, 0.9))])


@pytest.mark.parametrize("options", [{"layer_decay": 0.5}, {"layer_decay": 0.5, "weight_decay": 0.0}])
def test_groups_are_those_of_the_single_optimizer(options):
    _check([_train(**options)] * 2)


@pytest.mark.parametrize("mode", ["norm", "value", "agc", "parameter"])
def test_every_member_is_clipped_by_itself(mode):
    most = {"norm": 0.3, "value": 0.01, "agc": 0.02, "parameter": 0.1}[mode]
    _check([_train(opt="sgd", lr=0.1, clip_mode=mode, clip_grad=most)] * 3)


def test_a_members_state_is_that_of_its_single_optimizer():
    _, together, _, alone = _check([_train(), _train(weight_decay=0.0)])
    for member, single in enumerate(alone):
        ours, theirs = together.member_state_dict(member), single.state_dict()
        assert ours["param_groups"] == theirs["param_groups"]
        assert ours["state"].keys() == theirs["state"].keys()
        for index, held in theirs["state"].items():
            for name, value in held.items():
                torch.testing.assert_close(ours["state"][index][name], value, rtol=1e-9, atol=1e-13)
        single.load_state_dict(ours)


@pytest.mark.parametrize("opt", ["adamw", "sgd", "nadam"])
def test_states_go_over_to_another_stack_bit_for_bit(opt):
    train = _train(opt=opt)
    stack, optimizer, *_ = _check([train, train])
    images, labels = _batches(5, 2)
    other, another = _stacked(_models(2), [train, train])
    for member in range(2):
        other.load_member_state(member, stack.member_state(member))
        another.load_member_state_dict(member, optimizer.member_state_dict(member))
    for x, y in zip(images[3:], labels[3:], strict=True):
        _update(stack, optimizer, x, y, train)
        _update(other, another, x, y, train)
    assert all(torch.equal(*pair) for pair in zip(stack.parameters(), other.parameters(), strict=True))


def test_a_state_of_another_optimizer_is_refused():
    _, optimizer = _stacked(_models(2), [_train(), _train()])
    state = create_optimizer(_models(1)[0], _train(weight_decay=0.0), CPU).state_dict()
    with pytest.raises(ValueError, match="an optimizer's state with groups of"):
        optimizer.load_member_state_dict(0, state)


@pytest.mark.parametrize("stay", [[0, 2], [1]])
def test_who_stays_goes_on_as_it_would_alone(stay):
    trains = [_train(lr=lr) for lr in (1e-2, 1e-3, 3e-3)]
    stack, optimizer, models, alone = _check(trains)
    stack.select(stay)
    optimizer.select(stay)
    images, labels = _batches(6, 3)
    for x, y in zip(images[3:], labels[3:], strict=True):
        _update(stack, optimizer, x[stay], y[stay], trains[0])
        for member in stay:
            _update_alone(models[member], alone[member], x[member], y[member], trains[member])
    _assert_equal_weights(stack, [models[member] for member in stay])


def test_frozen_weights_stay():
    models = _models(2)
    for model in models:
        model.get_submodule("patch_embed").requires_grad_(False)
    before = models[0].get_parameter("patch_embed.proj.weight").clone()
    stack, optimizer = _stacked(models, [_train(), _train()])
    images, labels = _batches(1, 2)
    _update(stack, optimizer, images[0], labels[0], _train())
    assert torch.equal(stack.member_state(0)["patch_embed.proj.weight"], before)
    assert not torch.equal(stack.member_state(0)["head.weight"], models[0].get_parameter("head.weight"))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"opt": "lamb"}, "its optimizer 'lamb' is not one that updates every weight's entries by themselves"),
        ({"opt": "muon"}, "its optimizer 'muon' is not one that updates every weight's entries by themselves"),
        ({"opt": "lookahead_adamw"}, "its optimizer 'lookahead_adamw' is not one that updates"),
        ({"opt": "clion"}, "its optimizer 'clion' looks at whole weights (caution)"),
    ],
)
def test_optimizers_that_look_at_whole_weights_are_not_stacked(options, reason):
    assert str(reason_not_stacked(TrainSpec.model_validate(options))).startswith(reason)
