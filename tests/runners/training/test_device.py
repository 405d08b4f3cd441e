"""A trial trains on the device that its resources reserve, whatever the machine has, or fails and says why."""

from __future__ import annotations

import os
import re
import socket

import pytest
import torch

from runners.training.device import DeviceMissing, device_of_trial, hide_gpus
from runners.training.distributed_trial import run_trial_in_processes
from runners.training.process_group import ProcessGroup
from runners.training.trial import run_trial
from search_space import Checkpoints
from search_space.schema.resources import Resources
from search_space.schema.trial import ArchSpec, ClassificationSpec, ShapesSpec, TrainSpec, TrialSpec

SPEC = TrialSpec(
    arch=ArchSpec(depth=1, embed_dim=16, num_heads=2, patch_size=4),
    task=ClassificationSpec(dataset=ShapesSpec(img_size=8, num_train=32, num_test=16)),
    train=TrainSpec(epochs=1, batch_size=16),
)


@pytest.fixture
def two_gpus(monkeypatch):
    """PyTorch says that it finds two GPUs, and fails as soon as one is touched."""

    def touched(*arguments, **options):
        raise AssertionError("CUDA was touched")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name in ("set_device", "init", "_lazy_init", "synchronize", "manual_seed_all", "get_device_name"):
        monkeypatch.setattr(torch.cuda, name, touched)


@pytest.mark.parametrize(
    ("resources", "rank", "size", "expected"),
    [
        ({}, 0, 1, "cpu"),
        ({"device": "cpu"}, 0, 1, "cpu"),
        ({"processes": 2}, 1, 2, "cpu"),
        ({"gpus": 1}, 0, 1, "cuda"),
        ({"gpus": 0.25}, 0, 1, "cuda"),
        ({"gpus": 1, "device": "cuda"}, 0, 1, "cuda"),
        ({"gpu_memory": "auto"}, 0, 1, "cuda"),
        ({"gpus": 2}, 1, 2, "cuda:1"),
    ],
)
def test_the_device_follows_from_the_resources(two_gpus, resources, rank, size, expected):
    assert device_of_trial(Resources(**resources), ProcessGroup(rank, size)) == torch.device(expected)


@pytest.mark.parametrize(
    ("resources", "reserved"),
    [
        ({"gpus": 1}, "1 GPU"),
        ({"gpus": 0.5}, "0.5 GPU"),
        ({"gpus": 4}, "4 GPUs"),
        ({"gpu_memory": 8}, "8 GiB of a GPU"),
        ({"gpu_memory": "auto"}, "a GPU by its memory"),
    ],
)
def test_a_reserved_gpu_that_is_not_there_is_missed_and_the_message_says_why(monkeypatch, resources, reserved):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", lambda: (_ for _ in ()).throw(RuntimeError("The driver is too old\nmore")))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with pytest.raises(DeviceMissing) as caught:
        device_of_trial(Resources(**resources))
    assert str(caught.value) == (
        f"the trial reserved {reserved}, but on {socket.gethostname()} its process finds none: The driver is too old "
        "(CUDA_VISIBLE_DEVICES=3). `archsweep doctor` there says more; to train on the CPU: --gpus-per-trial 0"
    )


def test_fewer_gpus_than_processes_are_missed_by_the_process_without_one(two_gpus):
    with pytest.raises(DeviceMissing, match=r"reserved 4 GPUs, but on .* its process finds 2: PyTorch finds 2"):
        device_of_trial(Resources(gpus=4), ProcessGroup(2, 4))


@pytest.mark.parametrize("device", ["mps", "xpu"])
def test_devices_that_this_pytorch_lacks_are_missed(monkeypatch, device):
    monkeypatch.setattr({"mps": torch.backends.mps, "xpu": torch.xpu}[device], "is_available", lambda: False)
    with pytest.raises(DeviceMissing, match=re.escape(f"`resources.device: {device}`, but this PyTorch")):
        device_of_trial(Resources(device=device))


def test_gpus_are_pretended_only_where_the_variable_of_the_tests_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for value in ("0", "yes", ""):
        monkeypatch.setenv("ARCHSWEEP_PRETEND_GPUS", value)
        with pytest.raises(DeviceMissing):
            device_of_trial(Resources(gpus=1))
    monkeypatch.setenv("ARCHSWEEP_PRETEND_GPUS", "1")
    assert device_of_trial(Resources(gpus=1)) == torch.device("cpu")


def test_a_trial_without_gpus_stays_on_the_cpu_of_a_machine_that_has_some(two_gpus, monkeypatch):
    """It trained on the first GPU, in bfloat16, with every other trial of the machine."""
    # PyTorch's optimizers ask the accelerator whether it records a graph, which opens a context on it even for weights
    # on the CPU. The processes of such trials see no GPU, therefore.
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda *arguments, **options: None)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)  # the same question in torch 2.8
    outcome = run_trial(SPEC, report=lambda metrics: False, resources=Resources())
    assert (outcome.status, outcome.device) == ("completed", "cpu")


@pytest.mark.parametrize(
    ("resources", "expected"),
    [({}, ("", "")), ({"processes": 2}, ("", "")), ({"gpus": 0.5}, ("3", None)), ({"device": "mps"}, ("3", None))],
)
def test_gpus_are_hidden_from_the_process_of_a_trial_without_one(monkeypatch, resources, expected):
    names = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
    monkeypatch.setenv(names[0], "3")
    monkeypatch.delenv(names[1], raising=False)
    hide_gpus(Resources(**resources))
    found = tuple(map(os.environ.get, names))
    monkeypatch.setenv(names[1], "")  # so that the next test finds it as it was
    assert found == expected


@pytest.mark.parametrize("device", ["mps", "xpu"])
def test_other_devices_have_what_a_training_calls(device):
    """None was at hand: of a training there, this is what can be known."""
    module = torch.get_device_module(device)
    for name in ("manual_seed", "get_rng_state", "set_rng_state", "synchronize", "empty_cache"):
        assert callable(getattr(module, name)), name


CHILD = """
import os
from search_space import Checkpoints

class Seen(Checkpoints):
    '''Options that arrive in every process of a trial before it begins.'''

if os.getpid() != PARENT:
    import torch

    def touched(*arguments, **options):
        raise AssertionError(f"CUDA was touched, with {os.environ.get('CUDA_VISIBLE_DEVICES')!r} visible")

    torch.cuda.is_available = lambda: os.environ.get("CUDA_VISIBLE_DEVICES") != ""
    torch.cuda.device_count = lambda: 1
    for name in ("set_device", "init", "_lazy_init", "synchronize", "manual_seed_all"):
        setattr(torch.cuda, name, touched)
"""


# Slow, because two processes import torch for it. Of the default run, the tests above hold what they are shown.
@pytest.mark.slow
def test_processes_without_gpus_touch_none(tmp_path, monkeypatch):
    """Two processes chose the GPUs 0 and 1, where there may be one: `invalid device ordinal`."""
    (tmp_path / "options_seen.py").write_text(CHILD.replace("PARENT", str(os.getpid())))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    import options_seen

    assert issubclass(options_seen.Seen, Checkpoints)
    outcome = run_trial_in_processes(
        SPEC, report=lambda metrics: False, resources=Resources(processes=2), checkpoints=options_seen.Seen()
    )
    assert (outcome.status, outcome.device) == ("completed", "cpu")
