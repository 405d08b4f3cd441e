"""Measurement of memory on a cluster whose GPU is pretended: that it is awaited, and for how long."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import ray

from runners.engines.nodes.capacity import Node
from runners.engines.ray.gpu_memory import check_shares, peaks_on_gpu
from runners.planning.make_plan import make_plan
from search_space import Resources, SpecError, load_sweep

ONE = """
    name: one
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
      train: {epochs: 1, batch_size: 512}
    space: {}
    design: factorial
    seeds: 1
    metric: top1
"""


@pytest.fixture
def settings(write_sweep):
    plan = make_plan(load_sweep(write_sweep(ONE)))
    return [variant.setting for variant in plan.variants]


@pytest.fixture
def taken_gpu(ray_cluster):
    """A task of another user that has the GPU of the cluster until the test ends."""

    @ray.remote(num_gpus=1, num_cpus=0)
    class Other:
        def here(self):
            return True

    other = Other.remote()
    assert ray.get(other.here.remote())
    yield
    ray.kill(other)


@pytest.mark.usefixtures("taken_gpu")
def test_a_gpu_that_never_is_free_is_awaited_for_a_limited_time(settings):
    with pytest.raises(SpecError) as caught:
        list(peaks_on_gpu(settings, Resources(), patience=1))
    (problem,) = caught.value.problems
    assert problem.path == "resources.gpu_memory"
    assert problem.message == (
        "waited 1 s for a GPU that is free as a whole, to measure the memory of the variants (`gpu_memory: auto`)"
    )
    assert problem.hint == "free a GPU, or give gpu_memory in GiB or resources.gpus instead; what was measured is kept"


@pytest.mark.usefixtures("taken_gpu")
def test_a_stop_ends_the_wait(settings):
    assert list(peaks_on_gpu(settings, Resources(), is_stopping=lambda: True, patience=60)) == []


# Slow, because a worker of Ray starts once the GPU is free.
@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_free_gpu_is_measured_on(settings):
    """The GPU is there for Ray only, so the steps are done and then nothing was measured on a GPU."""
    with pytest.raises(AssertionError, match="measured on a GPU"):
        list(peaks_on_gpu(settings, Resources(), patience=120))


def test_shares_without_room_for_a_context_are_refused_before_anything_runs():
    nodes = [Node("1", "large", {"GPU": 1.0, "gpu_memory_gib": 80.0}), Node("2", "small", {"gpu_memory_gib": 6.0})]
    check_shares([Resources(), Resources(gpus=0.25), Resources(gpus=2), Resources(gpu_memory=0.1)], nodes)
    with pytest.raises(SpecError) as caught:
        check_shares([Resources(gpus=0.5), Resources(gpus=0.1)], nodes)
    (problem,) = caught.value.problems
    assert (problem.path, problem.message) == (
        "resources.gpus",
        "0.1 of a GPU of 6 GiB is 0.6 GiB, and the CUDA context of a trial alone takes about 0.75 GiB",
    )


HELD = """
import json, sys, types, torch
torch.cuda.is_available = lambda: True
torch.cuda.get_device_properties = lambda device: types.SimpleNamespace(total_memory=total * 2**30)
def held(fraction, device=None):
    print(json.dumps(fraction))
    raise RuntimeError("far enough")
torch.cuda.set_per_process_memory_fraction = held
import runners.engines.ray.trial_process as trial_process
class Connection:
    def send(self, message): print(json.dumps(message))
for total, resources in json.loads(sys.argv[1]):
    print("next")
    job = {"resources": resources, "checkpoints": {"grace_seconds": 1}, "plugins": [], "log": ""}
    trial_process.main(Connection(), job)
"""


@pytest.mark.slow
def test_a_trial_is_held_to_its_share_without_the_context_however_it_was_given():
    """On pretended GPUs, in a process of its own, because torch.cuda is replaced."""
    cases = [
        (24.0, Resources(gpus=0.25)),
        (24.0, Resources(gpus=0.25, gpu_memory=4.5)),
        (24.0, Resources(gpus=1)),
        (8.0, Resources(gpus=0.05)),
    ]
    given = json.dumps([(total, resources.model_dump(mode="json")) for total, resources in cases])
    done = subprocess.run([sys.executable, "-c", HELD, given], capture_output=True, text=True, check=True)
    by_share, by_memory, whole, too_small = (json.loads(part.splitlines()[1]) for part in done.stdout.split("next")[1:])
    assert by_share == pytest.approx((6 - 0.75) / 24)
    assert by_memory == pytest.approx((6 - 0.75) / 24)
    assert whole[1]["message"] == "'members'"  # not held; the first thing that fails is that the job has no trials
    assert (too_small[0], too_small[1]["type"]) == ("failure", "SpecError")
    assert "0.05 of a GPU of 8 GiB is 0.4 GiB, and the CUDA context of a trial" in too_small[1]["message"]
