"""What an engine refuses before anything runs, and what one broken device does to the trials after it."""

from __future__ import annotations

import multiprocessing
import os

import pytest
import ray
import torch

import runners.engines.device_checks
import runners.training.distributed_trial
from results import Run
from runners.engines import gpus_of_engine
from runners.engines.ray.trial_process import main
from runners.planning.auto_gpus import unused_gpus
from runners.planning.make_plan import make_plan
from runners.run_sweep import run_sweep
from search_space import ArchSpec, Checkpoints, ClassificationSpec, Resources, SpecError, TrialSpec, load_sweep
from search_space.schema.datasets import TimmDatasetSpec

TINY = """
    name: tiny
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
      train: {epochs: 1, batch_size: 512}
    space: {arch.attention: [softmax, reattention]}
    design: one_factor
    seeds: 2
    metric: top1
"""


@pytest.fixture
def plan_of(write_sweep):
    def plan_of_(resources, *, seeds=2, epochs=1, **options):
        text = TINY.replace("seeds: 2", f"seeds: {seeds}").replace("epochs: 1", f"epochs: {epochs}")
        return make_plan(load_sweep(write_sweep(f"{text}    resources: {resources}\n")), **options)

    return plan_of_


@pytest.fixture
def here(monkeypatch):
    """Sets the number of GPUs that this machine is said to have."""
    return lambda number: monkeypatch.setattr(runners.engines.device_checks, "num_gpus_here", lambda: number)


@pytest.mark.parametrize(
    ("resources", "engine", "expected"),
    [
        (
            "{gpus: 2}",
            "in-process",
            "resources.gpus: a trial asks for 2 GPUs, this machine has 1 that PyTorch can use\n"
            "  lower it (--gpus-per-trial 0: trials train on the CPU); `archsweep doctor` says what is here",
        ),
        (
            "{per_variant: [{where: arch.attention.name == 'reattention', gpus: 3}]}",
            "in-process",
            "resources.per_variant.gpus: a trial asks for 3 GPUs, this machine has 1 that PyTorch can use\n"
            "  lower it (--gpus-per-trial 0: trials train on the CPU); `archsweep doctor` says what is here",
        ),
        (
            "{device: mps}",
            "ray",
            "resources.device: Ray places no trials on 'mps'\n  --engine in-process, which trains one trial at a time",
        ),
        (
            "{device: xpu}",
            "in-process",
            "resources.device: this PyTorch finds no 'xpu'\n  --device cpu trains on the CPU",
        ),
    ],
)
def test_devices_that_an_engine_has_not_are_refused_before_anything_runs(
    plan_of, here, tmp_path, monkeypatch, resources, engine, expected
):
    here(1)
    monkeypatch.setattr(torch.xpu, "is_available", lambda: False)
    monkeypatch.delenv("ARCHSWEEP_PRETEND_GPUS", raising=False)
    with pytest.raises(SpecError) as caught:
        run_sweep(plan_of(resources), tmp_path / "run", engine=engine)
    assert str(caught.value.problems[0]) == expected
    assert len(caught.value.problems) == 1
    assert not (tmp_path / "run" / "ledger.jsonl").read_text()


def test_a_plan_resolves_auto_once_and_says_how(plan_of):
    said = []
    plan = plan_of("{gpus: auto}", num_gpus=lambda: 8, say=said.append)
    assert [kind.num_gpus for kind in plan.kinds_of_resources] == [1]
    assert said == ["gpus: auto: 8 GPUs here, so one for each trial"]
    without = plan_of("{gpus: auto}", num_gpus=lambda: 0, say=said.append)
    assert [kind.num_gpus for kind in without.kinds_of_resources] == [0]
    assert said[1:] == ["gpus: auto: no GPUs here, so trials train on the CPU"]
    with pytest.raises(SpecError, match="`cuda`, but `gpus: auto` finds no GPU"):
        plan_of("{gpus: auto, device: cuda}", num_gpus=lambda: 0)
    assert plan_of("{gpus: 1}", num_gpus=lambda: pytest.fail("not asked")).sweep.resources.num_gpus == 1


def test_gpus_that_trials_leave_unused_are_named(write_sweep):
    def said(resources, number):
        return unused_gpus([load_sweep(write_sweep(f"{TINY}    resources: {resources}\n"))], lambda: number)

    assert said("{cpus: 1}", 8) == "8 GPUs here, trials use none: --gpus-per-trial 1 (or `resources: {device: cpu}`)"
    assert said("{cpus: 1}", 1).startswith("1 GPU here, trials use none")
    assert said("{cpus: 1}", 0) == ""
    for other in ("{device: cpu}", "{gpus: 1}", "{gpus: auto}", "{gpu_memory: 2}"):
        assert said(other, 8) == ""


def test_gpus_of_a_connected_cluster_are_those_of_its_nodes(ray_cluster):
    assert gpus_of_engine("ray", None) == 1


