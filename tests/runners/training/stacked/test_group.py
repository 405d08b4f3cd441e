"""Trials that train as one stacked model: each is what it is alone, and no matter which are beside it."""

from __future__ import annotations

import pytest
import torch

from results import Failure
from runners.training.trial import run_trial
from runners.trials.form import stack_of
from search_space import Resources, trial_id
from search_space.schema.sweep import Checkpoints
from search_space.schema.trial import ClassificationSpec

from .conftest import OFTEN, SHAPES, dies_in_epoch, specs_of, train, train_members, weights, what


@pytest.mark.default_run("seeds1", "seeds2")
@pytest.mark.parametrize("seeds", [(2,), (2, 0), (1, 3, 2), (4, 5, 6, 2, 7, 8)])
def test_a_member_does_not_depend_on_who_is_in_its_group(whole, tmp_path, seeds):
    folder, expected = whole
    found = train(specs_of(*seeds), tmp_path)
    assert what(found[2]) == what(expected[2])
    (spec,) = specs_of(2)
    ours, theirs = weights(tmp_path, spec), weights(folder, spec)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours.keys() | theirs.keys())


@pytest.mark.parametrize("attention", ["softmax", "reattention", "refiner", "groupmix"])
def test_a_member_trains_as_the_trial_by_itself(attention):
    """One update, after which float32 has not yet amplified how sums were rounded: losses agree to seven digits."""
    specs = specs_of(0, 1, attention=attention, epochs=1, warmup_epochs=0, batch_size=48)
    found = train(specs, checkpoints=Checkpoints())
    for spec in specs:
        single = run_trial(spec, report=lambda point: False, resources=Resources(), keep_predictions=True)
        together = found[spec.seed]
        assert together.metrics["loss"] == pytest.approx(single.metrics["loss"], rel=1e-5)
        assert together.curve[0]["train_loss"] == pytest.approx(single.curve[0]["train_loss"], rel=1e-6)
        assert (together.costs, together.precision, together.device) == (single.costs, "float32", "cpu")


@pytest.mark.parametrize("measured", [{}, {"val_fraction": 0.25, "tta": "hflip"}, {"test_img_size": 12}])
def test_a_member_is_measured_as_the_trial_by_itself(measured):
    """37 images in batches of 16, the last one of 5; the average of weights that have hardly changed is measured."""
    task = ClassificationSpec(dataset=SHAPES.model_copy(update={"num_test": 37}), **measured)
    few = {"epochs": 1, "warmup_epochs": 0, "lr": 1e-6, "attention": "refiner"}
    specs = [spec.model_copy(update={"task": task}) for spec in specs_of(0, 1, **few)]
    found = train(specs, checkpoints=Checkpoints())
    for spec in specs:
        single = run_trial(spec, report=lambda point: False, resources=Resources(), keep_predictions=True)
        together = found[spec.seed]
        assert together.metrics == pytest.approx(single.metrics, rel=1e-5)
        assert together.correct == single.correct


def test_members_of_other_variants_change_nothing(whole, tmp_path):
    """Each has its own rates of learning, decay, smoothing and dropout."""
    folder, expected = whole
    spec, other = specs_of(2, 1)
    own = {"lr": 5e-3, "min_lr": 1e-4, "warmup_lr": 1e-4, "warmup_epochs": 2, "weight_decay": 0.2, "smoothing": 0.0}
    rates = {"drop_path_rate": 0.4, "proj_drop_rate": 0.3}
    differs = other.model_copy(
        update={"train": other.train.model_copy(update=own), "arch": other.arch.model_copy(update=rates)}
    )
    assert stack_of(differs.setting) == stack_of(spec.setting)
    both = train_members([differs, spec], tmp_path)
    assert what(both[trial_id(spec)]) == what(expected[2])
    ours, theirs = weights(tmp_path, spec), weights(folder, spec)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours.keys() | theirs.keys())
    alone = train_members([differs], tmp_path / "alone")
    assert what(both[trial_id(differs)]) == what(alone[trial_id(differs)])


def test_a_member_of_another_variant_trains_as_the_trial_by_itself():
    """One update, whose losses show smoothing, rate and dropout; the second epoch shows the schedule."""
    spec, other = specs_of(0, 1, epochs=2, warmup_epochs=1, batch_size=48)
    own = {"lr": 2e-3, "warmup_lr": 1e-3, "weight_decay": 0.5, "smoothing": 0.3}
    differs = other.model_copy(update={"train": other.train.model_copy(update=own)})
    found = train_members([spec, differs], None, checkpoints=Checkpoints())[trial_id(differs)]
    single = run_trial(differs, report=lambda point: False, resources=Resources(), keep_predictions=True)
    assert [point["train_loss"] for point in found.curve] == pytest.approx(
        [point["train_loss"] for point in single.curve], rel=1e-5
    )
    assert found.metrics["loss"] == pytest.approx(single.metrics["loss"], rel=1e-5)


