"""CUDA graphs: who may have one, and that a capture leaves no trace. The capture itself is replaced by what it does.

PyTorch captures on a GPU only. It runs forward and backward passes a few times first; so does what replaces it.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from runners.data import describe_dataset
from runners.data.random_streams import generator
from runners.planning.make_plan import make_plan
from runners.tasks import TASKS
from runners.training.gpu.cuda_graph import capture_forward, reason_against_graph
from runners.training.precision import Precision
from search_space import SpecError, load_sweep
from search_space.schema.resources import Resources
from search_space.schema.trial import Setting

GPU, CPU = torch.device("cuda"), torch.device("cpu")
ASKED = Resources(cuda_graph=True, gpus=1)
REATTENTION = {
    "model": "vit", "depth": 2, "embed_dim": 16, "num_heads": 2, "patch_size": 4, "mlp_ratio": 2.0,
    "attention": "reattention",
}  # fmt: skip


def setting_of(task="classification", dataset="builtin/digits", arch=REATTENTION, **train):
    content = {"arch": arch, "task": {"name": task, "dataset": dataset}, "train": {"batch_size": 8, **train}}
    return Setting.model_validate(content)


def info_of(setting):
    return describe_dataset(setting.task, Resources())


def captured(module, sample_args, num_warmup_iters=3, allow_unused_input=False):
    """What `torch.cuda.make_graphed_callables` does before it captures."""
    assert module.training
    assert not torch.is_autocast_cache_enabled()
    for _ in range(num_warmup_iters):
        output = module(*sample_args)
        torch.autograd.grad(output.sum(), list(module.parameters()), allow_unused=allow_unused_input)
    return module


@pytest.mark.parametrize(
    ("setting", "resources", "reason"),
    [
        (setting_of(), ASKED, ""),
        (setting_of(), Resources(cuda_graph=True, gpu_memory="auto"), ""),
        (setting_of("segmentation", "builtin/scenes", {"model": "pvt_v2_b0"}), Resources(), ""),
        (
            setting_of("segmentation", "builtin/scenes", {"model": "pvt_v2_b0"}),
            ASKED,
            "the task is segmentation; a CUDA graph is for classification, whose batches have one shape",
        ),
        (
            setting_of(),
            Resources(cuda_graph=True, gpus=4),
            "4 processes train a trial; a CUDA graph is for one",
        ),
        (
            setting_of(cosine_regulariser={"weight": 0.1}),
            ASKED,
            "train.cosine_regulariser records maps in Python in every step, which a CUDA graph would not repeat",
        ),
        (setting_of(), Resources(cuda_graph=True), "the trials use no GPU (resources.gpus: 0)"),
    ],
)
def test_who_may_have_a_graph(setting, resources, reason):
    assert reason_against_graph(setting, info_of(setting), resources) == reason


def test_a_sweep_that_cannot_have_a_graph_is_refused_before_it_runs(write_sweep):
    path = write_sweep(**{"seeds: 2": "seeds: 2\nresources: {cuda_graph: true}"})
    with pytest.raises(SpecError) as caught:
        make_plan(load_sweep(path))
    (problem,) = caught.value.problems
    assert (problem.path, problem.message) == (
        "resources.cuda_graph",
        "the trials use no GPU (resources.gpus: 0)",
    )
    assert problem.hint == "leave cuda_graph out, which changes no number"


def test_a_trial_on_a_cpu_is_refused():
    setting = setting_of()
    with pytest.raises(SpecError, match="the trial runs on 'cpu', not on a CUDA device"):
        capture_forward(None, setting, info_of(setting), ASKED, CPU, Precision("off", CPU))


def task_of(setting):
    info = info_of(setting)
    kind = TASKS["classification"]
    model = kind.build(setting, info, seed=0)
    return kind(model, info=info, spec=setting.task, train=setting.train, device=CPU)


def losses(task, number=4):
    """Losses of a few updates with mixup; they depend on all weights and on the statistics of Re-attention's norms."""
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
    images = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    task.model.train()
    found = []
    for index in range(number):
        loss = task.loss((images, torch.arange(8)), generator(index, "mixing"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


@pytest.mark.parametrize("amp", ["off", "bfloat16"])
def test_a_capture_leaves_weights_and_buffers_as_they_were(monkeypatch, amp):
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", captured)
    setting = setting_of(mixup=0.5, smoothing=0.1)
    plain, graphed = task_of(setting), task_of(setting)
    expected = losses(plain)
    capture_forward(graphed, setting, info_of(setting), ASKED, GPU, Precision(amp, CPU))
    assert losses(graphed) == expected
    ours, theirs = graphed.state_dict()["model"], plain.state_dict()["model"]
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert torch.is_autocast_cache_enabled()


def test_the_loss_takes_its_logits_from_the_graph(monkeypatch):
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", lambda module, sample_args, **options: torch.zeros_like)
    setting = setting_of()
    task = task_of(setting)
    capture_forward(task, setting, info_of(setting), ASKED, GPU, Precision("off", CPU))
    logits = torch.full((8, 10), 2.0)  # `zeros_like` makes all classes equally likely
    loss = task.loss((logits, torch.arange(8)), generator(0, "mixing"))
    assert loss.item() == pytest.approx(torch.tensor(10.0).log().item())


class _Drawing(nn.Module):
    """A model that draws on the CPU, as MixToken does by numpy."""

    def __init__(self, model):
        super().__init__()
        self.inner = model

    def forward(self, images):
        return self.inner(images * np.random.rand())


def test_a_model_that_draws_on_the_cpu_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", captured)
    setting = setting_of()
    info, kind = info_of(setting), TASKS["classification"]
    model = _Drawing(kind.build(setting, info, seed=0))
    task = kind(model, info=info, spec=setting.task, train=setting.train, device=CPU)
    with pytest.raises(SpecError, match="draws random numbers on the CPU in its forward pass"):
        capture_forward(task, setting, info, ASKED, GPU, Precision("off", CPU))


def test_a_capture_that_fails_is_refused_with_its_reason(monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", fail)
    setting = setting_of()
    with pytest.raises(SpecError, match="the model cannot be captured: CUDA error: operation not permitted"):
        capture_forward(task_of(setting), setting, info_of(setting), ASKED, GPU, Precision("off", CPU))
