"""`run --device` and `--gpus-per-trial` override the sweep; contradictions are refused before anything runs."""

from __future__ import annotations

import json

import pytest
import torch

import runners.machine.gpus

HINT = "trials use none: --gpus-per-trial 1 (or `resources: {device: cpu}`)"
SMALL = {"epochs: 2": "epochs: 1", "seeds: 2": "seeds: 1", "[softmax, reattention, groupmix]": "[softmax]"}


@pytest.fixture
def run(archsweep, write_sweep, tmp_path):
    def run_(*options, **replacements):
        write_sweep(**{**SMALL, **replacements})
        return archsweep("run", "sweep.yaml", "--engine", "in-process", "--no-cache", *options, cwd=tmp_path)

    return run_


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--device", "cuda"], "`device: cuda` needs GPUs, but a trial asks for none"),
        (["--device", "cpu", "--gpus-per-trial", "1"], "`device: cpu` uses no GPU, but a trial asks for `gpus: 1`"),
        (["--device", "mps", "--gpus-per-trial", "auto"], "one trial at a time, but a trial asks for `gpus: auto`"),
        (["--gpus-per-trial", "2"], "resources.gpus: a trial asks for 2 GPUs, this machine has 0 that PyTorch can use"),
        (["--gpus-per-trial", "some"], "'some' is no number of GPUs: write 0, 0.5, 1, 4 or auto"),
        (["--gpus-per-trial", "-1"], "'-1' is no number of GPUs: write 0, 0.5, 1, 4 or auto"),
    ],
)
def test_devices_that_cannot_be_are_refused(run, monkeypatch, options, expected):
    monkeypatch.delenv("ARCHSWEEP_PRETEND_GPUS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # also where the tests run beside GPUs
    ended = run(*options)
    assert ended.returncode == 2
    assert expected in " ".join(ended.stderr.replace("\u2502", " ").split())


@pytest.mark.thorough
def test_gpus_that_are_left_unused_are_said_once_unless_it_is_meant(run, tmp_path, monkeypatch):
    monkeypatch.setattr(runners.machine.gpus, "num_gpus_here", lambda: 8)
    assert f"archsweep: 8 GPUs here, {HINT}" in run().stderr.splitlines()
    assert HINT not in run("--device", "cpu").stderr
    (line,) = (tmp_path / "runs" / "tiny" / "provenance.jsonl").read_text().splitlines()[1:]
    assert json.loads(line)["overrides"] == ["resources.device=cpu"]


@pytest.mark.thorough
def test_auto_without_gpus_trains_on_the_cpu_and_says_so(run, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    ended = run("--gpus-per-trial", "auto")
    assert ended.returncode == 0
    assert "gpus: auto: no GPUs here, so trials train on the CPU" in ended.stderr
    (record,) = (json.loads(line) for line in (tmp_path / "runs" / "tiny" / "ledger.jsonl").read_text().splitlines())
    assert record["device"] == "cpu"


def test_a_probe_of_trials_with_a_gpu_is_refused_where_there_is_none(archsweep, write_sweep, tmp_path, monkeypatch):
    """It timed them on the CPU, and the plan was of hours that no run would take."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    write_sweep(**SMALL)
    ended = archsweep("plan", "sweep.yaml", "--probe", "--set", "resources.gpus=1", cwd=tmp_path)
    assert ended.returncode == 2
    assert "--probe: the trial reserved 1 GPU, but on" in ended.stderr
    assert "or --set resources.gpus=0 to time them on this CPU" in " ".join(ended.stderr.split())
