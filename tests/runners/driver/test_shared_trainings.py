"""Trials that share a training: what the driver hands out, records and repeats."""

from __future__ import annotations

import json

import pytest

from results import Failure, Run, read_ledger
from runners.driver.orchestrator import Orchestrator
from runners.planning.make_plan import make_plan
from runners.run_sweep import run_sweep
from runners.trials.assignment import Place
from runners.trials.outcome import Outcome
from search_space import load_sweep

CROPS = """
    name: crops
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
      task: {name: classification, dataset: {name: builtin/shapes, img_size: 16, num_train: 64, num_test: 32}}
      train: {epochs: 2, batch_size: 16, lr: 0.003}
    space:
      arch.depth: [1, 2]
      task.crop_pct: [1.0, 0.75, 1.25]
    design: factorial
    seeds: 2
    metric: top1
    keep_predictions: true
"""
TIMES = {"train_seconds", "total_seconds", "finished_at", "session", "resumed_from_epoch"}


def completed(assignment, top1=50.0) -> Outcome:
    def one(value: float, seconds: float) -> Outcome:
        return Outcome("completed", {"top1": value, "loss": 1.0}, train_seconds=9.0, total_seconds=seconds)

    others = {each.trial_id: one(top1 + 1 + at, 0.5) for at, each in enumerate(assignment.also)}
    return Outcome(**{**vars(one(top1, 10.0)), "others": others})


def names(assignment) -> list[str]:
    return [each.variant.name for each in (assignment, *assignment.also)]