@pytest.mark.slow
def test_trials_after_a_device_side_assert_train_in_processes_of_their_own(plan_of, tmp_path, monkeypatch, capsys):
    """CUDA answers a process with errors only once a kernel has failed there. The children here find no such trouble,
    because the function that fails is replaced in this process alone."""
    monkeypatch.setenv("ARCHSWEEP_PRETEND_GPUS", "1")
    seen = []

    def fails(spec, **options):  # the later trial starts a process, which takes seconds
        seen.append(spec)
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(runners.training.distributed_trial, "run_trial", fails)
    result = run_sweep(plan_of("{gpus: 1}", seeds=1), tmp_path / "run", engine="in-process")
    assert dict(result.counts) == {"failed": 1, "completed": 1}
    assert len(seen) == 1  # in this process
    failed, *others = Run.open(tmp_path / "run").records
    assert failed.failure.type == "AcceleratorError"
    assert failed.failure.message == "CUDA error: device-side assert triggered"
    assert {record.device for record in others} == {"cpu"}
    warning = "an error has ended CUDA in this process; each later trial trains in a process of its own"
    assert capsys.readouterr().err.count(warning) == 1


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), ValueError("no fault of CUDA")])
def test_other_failures_leave_the_next_trials_in_this_process(plan_of, tmp_path, monkeypatch, error):
    monkeypatch.setenv("ARCHSWEEP_PRETEND_GPUS", "1")
    seen = []

    def fails(spec, **options):
        seen.append(os.getpid())
        raise error

    monkeypatch.setattr(runners.training.distributed_trial, "run_trial", fails)
    run_sweep(plan_of("{gpus: 1}"), tmp_path / "run", engine="in-process")
    assert len(seen) >= 4


# Slow, because a worker of Ray starts. Of the default run, test_device.py holds what `hide_gpus` does.
@pytest.mark.slow
@pytest.mark.parametrize(("gpus", "expected"), [(0, ""), (0.5, "0")])
def test_a_trial_on_ray_sees_the_gpus_that_it_has_reserved(ray_cluster, gpus, expected):
    """What Ray shows to a worker that asked for no GPU differs between its versions: all of them, or none."""

    def visible_in_the_process_of_a_trial():
        connection, theirs = multiprocessing.Pipe()
        main(theirs, job)  # its data is not there, so that it ends with a failure
        return connection.recv(), os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.is_initialized()

    task = ClassificationSpec(dataset=TimmDatasetSpec(name="folder/x"))
    spec = TrialSpec(arch=ArchSpec(depth=1, embed_dim=16, num_heads=2), task=task)
    job = {
        "plugins": [],
        "trial": spec.model_dump(mode="json"),
        "also": [],
        "members": [],
        "resources": Resources(gpus=gpus, data_dir="/nowhere").model_dump(mode="json"),
        "checkpoints": Checkpoints().model_dump(mode="json"),
        "metric": "top1",
        "keep_predictions": False,
        "keep_samples": 0,
        "origin": {},
        "log": "",
    }
    placed = ray.remote(num_cpus=0, num_gpus=gpus, max_calls=1)(visible_in_the_process_of_a_trial)
    (kind, failure), visible, is_initialized = ray.get(placed.remote())
    assert (kind, failure["type"]) == ("failure", "SpecError")
    assert (visible, is_initialized) == (expected, False)


# Slow, because a node joins and a worker starts there.
@pytest.mark.slow
def test_a_node_without_the_gpu_that_it_declares_is_set_aside_at_once(plan_of, add_node, tmp_path):
    """Its trial runs again on the other node; nothing trains on the CPU in silence."""
    add_node(num_cpus=2, num_gpus=1, pretends=False)
    # Long enough that the first node has not done them all before the other one's worker has started.
    result = run_sweep(plan_of("{gpus: 1}", epochs=100), tmp_path / "run", engine="ray")
    records = Run.open(tmp_path / "run").records
    assert dict(result.counts) == {"completed": 4}
    failed = [record for record in records if record.status == "failed"]
    # A second one where Ray had placed the next trial before the first one's failure was heard of.
    assert len(failed) in (1, 2)
    assert {record.failure.type for record in failed} == {"DeviceMissing"}
    assert "the trial reserved 1 GPU, but on" in failed[0].failure.message
    assert "(CUDA_VISIBLE_DEVICES=0)" in failed[0].failure.message


@pytest.mark.slow
def test_memory_returns_between_trials_on_a_gpu(plan_of, tmp_path, monkeypatch):
    """What a failed trial has left would be missing to the next one."""
    monkeypatch.setenv("ARCHSWEEP_PRETEND_GPUS", "1")
    emptied = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(1))

    def fails(spec, **options):
        raise ValueError("no fault of CUDA")

    monkeypatch.setattr(runners.training.distributed_trial, "run_trial", fails)
    run_sweep(plan_of("{gpus: 1}"), tmp_path / "run", engine="in-process")
    assert len(emptied) == 4
    run_sweep(plan_of("{gpus: 0}"), tmp_path / "other", engine="in-process")
    assert len(emptied) == 4
