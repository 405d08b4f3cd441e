"""Trials that join a group after an epoch: no member's numbers change, whenever members come, go, fail or are saved."""

from __future__ import annotations

import pytest
import torch

from results import Failure
from runners.training.trial import run_trial
from search_space import Resources, trial_id
from search_space.schema.sweep import Checkpoints
from search_space.schema.trial import ClassificationSpec

from .conftest import SHAPES, dies_in_epoch, specs_of, train, train_members, weights, what


def refills(after, joins, *, stop=(), then=None):
    """Callback that lets trials join, and members stop, after the report of this number, counted from 1."""
    calls = iter(range(1, 100))

    def report(points):
        number = next(calls)
        if then is not None and number > after:
            return then(points)
        return ([trial_id(each) for each in stop], joins) if number == after else ((), ())

    return report


def same_weights(folder, other, spec):
    ours, theirs = weights(folder, spec), weights(other, spec)
    return all(torch.equal(ours[name], theirs[name]) for name in ours.keys() | theirs.keys())


@pytest.mark.default_run("2")
@pytest.mark.parametrize("after", [1, 2])
def test_a_trial_that_joins_changes_no_digit_of_any_member(whole, tmp_path, after):
    """It takes the place of one that was stopped, and goes on when the others have completed. Weights are averaged,
    whose first update has a decay of its own."""
    folder, expected = whole
    first, *others, late = specs = specs_of(0, 1, 2, 3)
    order = []

    def report(points, answer=refills(after, [late], stop=[first])):
        order.append(sorted((points[trial_id(each)]["epoch"]) for each in specs if trial_id(each) in points))
        return answer(points)

    ended = train_members([first, *others], tmp_path, report=report)
    found = {spec.seed: ended[trial_id(spec)] for spec in specs}
    assert (found[0].status, found[0].epochs) == ("pruned", after)
    assert [what(found[seed]) for seed in (1, 2, 3)] == [what(expected[seed]) for seed in (1, 2, 3)]
    assert all(same_weights(tmp_path, folder, spec) for spec in (*others, late))
    together = {1: [[1] * 3, [1, 2, 2], [2, 3, 3], [3]], 2: [[1] * 3, [2] * 3, [1, 3, 3], [2], [3]]}
    assert order == together[after]


@pytest.mark.default_run("reattention-options2")
@pytest.mark.parametrize(
    ("attention", "options"),
    [
        ("groupmix", {"opt": "sgd", "grad_accum_steps": 3, "ema_decay": None}),
        ("refiner", {"opt": "nadamw", "sched": "step", "decay_epochs": 1}),
        ("reattention", {"opt": "rmsprop", "ema_decay": None, "mixup_off_epoch": 2}),
    ],
)
def test_statistics_moments_and_schedules_of_members_are_their_own(tmp_path, attention, options):
    specs = specs_of(0, 1, 2, attention=attention, **options)
    expected = train(specs, tmp_path / "whole")
    found = train_members(specs[:2], tmp_path / "refilled", report=refills(1, specs[2:], stop=specs[:1]))
    for spec in specs[1:]:
        assert what(found[trial_id(spec)]) == what(expected[spec.seed])
        assert same_weights(tmp_path / "refilled", tmp_path / "whole", spec)


def test_a_trial_that_joins_trains_as_the_trial_by_itself(tmp_path):
    """One update an epoch, after which float32 has not yet amplified how sums were rounded."""
    first, late = specs_of(0, 1, epochs=2, batch_size=48)
    found = train_members([first], report=refills(1, [late]), checkpoints=Checkpoints())[trial_id(late)]
    single = run_trial(late, report=lambda point: False, resources=Resources(), keep_predictions=True)
    ours, theirs = ([point["train_loss"] for point in each.curve] for each in (found, single))
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_a_trial_that_cannot_be_set_up_fails_alone(whole):
    _, expected = whole
    first, *others, late = specs_of(0, 1, 2, 3)
    broken = late.model_copy(update={"arch": late.arch.model_copy(update={"embed_dim": 21})})
    found = train_members([first, *others], report=refills(1, [broken, late], stop=[first]))
    assert isinstance(found[trial_id(broken)], Failure)
    assert [what(found[trial_id(spec)]) for spec in (*others, late)] == [what(expected[seed]) for seed in (1, 2, 3)]