class Events:
    """Observer that lists what it sees, in order."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, object]] = []

    def on_trial_start(self, assignment):
        self.seen.append(("start", assignment.trial_id, assignment.trained_by))

    def on_trial_placed(self, assignment, place):
        self.seen.append(("placed", assignment.trial_id, place.host))

    def on_epoch_end(self, assignment, metrics):
        self.seen.append(("epoch", assignment.trial_id, metrics["top1"]))

    def on_trial_end(self, assignment, record):
        self.seen.append(("end", assignment.trial_id, record.status))


def test_trials_of_one_training_start_and_end_together(write_sweep, open_orchestrator) -> None:
    events = Events()
    orchestrator = open_orchestrator(write_sweep(CROPS), observers=[events])
    assert (orchestrator.num_remaining, orchestrator.num_startable) == (12, 4)
    first = orchestrator.ask()
    assert names(first) == ["baseline", "crop_pct=0.75", "crop_pct=1.25"]
    key, (one, two) = first.trial_id, [each.trial_id for each in first.also]
    assert {each.trial_id for each in orchestrator.running()} == {key, one, two}
    assert (orchestrator.num_remaining, orchestrator.num_startable) == (12, 3)
    orchestrator.placed(key, Place("here"))
    orchestrator.report_other(one, {"epoch": 1, "top1": 11.0})
    orchestrator.report_other(two, {"epoch": 1, "top1": 12.0})
    orchestrator.report(key, {"epoch": 1, "top1": 10.0})
    record = orchestrator.finish(key, completed(first))
    assert (record.variant, record.metrics["top1"], record.trained_by) == ("baseline", 50.0, "")
    assert events.seen == [
        *(("start", key, ""), ("start", one, key), ("start", two, key)),
        *(("placed", each, "here") for each in (key, one, two)),
        *(("epoch", one, 11.0), ("epoch", two, 12.0), ("epoch", key, 10.0)),
        # The trial that trained is written last: its checkpoint is left if the driver is killed between two records.
        *(("end", one, "completed"), ("end", two, "completed"), ("end", key, "completed")),
    ]
    found = {each.trial_id: each for each in orchestrator.records.values()}
    assert [found[each].metrics["top1"] for each in (key, one, two)] == [50.0, 51.0, 52.0]
    assert orchestrator.running() == []
    assert orchestrator.num_remaining == 9


def test_records_say_in_whose_training_they_were_measured(write_sweep, open_orchestrator, tmp_path) -> None:
    orchestrator = open_orchestrator(write_sweep(CROPS))
    first = orchestrator.ask()
    orchestrator.report_other(first.also[0].trial_id, {"epoch": 1, "top1": 11.0})
    orchestrator.finish(first.trial_id, completed(first))
    one, two, trained = read_ledger(tmp_path / "run" / "ledger.jsonl").records
    assert [one.trained_by, two.trained_by, trained.trained_by] == [first.trial_id, first.trial_id, ""]
    assert [one.train_seconds, one.total_seconds] == [9.0, 0.5]
    assert [one.curve, two.curve] == [[{"epoch": 1, "top1": 11.0}], []]
    lines = (tmp_path / "run" / "ledger.jsonl").read_text().splitlines()
    assert "trained_by" not in json.loads(lines[2])  # as records always were


@pytest.mark.parametrize(
    ("result", "status"),
    [(Failure(type="ValueError", message="no"), "failed"), (Outcome("preempted"), "preempted")],
)
def test_a_training_that_ends_early_gives_every_trial_a_record(write_sweep, open_orchestrator, result, status) -> None:
    events = Events()
    orchestrator = open_orchestrator(write_sweep(CROPS), observers=[events])
    first = orchestrator.ask()
    orchestrator.finish(first.trial_id, result)
    assert [seen[2] for seen in events.seen if seen[0] == "end"] == [status] * 3
    assert orchestrator.running() == []


def test_a_preempted_training_is_repeated_as_a_whole(write_sweep, open_orchestrator) -> None:
    path = write_sweep(CROPS)
    orchestrator = open_orchestrator(path)
    first = orchestrator.ask()
    orchestrator.finish(first.trial_id, Outcome("preempted"))
    assert orchestrator.num_remaining == 12
    again = open_orchestrator(path).ask()
    assert (again.trial_id, names(again)) == (first.trial_id, names(first))


def test_a_failed_training_is_retried_with_all_its_trials(write_sweep, open_orchestrator) -> None:
    path = write_sweep(CROPS)
    orchestrator = open_orchestrator(path)
    first = orchestrator.ask()
    orchestrator.finish(first.trial_id, Failure(type="ValueError", message="no"))
    assert names(open_orchestrator(path).ask())[0] == "depth=2"
    again = open_orchestrator(path, retry=frozenset({"failed"})).ask()
    assert names(again) == names(first)
    assert [each.attempt for each in (again, *again.also)] == [2, 2, 2]


def test_a_training_without_memory_is_repeated_alone_with_all_its_trials(write_sweep, open_orchestrator) -> None:
    orchestrator = open_orchestrator(write_sweep(CROPS, **{"seeds: 2": "seeds: 1", "[1, 2]": "[1]"}))
    first = orchestrator.ask()
    orchestrator.finish(first.trial_id, Failure(type="OutOfMemory", message="no"), may_retry_exclusively=True)
    again = orchestrator.ask()
    assert (again.alone, names(again)) == (True, names(first))
    assert [each.attempt for each in (again, *again.also)] == [2, 2, 2]
    assert orchestrator.finish(again.trial_id, completed(again)).status == "completed"
    assert orchestrator.num_remaining == 0


def test_a_training_that_is_put_back_has_all_its_trials(write_sweep, open_orchestrator) -> None:
    orchestrator = open_orchestrator(write_sweep(CROPS))
    first = orchestrator.ask()
    orchestrator.finish(first.trial_id, Failure(type="RuntimeError", message="a broken node"))
    orchestrator.run_again(first.trial_id)
    again = orchestrator.ask()
    assert (names(again), [each.attempt for each in again.also]) == (names(first), [2, 2])


def test_killed_between_two_records_the_missing_trials_are_trained_again(
    write_sweep, open_orchestrator, tmp_path
) -> None:
    path = write_sweep(CROPS)
    orchestrator = open_orchestrator(path)
    first = orchestrator.ask()
    orchestrator.finish(first.trial_id, completed(first))
    ledger = tmp_path / "run" / "ledger.jsonl"
    open_orchestrator(path, run="elsewhere")  # closes the first one
    ledger.write_text(ledger.read_text().splitlines(keepends=True)[0])
    again = open_orchestrator(path).ask()
    assert (again.trial_id, names(again)) == (first.trial_id, ["baseline", "crop_pct=1.25"])


def test_the_limit_counts_trainings(write_sweep, open_orchestrator) -> None:
    orchestrator = open_orchestrator(write_sweep(CROPS), limit=1)
    assert orchestrator.num_startable == 1
    first = orchestrator.ask()
    orchestrator.finish(first.trial_id, completed(first))
    assert orchestrator.ask() is None
    assert len(orchestrator.records) == 3


def test_the_pruner_sees_the_trial_that_trains(write_sweep, open_orchestrator) -> None:
    """Reported values decide for all; neither the others' curves nor, after a restart, their records count."""
    text = CROPS.replace("metric: top1", "metric: top1\n    prune: {pruner: threshold, lower: 20, n_warmup_steps: 0}")
    text = text.replace("epochs: 2", "epochs: 4")
    path = write_sweep(text)
    orchestrator = open_orchestrator(path)
    reference = orchestrator.ask()
    assert not orchestrator.report(reference.trial_id, {"epoch": 1, "top1": 1.0})  # the reference is never pruned
    orchestrator.finish(reference.trial_id, completed(reference))
    second = orchestrator.ask()
    orchestrator.report_other(second.also[0].trial_id, {"epoch": 1, "top1": 99.0})
    assert orchestrator.report(second.trial_id, {"epoch": 1, "top1": 10.0})
    assert orchestrator.finish(second.trial_id, None).status == "pruned"
    assert [orchestrator.records[each.trial_id].status for each in second.also] == ["pruned"] * 2
    replayed = open_orchestrator(path)
    assert isinstance(replayed, Orchestrator)
    assert replayed.ask().spec.seed == 1


