"""What float32 means and which kernels run is set for a trial, and as it was after it."""

from __future__ import annotations

import os

import pytest
import torch

from modelzoo.attention.reattention import Reattention
from runners.training.gpu.numerics import numerics
from runners.training.precision import resolved
from runners.training.trial import run_trial
from search_space.parsing.errors import SpecError
from search_space.schema.resources import Resources
from search_space.schema.trial import TrainSpec, TrialSpec

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def switches():
    backends = torch.backends
    if hasattr(backends.cudnn, "conv"):
        products = backends.cuda.matmul.fp32_precision, backends.cudnn.conv.fp32_precision
    else:  # torch 2.8
        kinds = backends.cuda.matmul, backends.cudnn
        products = tuple("tf32" if kind.allow_tf32 else "ieee" for kind in kinds)
    return {
        "products": products,
        "deterministic": (torch.are_deterministic_algorithms_enabled(), backends.cudnn.deterministic),
        "filling": torch.utils.deterministic.fill_uninitialized_memory,
    }


@pytest.fixture
def trial():
    def run(**train):
        arch = {
            "model": "vit",
            "depth": 1,
            "embed_dim": 16,
            "num_heads": 2,
            "patch_size": 4,
            "attention": "reattention",
        }
        task = {"dataset": {"name": "builtin/shapes", "num_train": 32, "num_test": 16}}
        train = {"epochs": 1, "batch_size": 16, **train}
        spec = TrialSpec.model_validate({"arch": arch, "task": task, "train": train})
        return run_trial(spec, report=lambda _: False, resources=Resources(), device="cpu")

    return run


@pytest.mark.parametrize(
    ("amp", "on_gpu", "on_cpu"),
    [("auto", "bfloat16", "float32"), ("off", "float32", "float32"), ("bfloat16", "bfloat16", "bfloat16")],
)
def test_a_record_has_the_precision_that_amp_became(amp, on_gpu, on_cpu, trial):
    assert (resolved(amp, GPU), resolved(amp, CPU)) == (on_gpu, on_cpu)
    assert trial(amp=amp).precision == on_cpu


def test_float32_is_float32_in_every_operation_of_a_trial(trial, monkeypatch):
    """By default torch rounds the factors of convolutions on a GPU and not those of matrix products."""
    before, seen = switches(), []
    transform = Reattention.transform
    monkeypatch.setattr(Reattention, "transform", lambda *args: seen.append(switches()) or transform(*args))
    trial()
    assert {each["products"] for each in seen} == {("ieee", "ieee")}
    assert {each["deterministic"] for each in seen} == {(False, False)}
    assert switches() == before


def test_rounded_products_are_a_setting_of_their_own():
    before = switches()
    with numerics(TrainSpec(amp="tf32"), GPU):
        assert switches()["products"] == ("tf32", "tf32")
    assert switches() == before


def test_rounded_products_need_a_gpu(trial):
    with pytest.raises(SpecError) as caught:
        trial(amp="tf32")
    assert str(caught.value) == (
        "train.amp: 'tf32' needs a GPU, but the trial runs on 'cpu'\n  write auto, bfloat16 or off"
    )


def test_a_deterministic_trial_uses_only_such_kernels_and_resets_torch(trial, monkeypatch):
    before, seen = switches(), []
    transform = Reattention.transform
    monkeypatch.setattr(Reattention, "transform", lambda *args: seen.append(switches()) or transform(*args))
    first, second = trial(deterministic=True), trial(deterministic=True)
    assert {each["deterministic"] for each in seen} == {(True, True)}
    assert {each["filling"] for each in seen} == {False}
    assert first.metrics == second.metrics
    assert switches() == before


def test_cublas_has_its_workspace_before_it_starts(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with numerics(TrainSpec(deterministic=True), CPU):
        assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    # Of every trial: a later one in the same process may be deterministic, and then it is too late.
    with numerics(TrainSpec(), GPU):
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