def test_a_member_that_diverges_fails_alone(whole, tmp_path):
    """Its checkpoint holds a NaN: the others are bit for bit as without it."""
    _, expected = whole
    specs = specs_of(0, 1, 2, 3)
    with pytest.raises(KeyboardInterrupt):
        train(specs, tmp_path, report=dies_in_epoch(2))
    path = tmp_path / "trials" / trial_id(specs[1]) / "checkpoint.pt"
    stored = torch.load(path, weights_only=True)
    stored["state"]["task"]["model"]["head.bias"].fill_(float("nan"))
    torch.save(stored, path)
    found = train(specs, tmp_path)
    assert isinstance(found[1], Failure)
    assert (found[1].type, found[1].epoch) == ("NonFiniteLoss", 2)
    assert [what(found[seed]) for seed in (0, 2, 3)] == [what(expected[seed]) for seed in (0, 2, 3)]


@pytest.mark.slow
def test_a_member_that_diverges_within_an_update_leaves_the_gradients_of_the_others(tmp_path):
    """Losses are looked at after 100 batches, where an update of three batches has had one."""
    dataset = SHAPES.model_copy(update={"num_train": 16 * 104})
    specs = [
        each.model_copy(update={"task": ClassificationSpec(dataset=dataset)})
        for each in specs_of(0, 1, 2, epochs=2, grad_accum_steps=3)
    ]
    with pytest.raises(KeyboardInterrupt):
        train(specs, tmp_path, report=dies_in_epoch(2))
    path = tmp_path / "trials" / trial_id(specs[0]) / "checkpoint.pt"
    stored = torch.load(path, weights_only=True)
    stored["state"]["task"]["model"]["head.bias"].fill_(float("nan"))
    torch.save(stored, path)
    found, expected = train(specs, tmp_path), train(specs)
    assert isinstance(found[0], Failure)
    assert [what(found[seed]) for seed in (1, 2)] == [what(expected[seed]) for seed in (1, 2)]


def test_a_member_that_is_stopped_leaves_the_others_as_they_are(whole):
    _, expected = whole
    first, *_ = specs = specs_of(0, 1, 2, 3)
    found = train(specs, report=lambda points: ([trial_id(first)] if len(points) == 4 else (), ()))
    assert (found[0].status, found[0].epochs, found[0].metrics) == ("pruned", 1, {})
    assert [what(found[seed]) for seed in (1, 2, 3)] == [what(expected[seed]) for seed in (1, 2, 3)]


def test_after_the_last_epoch_no_member_is_stopped(whole):
    _, expected = whole
    stop = lambda points: ([key for key, point in points.items() if point["epoch"] == 3], ())  # noqa: E731
    found = train(specs_of(0, 1), report=stop)
    assert [what(found[seed]) for seed in (0, 1)] == [what(expected[seed]) for seed in (0, 1)]


def test_every_member_resumes_from_its_own_checkpoint(whole, tmp_path):
    """Of four members one has no checkpoint of the second epoch, as after a kill between two of them."""
    folder, expected = whole
    specs = specs_of(0, 1, 2, 3)
    with pytest.raises(KeyboardInterrupt):
        train(specs, tmp_path, report=dies_in_epoch(3))
    (tmp_path / "trials" / trial_id(specs[3]) / "checkpoint.pt").unlink()
    resumed = {}
    found = train(specs, tmp_path, on_resume=resumed.__setitem__)
    assert {key: len(curve) for key, curve in resumed.items()} == {trial_id(spec): 2 for spec in specs[:3]}
    assert {seed: what(each) for seed, each in found.items()} == {seed: what(each) for seed, each in expected.items()}
    for spec in specs:
        ours, theirs = weights(tmp_path, spec), weights(folder, spec)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_preempted_group_continues_in_the_middle_of_an_epoch(whole, tmp_path):
    _, expected = whole
    specs = specs_of(0, 1, 2, 3)
    calls = iter(range(100))
    found = train(specs, tmp_path, is_preempted=lambda: next(calls) >= 4)
    assert [each.status for each in found.values()] == ["preempted"] * 4
    found = train(specs, tmp_path)
    assert {seed: what(each) for seed, each in found.items()} == {seed: what(each) for seed, each in expected.items()}


def test_a_checkpoint_of_one_form_is_not_continued_by_the_other(tmp_path, capsys):
    (spec,) = specs_of(0)
    calls = iter(range(100))
    folder = tmp_path / "trials" / trial_id(spec)
    options = {"report": lambda point: False, "resources": Resources(), "directory": folder, "checkpoints": OFTEN}
    run_trial(spec, **options, is_preempted=lambda: next(calls) >= 4)
    train([spec], tmp_path)
    assert "checkpoint.pt ignored, the trial starts from scratch: it is of other data, code or software" in (
        capsys.readouterr().out
    )