@pytest.mark.default_run("within an epoch")
@pytest.mark.parametrize("position", ["after an epoch", "within an epoch"])
def test_a_trial_may_join_from_its_own_checkpoint(whole, tmp_path, position):
    """Within an epoch it trains the rest of that by itself first."""
    folder, expected = whole
    first, *others, late = specs_of(0, 1, 2, 3)
    if position == "after an epoch":
        with pytest.raises(KeyboardInterrupt):
            train([late], tmp_path, report=dies_in_epoch(3))
    else:
        calls = iter(range(100))
        train([late], tmp_path, is_preempted=lambda: next(calls) >= 4)
    resumed = {}
    report = refills(1, [late], stop=[first])
    found = train_members([first, *others], tmp_path, report=report, on_resume=resumed.__setitem__)
    assert resumed.keys() == {trial_id(late)}
    assert [what(found[trial_id(spec)]) for spec in (*others, late)] == [what(expected[seed]) for seed in (1, 2, 3)]
    assert all(same_weights(tmp_path, folder, spec) for spec in (*others, late))


def test_after_a_kill_members_of_different_epochs_train_together_again(whole, tmp_path):
    folder, expected = whole
    first, *others, late = specs = specs_of(0, 1, 2, 3)
    with pytest.raises(KeyboardInterrupt):  # when the last one has trained one epoch less than the others
        train_members([first, *others], tmp_path, report=refills(1, [late], then=dies_in_epoch(3)))
    reported = []
    found = train_members(specs, tmp_path, report=lambda points: (reported.append(len(points)), ((), ()))[1])
    assert [what(found[trial_id(spec)]) for spec in specs] == [what(expected[seed]) for seed in range(4)]
    assert all(same_weights(tmp_path, folder, spec) for spec in specs)
    assert reported == [4, 1]


def test_a_group_that_was_refilled_is_preempted_as_a_whole(whole, tmp_path):
    _, expected = whole
    first, *others, late = specs = specs_of(0, 1, 2, 3)
    calls = iter(range(100))  # three updates an epoch
    report = refills(1, [late], stop=[first])
    found = train_members([first, *others], tmp_path, report=report, is_preempted=lambda: next(calls) >= 5)
    assert [found[trial_id(spec)].status for spec in specs] == ["pruned", *["preempted"] * 3]
    again = train_members([*others, late], tmp_path)
    assert [what(again[trial_id(spec)]) for spec in (*others, late)] == [what(expected[seed]) for seed in (1, 2, 3)]


def test_while_an_average_warms_up_members_of_a_stack_are_at_one_epoch(tmp_path):
    """Its decay depends on the number of updates: those behind train by themselves until they are at one epoch."""
    warm = {"model_ema_warmup": True, "ema_decay": 0.99}
    specs = specs_of(0, 1, 2, **warm)
    expected = train(specs, tmp_path / "whole")
    reported = []

    def report(points, answer=refills(1, specs[2:], stop=specs[:1])):
        reported.append(sorted(point["epoch"] for point in points.values()))
        return answer(points)

    found = train_members(specs[:2], tmp_path / "refilled", report=report)
    for spec in specs[1:]:
        assert what(found[trial_id(spec)]) == what(expected[spec.seed])
        assert same_weights(tmp_path / "refilled", tmp_path / "whole", spec)
    assert reported == [[1, 1], [1], [2, 2], [3, 3]]


def test_trials_join_members_that_are_measured_by_their_own_models(tmp_path):
    """At a test size of its own."""
    task = ClassificationSpec(dataset=SHAPES, test_img_size=12)
    specs = [spec.model_copy(update={"task": task}) for spec in specs_of(0, 1, 2, ema_decay=None)]
    expected = train(specs)
    found = train_members(specs[:2], report=refills(1, specs[2:], stop=specs[:1]))
    assert [what(found[trial_id(spec)]) for spec in specs[1:]] == [what(expected[seed]) for seed in (1, 2)]
