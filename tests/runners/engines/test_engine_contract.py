"""Both engines carry out the same contract: they drive the same orchestrator and must produce the same records."""

from __future__ import annotations

import os
import re
import socket
from unittest.mock import patch

import pytest

from results import Run
from results.store.run_layout import RunDir
from runners.engines import ENGINES, run_trials
from runners.planning.make_plan import make_plan
from runners.run_sweep import run_sweep
from search_space import SpecError, load_sweep

MIXED = """
    name: mixed
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
      task: {name: classification, dataset: builtin/digits}
      train: {epochs: 2, batch_size: 512, lr: 0.003}
    space:
      arch.attention: [softmax, reattention, refiner, groupmix]
      train.lr: [0.003, 1.0e+30]
      train.epochs: [2, 100000]
    design: one_factor
    seeds: [3]
    metric: top1
    keep_predictions: true
    keep_samples: 2
    # Half a GPU each, so that two trials share the one of the cluster. A limit for the variant of many epochs alone,
    # which no other trial would keep either.
    resources:
      gpus: 0.5
      time_limit: 0.001
      per_variant: [{where: "params_m > 0", time_limit: 10m}, {where: "train.epochs > 2", time_limit: 1.5}]
"""
PRUNED = """
    name: pruned
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
      train: {epochs: 6, batch_size: 256}
    space: {train.epochs: [6, 7, 8, 9]}
    design: one_factor
    prune: {pruner: threshold, lower: 99.9, n_warmup_steps: 5}
    seeds: 1
    metric: top1
    resources: {gpu_memory: auto, per_variant: [{where: "train.epochs > 7", gpu_memory: 0.5}]}
"""

LONG = """
    name: long
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
      train: {epochs: 200, batch_size: 256}
    space: {}
    design: factorial
    seeds: 2
    metric: top1
"""


@pytest.fixture
def run(write_sweep, tmp_path, ray_cluster):
    def run_(text, engine, *, name="run", **options):
        plan = make_plan(load_sweep(write_sweep(text)))
        result = run_sweep(plan, tmp_path / name, engine=engine, **options)
        return result, Run.open(tmp_path / name)

    return run_


def by_every_engine(folder, text):
    """The sweep, carried out by every engine: engine -> result and run."""
    (folder / "sweep.yaml").write_text(text)
    plan = make_plan(load_sweep(folder / "sweep.yaml"))
    with patch.dict(os.environ, ARCHSWEEP_PRETEND_GPUS="1"):  # of the process of the in-process engine
        results = {engine: run_sweep(plan, folder / engine, engine=engine) for engine in ENGINES}
    return {engine: (result, Run.open(folder / engine)) for engine, result in results.items()}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory, ray_cluster):
    return by_every_engine(tmp_path_factory.mktemp("mixed"), MIXED)


@pytest.fixture(scope="module")
def pruned(tmp_path_factory, ray_cluster):
    return by_every_engine(tmp_path_factory.mktemp("pruned"), PRUNED)


def what_happened(records):
    """Everything about the records that must not depend on where and when they were made."""
    timeless = {"train_seconds", "total_seconds", "finished_at", "session", "failure"}
    found = {}
    for record in records:
        failure = record.failure and record.failure.type
        left_out = timeless | ({"epochs", "curve"} if failure == "TimeLimit" else set())  # how far it came
        found[record.trial_id] = record.model_dump(exclude=left_out) | {"failure": failure}
    return found


def failed(opened, variant):
    (found,) = [record for record in opened.records if record.variant == variant]
    assert found.status == "failed"
    return found


def test_engines_produce_the_same_records(mixed):
    """Four mechanisms and two trials that fail, bit for bit: on the CPU an engine may not change a digit."""
    in_process, ray = (what_happened(mixed[engine][1].records) for engine in ("in-process", "ray"))
    assert in_process == ray
    kept = [
        {path.parent.name: path.read_bytes() for path in mixed[engine][1].files.path.glob("trials/*/samples.npz")}
        for engine in ("in-process", "ray")
    ]
    assert kept[0] == kept[1]
    assert set(kept[0]) == {key for key, record in ray.items() if record["status"] == "completed"}
    assert len(ray) == 6
    # Predictions crossed the borders of the processes: of completed trials only, as `what_happened` compares them.
    assert {(found["status"], "correct" in found) for found in ray.values()} == {("completed", True), ("failed", False)}
    for result, _ in mixed.values():
        assert dict(result.counts) == {"completed": 4, "failed": 2}


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_failing_trial_is_a_record_and_the_sweep_goes_on(mixed, engine):
    result, opened = mixed[engine]
    record = failed(opened, "lr=1e+30")
    assert record.failure.type == "NonFiniteLoss"
    assert re.match("training loss is (nan|inf) in epoch ", record.failure.message)
    assert "NonFiniteLoss" in record.failure.traceback
    assert result.remaining == 0


