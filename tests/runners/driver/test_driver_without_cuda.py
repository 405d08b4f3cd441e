"""The driver learns about GPUs without starting CUDA: a context takes memory of every GPU, and forbids to fork."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# PyTorch as on a machine with GPUs, but every call that would start CUDA, or its driver interface, fails.
NO_CUDA = """
import sys
import torch

torch.version.cuda = torch.version.cuda or "13.0"

def refuses(name):
    def refuse(*arguments, **options):
        raise AssertionError(f"{name} starts CUDA")
    return refuse

for name in ("is_available", "device_count", "_lazy_init", "init", "get_device_name", "get_device_properties",
             "current_device", "get_rng_state", "synchronize"):
    setattr(torch.cuda, name, refuses(name))
for name in ("_cuda_init", "_cuda_getDeviceCount", "_accelerator_getDeviceIndex"):
    if hasattr(torch._C, name):
        setattr(torch._C, name, refuses(name))
"""
DRIVER = """
import importlib, os
from runners.engines.forkserver.trial_target import preload
for name in preload("classification"):
    importlib.import_module(name)
import contextlib, io, json
from runners.cache.trial_cache import device_of
from runners.driver.provenance import describe_session
from runners.planning.auto_gpus import unused_gpus
from runners.planning.make_plan import make_plan
from runners.machine.gpus import num_gpus_here
from runners.cli import main
from search_space import load_sweep

file = load_sweep(sys.argv[1])
found = [num_gpus_here(), unused_gpus([file], num_gpus_here)]
for gpus in ("0", "auto", "0.5"):
    plan = make_plan(load_sweep(sys.argv[1], overrides=[f"resources.gpus={gpus}"]))
    found.append((plan.sweep.resources.num_gpus, device_of(plan)))
session = describe_session(plan, session="s", engine="ray", address=None, overrides=[])
found.append((session["gpus"], session["hip"]))
out = io.StringIO()
sys.argv[1:] = ["plan", sys.argv[1], "--set", "resources.gpu_memory=10", "--no-cache", "--json"]
with contextlib.redirect_stdout(out):
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
(document,) = json.loads(out.getvalue())["plans"]
found.append((code, document["cost"]["gpu_hours_is_bound"]))
print(json.dumps(found))
"""


@pytest.mark.slow
def test_the_driver_names_and_counts_gpus_without_cuda(tmp_path, write_sweep):
    """And what its workers import makes no call to CUDA: a forkserver that has started CUDA could not fork."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    rows = "\n".join(f"{i}, GPU-{i}{i}{i}, NVIDIA H200, 4, 143771, 0, Disabled, 580.82.07" for i in (0, 1))
    program.write_text(f"#!/bin/sh\ncat <<END\n{rows}\nEND\n")
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    command = [sys.executable, "-c", NO_CUDA + DRIVER, str(write_sweep(**{"seeds: 2": "seeds: 1"}))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [
        2,
        "2 GPUs here, trials use none: --gpus-per-trial 1 (or `resources: {device: cpu}`)",
        [0, "cpu"],
        [1, "NVIDIA H200"],
        [0.5, "NVIDIA H200"],
        [["NVIDIA H200", "NVIDIA H200"], None],
        [0, False],  # the memory of the GPUs is known
    ]
