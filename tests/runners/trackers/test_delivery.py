"""Events that a tracker gets, and when: each once, whatever happened to trial, driver or tracker in between."""

from __future__ import annotations

import pytest

from results import Failure, TrialRecord
from results.store.run_layout import RunDir
from runners.trackers.contract import TrackedSweep
from runners.trackers.delivery import Delivered, Delivery
from search_space.schema.tracking import TensorBoardSpec

SPEC = {"arch": {"depth": 2, "num_heads": None, "attention": {"name": "softmax"}}, "train": {"lr": 0.1}, "seed": 3}


class Recorder:
    """A tracker that records its calls. `known`: the last epoch that it reports to have of a run."""

    notes = ()

    def __init__(self, known=0):
        self.calls, self.known, self.runs = [], known, {}

    def start(self, run):
        self.runs[run.id] = run
        self.calls.append(("start", run.name))
        return self.known

    def epoch(self, run, epoch, metrics):
        self.calls.append((epoch, metrics["top1"]))

    def end(self, run, ending):
        self.calls.append((ending.status, dict(ending.numbers), dict(ending.words)))

    def interrupt(self, run):
        self.calls.append(("interrupt", run.name))

    def table(self, files):
        self.calls.append(("table", [file.name for file in files]))

    def close(self):
        self.calls.append(("close",))


def record(status="completed", epochs=2, **fields):
    fields = {"trial_id": "abc", "variant_id": "v", "variant": "depth=2", "seed": 3, "spec": SPEC, **fields}
    curve = [point(epoch) for epoch in range(1, epochs + 1)]
    metrics = {"top1": 10.0 * epochs} if status == "completed" else {}
    return TrialRecord(status=status, epochs=epochs, curve=curve, metrics=metrics, **fields)


def point(epoch):
    return {"epoch": epoch, "top1": 10.0 * epoch}


def fields_of(one):
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


def test_a_watched_trial_is_delivered_as_it_happens(deliver):
    recorder, one = Recorder(), record()
    delivery = deliver(recorder)
    delivery.start(fields_of(one))
    delivery.epoch(fields_of(one), point(1))
    delivery.epoch(fields_of(one), point(2))
    delivery.end(one)
    delivery.close()
    assert recorder.calls == [("start", "depth=2 seed=3"), (1, 10.0), (2, 20.0), DONE, ("close",)]
    (run,) = recorder.runs.values()
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


def test_an_unwatched_record_is_delivered_in_whole_and_once(deliver):
    """Trials taken over from a cache, and all of a sweep to which `track` was added later."""
    one = record(cached_from="runs/other", params_m=0.5)
    first, second = Recorder(), Recorder()
    deliver(first).catch_up([one, one])
    deliver(second).catch_up([one])
    words = {"status": "completed", "cached_from": "runs/other"}
    numbers = {"top1": 20.0, "params_m": 0.5}
    assert first.calls == [("start", "depth=2 seed=3"), (1, 10.0), (2, 20.0), ("completed", numbers, words)]
    assert second.calls == []


def test_a_proposal_that_was_never_trained_is_a_run_without_a_curve(deliver):
    recorder = Recorder()
    failure = Failure(type="Infeasible", message="params_m <= 1 must hold, but got 2")
    deliver(recorder).catch_up([record("infeasible", epochs=0, failure=failure)])
    words = {"status": "infeasible", "failure": "Infeasible: params_m <= 1 must hold, but got 2"}
    assert recorder.calls == [("start", "depth=2 seed=3"), ("infeasible", {}, words)]


def test_epochs_that_a_trial_repeats_from_a_checkpoint_are_delivered_once(deliver):
    recorder, one = Recorder(), record(epochs=3)
    delivery = deliver(recorder)
    delivery.start(fields_of(one))
    for epoch in (1, 2, 1, 2, 3):
        delivery.epoch(fields_of(one), point(epoch))
    assert recorder.calls[1:] == [(1, 10.0), (2, 20.0), (3, 30.0)]