def test_variants_with_other_resources_do_not_share_a_training(write_sweep, open_orchestrator) -> None:
    rule = 'resources: {cpus: 1, per_variant: [{where: "task.crop_pct > 1", cpus: 2}]}'
    orchestrator = open_orchestrator(write_sweep(CROPS.replace("metric: top1", f"metric: top1\n    {rule}")))
    assert names(orchestrator.ask()) == ["baseline", "crop_pct=0.75"]


@pytest.mark.thorough
def test_a_run_gives_the_records_of_separate_runs(write_sweep, tmp_path) -> None:
    """Bit for bit, by the in-process engine; rows that were added later, too."""
    shared = make_plan(load_sweep(write_sweep(CROPS, **{"seeds: 2": "seeds: 1"})))
    assert run_sweep(shared, tmp_path / "shared", engine="in-process").started == 2
    found = Run.open(tmp_path / "shared").deciding
    for crop in (0.75, 1.25):
        alone = CROPS.replace("[1.0, 0.75, 1.25]", f"[{crop}]").replace("seeds: 2", "seeds: 1")
        plan = make_plan(load_sweep(write_sweep(alone, name="alone.yaml"), overrides=[f"task.crop_pct={crop}"]))
        run_sweep(plan, tmp_path / f"alone{crop}", engine="in-process")
        for key, record in Run.open(tmp_path / f"alone{crop}").deciding.items():
            left_out = TIMES | {"trained_by", "variant", "changes"}
            assert found[key].model_dump(exclude=left_out) == record.model_dump(exclude=left_out)
            assert found[key].trained_by != record.trained_by == ""
    more = load_sweep(write_sweep(CROPS, **{"seeds: 2": "seeds: 1", "1.25]": "1.25, 1.5]"}))
    assert run_sweep(make_plan(more), tmp_path / "shared", engine="in-process").started == 2
    latest = Run.open(tmp_path / "shared")
    assert len(latest.records) == 8
    assert {record.trained_by for record in latest.records if record.variant.endswith("1.5")} == {""}
