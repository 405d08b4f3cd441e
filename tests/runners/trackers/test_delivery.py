"""What a tracker is told, and when: everything once, whatever happened to trial, driver or tracker in between."""

from __future__ import annotations

import pytest

from results import Failure, TrialRecord
from results.store.run_layout import RunDir
from runners.trackers.contract import TrackedSweep
from runners.trackers.delivery import Delivered, Delivery
from search_space.schema.tracking import TensorBoardSpec

SPEC = {"arch": {"depth": 2, "num_heads": None, "attention": {"name": "softmax"}}, "train": {"lr": 0.1}, "seed": 3}


class Teller:
    """A tracker that notes what it is told. `known`: the last epoch that it says to have of a run."""

    notes = ()

    def __init__(self, known=0):
        self.told, self.known, self.runs = [], known, {}

    def start(self, run):
        self.runs[run.id] = run
        self.told.append(("start", run.name))
        return self.known

    def epoch(self, run, epoch, metrics):
        self.told.append((epoch, metrics["top1"]))

    def end(self, run, ending):
        self.told.append((ending.status, dict(ending.numbers), dict(ending.words)))

    def interrupt(self, run):
        self.told.append(("interrupt", run.name))

    def table(self, files):
        self.told.append(("table", [file.name for file in files]))

    def close(self):
        self.told.append(("close",))


def record(status="completed", epochs=2, **fields):
    fields = {"trial_id": "abc", "variant_id": "v", "variant": "depth=2", "seed": 3, "spec": SPEC, **fields}
    curve = [point(epoch) for epoch in range(1, epochs + 1)]
    metrics = {"top1": 10.0 * epochs} if status == "completed" else {}
    return TrialRecord(status=status, epochs=epochs, curve=curve, metrics=metrics, **fields)


def point(epoch):
    return {"epoch": epoch, "top1": 10.0 * epoch}


def told_of(one):
    return one.model_dump(include={"trial_id", "variant_id", "variant", "seed", "attempt", "role", "spec"})


@pytest.fixture
def deliver(tmp_path):
    """A delivery to a tracker as one process makes it; called again, it is a later process in the same run."""
    (tmp_path / "tracking").mkdir()
    sweep = TrackedSweep("s", RunDir(tmp_path), "0123")

    def deliver_(tracker, options=None):
        return Delivery(tracker, sweep, Delivered(options or TensorBoardSpec(), RunDir(tmp_path)))

    return deliver_


DONE = ("completed", {"top1": 20.0}, {"status": "completed"})


def test_a_watched_trial_is_told_as_it_happens(deliver):
    teller, one = Teller(), record()
    delivery = deliver(teller)
    delivery.start(told_of(one))
    delivery.epoch(told_of(one), point(1))
    delivery.epoch(told_of(one), point(2))
    delivery.end(one)
    delivery.close()
    assert teller.told == [("start", "depth=2 seed=3"), (1, 10.0), (2, 20.0), DONE, ("close",)]
    (run,) = teller.runs.values()
    assert run.id == "0123-abc-1"
    assert run.config == {
        "arch.depth": 2,
        "arch.attention.name": "softmax",
        "train.lr": 0.1,
        "seed": 3,
        "variant": "depth=2",
        "variant_id": "v",
        "trial_id": "abc",
        "attempt": 1,
        "sweep": "s",
    }


def test_a_record_that_nobody_watched_is_told_in_whole_and_once(deliver):
    """Trials taken over from a cache, and all of a sweep to which `track` was added later."""
    one = record(cached_from="runs/other", params_m=0.5)
    first, second = Teller(), Teller()
    deliver(first).catch_up([one, one])
    deliver(second).catch_up([one])
    words = {"status": "completed", "cached_from": "runs/other"}
    numbers = {"top1": 20.0, "params_m": 0.5}
    assert first.told == [("start", "depth=2 seed=3"), (1, 10.0), (2, 20.0), ("completed", numbers, words)]
    assert second.told == []


def test_a_proposal_that_was_never_trained_is_a_run_without_a_curve(deliver):
    teller = Teller()
    failure = Failure(type="Infeasible", message="params_m <= 1 must hold, but got 2")
    deliver(teller).catch_up([record("infeasible", epochs=0, failure=failure)])
    words = {"status": "infeasible", "failure": "Infeasible: params_m <= 1 must hold, but got 2"}
    assert teller.told == [("start", "depth=2 seed=3"), ("infeasible", {}, words)]