# Slow, because workers of Ray start for a second sweep. Of the default run, test_refill.py has trials that are pruned
# on Ray.
@pytest.mark.slow
@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_pruned_trial_is_recorded_with_its_curve(pruned, engine):
    """A threshold no trial reaches prunes every one after its fifth epoch, but not the row that all others are compared
    with."""
    result, opened = pruned[engine]
    assert dict(result.counts) == {"pruned": 3, "completed": 1}
    (whole,) = [record for record in opened.records if record.status == "completed"]
    assert whole.variant == "baseline"
    for record in (record for record in opened.records if record is not whole):
        assert (record.epochs, len(record.curve), record.metrics) == (5, 5, {})


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_trial_beyond_its_time_limit_is_a_failed_record(mixed, engine):
    record = failed(mixed[engine][1], "epochs=100000")
    assert record.failure.type == "TimeLimit"
    assert record.failure.message == "not finished after 1.5 s, its time limit (`resources.time_limit`)"
    assert len(record.curve) == record.epochs


def test_trial_larger_than_the_cluster_is_refused_before_anything_runs(run):
    with pytest.raises(SpecError) as caught:
        run(LONG + "    resources: {cpus: 64, gpus: 8}\n", "ray")
    assert [(problem.path, problem.message) for problem in caught.value.problems] == [
        ("resources.cpus", "a trial asks for 64 CPUs, the cluster has 2"),
        ("resources.gpus", "a trial asks for 8 GPUs, the cluster has 1"),
    ]
    with pytest.raises(SpecError) as caught:
        run(LONG + "    resources: {per_variant: [{where: train.epochs == 200, gpus: 8}]}\n", "ray", name="other")
    assert [(problem.path, problem.message) for problem in caught.value.problems] == [
        ("resources.per_variant.gpus", "a trial asks for 8 GPUs, the cluster has 1"),
    ]


@pytest.mark.parametrize(("engine", "gpus"), [("in-process", ()), ("ray", ("0",))])
def test_progress_says_from_the_start_where_a_trial_runs(mixed, engine, gpus):
    """Between the start and the first epoch, which may take an hour."""
    _, opened = mixed[engine]
    for key in {event.trial_id for event in opened.progress}:
        events = [event for event in opened.progress if event.trial_id == key]
        assert [event.event for event in events][:2] == ["start", "place"]
        assert (events[1].worker, events[1].gpus) == (socket.gethostname(), gpus)


def test_what_a_trial_prints_goes_into_its_own_log(mixed):
    _, opened = mixed["ray"]
    log = opened.path / "trials" / failed(opened, "lr=1e+30").trial_id / "train.log"
    assert "NonFiniteLoss" in log.read_text()
    # Trials that had nothing to say leave no file.
    completed = {record.trial_id for record in opened.records if record.status == "completed"}
    assert completed & {path.parent.name for path in (opened.path / "trials").glob("*/train.log")} == set()


class _FullDisk:
    """A watcher whose disk is full from the second epoch on: what `progress.jsonl` would raise."""

    def __init__(self):
        self.epochs = 0

    def on_trial_start(self, assignment): ...

    def on_trial_placed(self, assignment, place): ...

    def on_trial_end(self, assignment, record): ...

    def on_epoch_end(self, assignment, metrics):
        self.epochs += 1
        if self.epochs == 2:
            raise SpecError("progress.jsonl: cannot write: the disk is full")


@pytest.mark.parametrize("engine", ["in-process", pytest.param("ray", marks=pytest.mark.slow)])
def test_error_of_the_driver_ends_the_run_and_blames_no_trial(
    write_sweep, open_orchestrator, tmp_path, ray_cluster, engine
):
    text = LONG.replace("epochs: 200", "epochs: 3").replace("seeds: 2", "seeds: 1")
    orchestrator = open_orchestrator(write_sweep(text), observers=[_FullDisk()])
    with pytest.raises(SpecError, match="the disk is full"):
        run_trials(engine, orchestrator, run_dir=RunDir(tmp_path / "run"))
    assert orchestrator.records == {}


def spans(opened):
    """Trial -> when it was given to a worker, and when it ended."""
    found = {}
    for event in opened.progress:
        if event.event in ("start", "end"):
            found.setdefault(event.trial_id, []).append(event.t)
    return found


def overlap(one, other):
    return max(one[0], other[0]) < min(one[1], other[1])


def test_trials_share_a_gpu_by_fractions(mixed):
    first, second, *_ = spans(mixed["ray"][1]).values()
    assert overlap(first, second)


@pytest.mark.slow
def test_trials_share_a_gpu_by_memory(pruned):
    """Two whose need is measured, and is next to nothing; then two that take 0.7 of the 2 GiB, with what CUDA and
    fragments take."""
    _, opened = pruned["ray"]
    found = {record.spec["train"]["epochs"]: spans(opened)[record.trial_id] for record in opened.records}
    assert overlap(found[6], found[7])
    assert not overlap(found[8], found[9])
    places = [(event.worker, event.gpus) for event in opened.progress if event.event == "place"]
    assert places == [(socket.gethostname(), ("0",))] * 4


# Slow, because a node joins.
@pytest.mark.slow
def test_gpus_of_unknown_memory_are_refused_where_trials_pack_by_it(run, add_node):
    add_node(num_cpus=1, num_gpus=1)
    with pytest.raises(SpecError) as caught:
        run(LONG + "    resources: {gpu_memory: auto}\n", "ray")
    (problem,) = caught.value.problems
    assert problem.message == f"no GPU answers on {socket.gethostname()}, so its memory is not known"
    assert problem.hint == (
        "give `resources.gpus` instead, or start the node with --resources='{\"gpu_memory_gib\": 80}'"
    )