def test_a_tracker_that_remembers_epochs_gets_the_others(deliver):
    recorder = Recorder(known=2)
    deliver(recorder).catch_up([record(epochs=3)])
    assert [entry[0] for entry in recorder.calls] == ["start", 3, "completed"]


def test_a_preempted_trial_continues_the_run_that_it_had(deliver):
    recorder = Recorder()
    delivery = deliver(recorder)
    preempted, done = record("preempted", epochs=1), record(epochs=2)
    delivery.start(fields_of(preempted))
    delivery.epoch(fields_of(preempted), point(1))
    delivery.end(preempted)
    delivery.start(fields_of(done))
    delivery.epoch(fields_of(done), point(1))
    delivery.epoch(fields_of(done), point(2))
    delivery.end(done)
    assert [entry[0] for entry in recorder.calls] == ["start", 1, "preempted", "start", 1, 2, "completed"]
    assert list(recorder.runs) == ["0123-abc-1"]


def test_a_preempted_record_alone_is_not_caught_up_on(deliver):
    """The trial runs on later and is delivered then."""
    recorder = Recorder()
    deliver(recorder).catch_up([record("preempted", epochs=1)])
    assert recorder.calls == []


def test_a_retried_trial_is_a_run_of_its_own(deliver):
    recorder = Recorder()
    failure = Failure(type="NonFiniteLoss", message="training loss is nan in epoch 1")
    deliver(recorder).catch_up([record("failed", epochs=0, failure=failure), record(attempt=2)])
    assert list(recorder.runs) == ["0123-abc-1", "0123-abc-2"]
    assert [run.name for run in recorder.runs.values()] == ["depth=2 seed=3", "depth=2 seed=3 attempt=2"]


def test_what_runs_when_the_driver_ends_is_interrupted_and_delivered_again_later(deliver):
    first, second, one = Recorder(), Recorder(), record()
    delivery = deliver(first)
    delivery.start(fields_of(one))
    delivery.epoch(fields_of(one), point(1))
    delivery.close()
    assert first.calls[2:] == [("interrupt", "depth=2 seed=3"), ("close",)]
    deliver(second).catch_up([one])
    assert second.calls == [("start", "depth=2 seed=3"), (1, 10.0), (2, 20.0), DONE]
    assert list(first.runs) == list(second.runs)


def test_a_trial_that_was_caught_up_on_is_not_delivered_again_by_its_events(deliver):
    """The ledger may be ahead of the queue."""
    recorder, one = Recorder(), record()
    delivery = deliver(recorder)
    delivery.catch_up([one])
    calls = list(recorder.calls)
    delivery.start(fields_of(one))
    delivery.epoch(fields_of(one), point(1))
    delivery.end(one)
    assert recorder.calls == calls


def test_another_place_gets_everything(deliver, tmp_path):
    deliver(Recorder()).catch_up([record()])
    elsewhere = Recorder()
    deliver(elsewhere, TensorBoardSpec(dir=str(tmp_path / "boards"))).catch_up([record()])
    assert elsewhere.calls[-1] == DONE


def test_a_torn_note_costs_a_repetition_only(deliver, tmp_path):
    deliver(Recorder()).catch_up([record(), record(trial_id="def")])
    path = tmp_path / "tracking" / "tensorboard.jsonl"
    path.write_text(path.read_text()[:-9])
    again = Recorder()
    deliver(again).catch_up([record(), record(trial_id="def")])
    assert list(again.runs) == ["0123-def-1"]
    once_more = Recorder()
    deliver(once_more).catch_up([record(), record(trial_id="def")])
    assert once_more.calls == []


def test_trials_that_tune_an_arm_are_marked(deliver):
    recorder = Recorder()
    deliver(recorder).catch_up([record(role="retune")])
    assert [run.role for run in recorder.runs.values()] == ["retune"]