def test_epochs_that_a_trial_repeats_from_a_checkpoint_are_told_once(deliver):
    teller, one = Teller(), record(epochs=3)
    delivery = deliver(teller)
    delivery.start(told_of(one))
    for epoch in (1, 2, 1, 2, 3):
        delivery.epoch(told_of(one), point(epoch))
    assert teller.told[1:] == [(1, 10.0), (2, 20.0), (3, 30.0)]


def test_a_tracker_that_remembers_epochs_is_told_the_others(deliver):
    teller = Teller(known=2)
    deliver(teller).catch_up([record(epochs=3)])
    assert [entry[0] for entry in teller.told] == ["start", 3, "completed"]


def test_a_preempted_trial_continues_the_run_that_it_had(deliver):
    teller = Teller()
    delivery = deliver(teller)
    preempted, done = record("preempted", epochs=1), record(epochs=2)
    delivery.start(told_of(preempted))
    delivery.epoch(told_of(preempted), point(1))
    delivery.end(preempted)
    delivery.start(told_of(done))
    delivery.epoch(told_of(done), point(1))
    delivery.epoch(told_of(done), point(2))
    delivery.end(done)
    assert [entry[0] for entry in teller.told] == ["start", 1, "preempted", "start", 1, 2, "completed"]
    assert list(teller.runs) == ["0123-abc-1"]


def test_a_preempted_record_alone_is_not_caught_up_on(deliver):
    """The trial runs on later and is told then."""
    teller = Teller()
    deliver(teller).catch_up([record("preempted", epochs=1)])
    assert teller.told == []


def test_a_retried_trial_is_a_run_of_its_own(deliver):
    teller = Teller()
    failure = Failure(type="NonFiniteLoss", message="training loss is nan in epoch 1")
    deliver(teller).catch_up([record("failed", epochs=0, failure=failure), record(attempt=2)])
    assert list(teller.runs) == ["0123-abc-1", "0123-abc-2"]
    assert [run.name for run in teller.runs.values()] == ["depth=2 seed=3", "depth=2 seed=3 attempt=2"]


def test_what_runs_when_the_driver_ends_is_interrupted_and_told_anew_later(deliver):
    first, second, one = Teller(), Teller(), record()
    delivery = deliver(first)
    delivery.start(told_of(one))
    delivery.epoch(told_of(one), point(1))
    delivery.close()
    assert first.told[2:] == [("interrupt", "depth=2 seed=3"), ("close",)]
    deliver(second).catch_up([one])
    assert second.told == [("start", "depth=2 seed=3"), (1, 10.0), (2, 20.0), DONE]
    assert list(first.runs) == list(second.runs)


def test_a_trial_that_was_caught_up_on_is_not_told_again_by_those_who_watched_it(deliver):
    """The ledger may be ahead of the queue."""
    teller, one = Teller(), record()
    delivery = deliver(teller)
    delivery.catch_up([one])
    told = list(teller.told)
    delivery.start(told_of(one))
    delivery.epoch(told_of(one), point(1))
    delivery.end(one)
    assert teller.told == told


def test_another_place_is_told_everything(deliver, tmp_path):
    deliver(Teller()).catch_up([record()])
    elsewhere = Teller()
    deliver(elsewhere, TensorBoardSpec(dir=str(tmp_path / "boards"))).catch_up([record()])
    assert elsewhere.told[-1] == DONE


def test_a_torn_note_costs_a_repetition_only(deliver, tmp_path):
    deliver(Teller()).catch_up([record(), record(trial_id="def")])
    path = tmp_path / "tracking" / "tensorboard.jsonl"
    path.write_text(path.read_text()[:-9])
    again = Teller()
    deliver(again).catch_up([record(), record(trial_id="def")])
    assert list(again.runs) == ["0123-def-1"]
    once_more = Teller()
    deliver(once_more).catch_up([record(), record(trial_id="def")])
    assert once_more.told == []


def test_trials_that_tune_an_arm_are_marked(deliver):
    teller = Teller()
    deliver(teller).catch_up([record(role="retune")])
    assert [run.role for run in teller.runs.values()] == ["retune"]
